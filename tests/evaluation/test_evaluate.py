"""Evaluation on a tiny pipeline with random weights: what is made, what is shared, what a second call makes anew."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from saes.errors import WorkbenchError
from tests.evaluation.counting import counted
from tests.evaluation.small import Brightness, Scaled, suite
from workbench.evaluation.evaluate import evaluate, evaluate_concepts
from workbench.evaluation.runs import Run
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.evaluation.tables import metrics
from workbench.models import Diffusion, Model


def times(run_dir: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in run_dir.glob("images/*/*.png")}


def stops_after(batches: int) -> Callable[..., Iterator[Any]]:
    """A progress that interrupts the work, as a user would, when the given number of batches is done in one loop."""

    def progress(items: Iterable[Any], label: str = "", total: int | None = None) -> Iterator[Any]:
        for place, item in enumerate(items):
            if place == batches:
                raise KeyboardInterrupt
            yield item

    return progress


@pytest.fixture(scope="module")
def run(tiny_sd1: Model, tmp_path_factory: pytest.TempPathFactory) -> Run:
    edits = {"no-op": Scaled(1.0), "negated": Scaled(-1.0)}
    return evaluate(tiny_sd1, edits, suite(), Brightness(), tmp_path_factory.mktemp("run") / "run", steps=2)


def test_every_condition_has_the_same_prompts_and_seeds(run: Run) -> None:
    records = run.records()
    cells = {name: list(zip(own["prompt"], own["seed"], strict=True)) for name, own in records.groupby("condition")}
    assert list(cells) == ["negated", "no-op", "unedited"]
    assert cells["negated"] == cells["no-op"] == cells["unedited"]
    assert len(records) == 18
    assert len(times(run.dir)) == 18
    assert (records["seconds"] > 0).all()


def test_a_no_op_changes_nothing_and_an_edit_does(run: Run) -> None:
    np.testing.assert_array_equal(run.images("no-op"), run.images("unedited"))
    table = metrics(run).set_index(["condition", "metric"])["value"]
    assert table["no-op", "pixel_drift"] == 0
    assert table["negated", "pixel_drift"] > 0.01


def test_the_images_are_those_that_the_model_makes(run: Run, tiny_sd1: Model) -> None:
    first = run.rows("negated").iloc[3]
    with tiny_sd1.edited(Scaled(-1.0)):
        again = tiny_sd1.generate(first["prompt"], int(first["seed"]), steps=2)[0]
    assert np.abs(again.astype(int) - run.images("negated")[3]).max() <= 1


def test_the_run_says_all_that_it_takes_to_repeat_it(run: Run, tiny_sd1: Model) -> None:
    spec = Run.open(run.dir).spec
    assert spec.model.fingerprint == tiny_sd1.fingerprint
    assert spec.settings == {**tiny_sd1.settings, "steps": 2}
    assert {"python", "torch", "diffusers"} <= set(spec.environment)
    edit = spec.trials[0].conditions["negated"]
    assert edit is not None and edit.settings == {"factor": -1.0}
    assert json.loads((run.dir / "edits" / edit.hash / "edit.json").read_text()) == {"factor": -1.0}
    assert len(list((run.dir / "edits").iterdir())) == 2


def test_an_interrupted_run_goes_on_where_it_stopped(tiny_sd1: Model, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"steps": 1, "batch_size": 2}
    edits = {"negated": Scaled(-1.0)}
    with pytest.raises(KeyboardInterrupt):
        evaluate(tiny_sd1, edits, suite(), Brightness(), tmp_path / "run", progress=stops_after(2), **arguments)
    before = times(tmp_path / "run")
    assert len(before) == 4
    with pytest.raises(WorkbenchError, match="not finished"):
        Run.open(tmp_path / "run").records()
    evaluate(tiny_sd1, edits, suite(), Brightness(), tmp_path / "run", **arguments)
    after = times(tmp_path / "run")
    assert len(after) == 12
    assert before.items() <= after.items()
    evaluate(tiny_sd1, edits, suite(), Brightness(), tmp_path / "run", **arguments)
    assert times(tmp_path / "run") == after


def test_concepts_share_the_images_on_which_they_agree(tiny_sd1: Model, tmp_path: Path) -> None:
    edit = Scaled(-1.0)
    trials = [(suite("fox", "cat"), {"both": edit}), (suite("cat", "fox"), {"both": edit, "no-op": Scaled(1.0)})]
    run = evaluate_concepts(tiny_sd1, trials, Brightness(), tmp_path / "run", steps=1)
    assert len(run.records()) == 6 * 2 + 6 * 3
    assert len(times(run.dir)) == 6 * 3
    with pytest.raises(WorkbenchError, match="one name and one target"):
        evaluate_concepts(tiny_sd1, [(suite(), {}), (suite(), {})], Brightness(), tmp_path / "two")


def test_a_judge_below_the_floor_ends_it_before_any_edit(tiny_sd1: Model, tmp_path: Path) -> None:
    arguments = (tiny_sd1, {"negated": Scaled(-1.0)}, suite())
    with pytest.raises(WorkbenchError, match="0% of the unedited images"):
        evaluate(*arguments, Brightness(threshold=2.0), tmp_path / "run", steps=1)
    unedited = times(tmp_path / "run")
    assert len(unedited) == 6
    evaluate(*arguments, Brightness(), tmp_path / "run", steps=1)
    assert unedited.items() <= times(tmp_path / "run").items()


def test_what_cannot_work_is_refused_before_anything_is_made(tiny_sd1: Model, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="'wolf'"):
        evaluate(tiny_sd1, {}, suite("wolf"), Brightness(), tmp_path / "run")
    with pytest.raises(WorkbenchError, match="cannot have an edit"):
        evaluate(tiny_sd1, {"unedited": Scaled(-1.0)}, suite(), Brightness(), tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkbenchError, match="Cannot write"):
        evaluate(tiny_sd1, {}, suite(), Brightness(), tmp_path / "file" / "run")
    assert not times(tmp_path / "run")


def test_a_folder_that_is_refused_is_left_as_it_was(tiny_sd1: Model, tmp_path: Path) -> None:
    def contents() -> list[Path]:
        return sorted(tmp_path.rglob("*"))

    evaluate(tiny_sd1, {"negated": Scaled(-1.0)}, suite(), Brightness(), tmp_path / "run", steps=1)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("dear")
    before = contents()
    for folder, says in (("run", "holds another run"), ("letters", "is no run")):
        with pytest.raises(WorkbenchError, match=says):
            evaluate(tiny_sd1, {"halved": Scaled(0.5)}, suite(), Brightness(), tmp_path / folder, steps=1)
        assert contents() == before


def test_the_model_is_as_before(tiny_sd1: Model, tmp_path: Path) -> None:
    before = tiny_sd1.generate("a fox", 1, steps=1)
    evaluate(tiny_sd1, {"negated": Scaled(-1.0)}, suite(), Brightness(), tmp_path / "run", steps=1)
    np.testing.assert_array_equal(tiny_sd1.generate("a fox", 1, steps=1), before)


def test_pictures_that_were_just_made_are_not_decoded_and_others_once(tiny_sd1: Model, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"steps": 1, "batch_size": 4}
    edits = {"negated": Scaled(-1.0), "no-op": Scaled(1.0)}
    with counted(Run, "read_image") as decoded:
        evaluate(tiny_sd1, edits, suite(), Brightness(), tmp_path / "run", **arguments)
    assert not decoded
    records = Run.open(tmp_path / "run").records()
    with counted(Run, "read_image") as decoded:
        evaluate(tiny_sd1, edits, suite(), Brightness(), tmp_path / "run", **arguments)
    assert not decoded, "what is known is not looked at again"
    shutil.rmtree(tmp_path / "run" / "judges")  # as after a kill before the end
    (tmp_path / "run" / "images.parquet").unlink()
    with counted(Run, "read_image") as decoded:
        run = evaluate(tiny_sd1, edits, suite(), Brightness(), tmp_path / "run", **arguments)
    assert sorted(key for _, key in decoded) == sorted(one.key for one in run.spec.cells())
    pd.testing.assert_frame_equal(run.records(), records)


def test_pixels_are_kept_within_bounds(tiny_sd1: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is decoded when it is compared with, and the figures are the same."""
    arguments = (tiny_sd1, {"negated": Scaled(-1.0)}, suite(), Brightness())
    first = evaluate(*arguments, tmp_path / "first", steps=1)
    monkeypatch.setattr("workbench.evaluation.scoring.KEPT", 2 * first.images("unedited")[0].nbytes)
    with counted(Run, "read_image") as decoded:
        second = evaluate(*arguments, tmp_path / "second", steps=1)
    assert len(decoded) == 6 - 2
    pd.testing.assert_series_equal(first.records()["pixel_drift"], second.records()["pixel_drift"])


def test_what_is_missing_is_made_again_in_the_batch_that_it_was_in(tiny_sd1: Model, tmp_path: Path) -> None:
    """Numbers round differently in batches of other sizes, so a resumed run would have other bits."""
    arguments = (tiny_sd1, {"negated": Scaled(-1.0)}, suite(), Brightness(), tmp_path / "run")
    run = evaluate(*arguments, steps=1, batch_size=4)
    lost = [one for one in run.spec.cells() if one.edit][1]
    content = run.image_path(lost.key).read_bytes()
    kept = times(run.dir)
    run.image_path(lost.key).unlink()
    with counted(Diffusion, "generate") as generated:
        evaluate(*arguments, steps=1, batch_size=4)
    (batch,) = [list(zip(prompts, seeds, strict=True)) for _, prompts, seeds in generated]
    assert batch == [(one.prompt, one.seed) for one in run.spec.cells() if one.edit][:4]
    assert np.array_equal(*(np.asarray(Image.open(BytesIO(each))) for each in
                            (content, run.image_path(lost.key).read_bytes())))  # fmt: skip
    del kept[lost.key]
    assert kept.items() <= times(run.dir).items(), "what was there is left as it was"


def test_how_to_sample_is_what_the_model_declares(tiny_sd1: Model, tmp_path: Path) -> None:
    arguments = (tiny_sd1, {}, suite(), Brightness(), tmp_path / "run")
    with pytest.raises(WorkbenchError, match=r"Unknown sampling setting 'stepps'\. Did you mean 'steps'"):
        evaluate(*arguments, stepps=1)
    for value in (float("nan"), "high", True):
        with pytest.raises(WorkbenchError, match="guidance_scale cannot be"):
            evaluate(*arguments, guidance_scale=value)
    assert not (tmp_path / "run").exists()
    run = evaluate(*arguments, steps=1, guidance_scale=3)
    assert run.spec.settings == {"steps": 1, "guidance_scale": 3.0, "negative_prompt": ""}


def test_rows_for_a_condition_that_is_not_there_are_refused(tiny_sd1: Model, tmp_path: Path) -> None:
    own = Suite("fox", (*suite().rows, SuiteRow("a fox", "target", "fox", 9, "negatd")))
    with pytest.raises(WorkbenchError, match=r"'negatd'\. Did you mean 'negated'"):
        evaluate(tiny_sd1, {"negated": Scaled(-1.0)}, own, Brightness(), tmp_path / "run", steps=1)
    only = Suite("fox", tuple(replace(row, condition="negated") for row in suite().rows))
    with pytest.raises(WorkbenchError, match="has no prompts for 'no-op'"):
        evaluate(tiny_sd1, {"negated": Scaled(-1.0), "no-op": Scaled(1.0)}, only, Brightness(), tmp_path / "run")


@contextmanager
def another_works_in(folder: Path) -> Iterator[None]:
    """Another process that works in the folder together with others, until the block ends."""
    code = (
        "import sys; from saes.locks import working_in\n"
        "with working_in(sys.argv[1], together=True): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, folder], stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdin and other.stdout and other.stdout.readline() == "in\n"
        yield
        other.kill()


def test_two_processes_share_a_run_folder_and_leftovers_are_swept(tiny_sd1: Model, tmp_path: Path) -> None:
    """While another works there too nothing is swept; the last one to leave sweeps."""
    arguments = (tiny_sd1, {"negated": Scaled(-1.0)}, suite(), Brightness(), tmp_path / "run")
    evaluate(*arguments, steps=1)
    left = [tmp_path / "run" / name for name in ("edits/.edit.0123abcd.part", "images/ab/.x.png.0123abcd.part")]
    for path in left:
        path.mkdir(parents=True)
    shutil.rmtree(tmp_path / "run" / "judges")
    with another_works_in(tmp_path / "run"):
        evaluate(*arguments, steps=1)
        assert all(path.exists() for path in left)
    run = evaluate(*arguments, steps=1)
    assert not any(path.exists() for path in left) and list(run.judges) == ["brightness"]
