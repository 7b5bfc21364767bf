"""The run folder: finished cells are kept through a kill, and what is damaged or foreign is named."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from tests.evaluation.drawn import MODEL, ColourJudge, drawn_run, picture, spec, suite
from workbench.evaluation.judging import judge
from workbench.evaluation.records import COLUMNS
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import EditSpec, Row, cell

PAINTS = {"itd": lambda row: "nothing" if row.expected == "red" else row.expected}
EDIT = EditSpec(hash="abc", kind="activation", method="itd", concepts=("red",), settings={"strength": -8.0}, seed=0)


def test_a_run_reads_back_what_was_written(tmp_path: Path) -> None:
    written = drawn_run(tmp_path / "run", PAINTS)
    run = Run.open(tmp_path / "run")
    assert run.spec == written.spec
    records = run.records()
    assert list(records.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert len(records) == 2 * len(suite().rows)
    assert set(records["seconds"]) == {0.25}
    assert run.judges["colour of the middle"].concepts["red"] == "colour"
    first = records.iloc[0]
    np.testing.assert_array_equal(run.images("unedited")[0], picture(first["expected"], first["seed"]))


def test_a_cell_depends_on_all_that_decides_its_pixels_and_on_nothing_else() -> None:
    settings, row = (
        {"steps": 10, "guidance_scale": 3.0},
        Row(prompt="a red disc", role="target", expected="red", seed=1),
    )
    same = cell(MODEL, settings, EDIT, row)
    assert cell(MODEL.model_copy(update={"name": "renamed"}), settings, EDIT, row) == same
    assert cell(MODEL, settings, EDIT, row.model_copy(update={"role": "synonym", "expected": "blue"})) == same
    others = [
        cell(MODEL.model_copy(update={"fingerprint": "0"}), settings, EDIT, row),
        cell(MODEL, {**settings, "steps": 11}, EDIT, row),
        cell(MODEL, {**settings, "guidance_scale": 3.5}, EDIT, row),
        cell(MODEL, {**settings, "negative_prompt": "blur"}, EDIT, row),
        cell(MODEL, settings, None, row),
        cell(MODEL, settings, EDIT, row.model_copy(update={"prompt": "a red disc."})),
        cell(MODEL, settings, EDIT, row.model_copy(update={"seed": 2})),
    ]
    assert len({same.key, *(other.key for other in others)}) == 8
    assert same.unedited == cell(MODEL, settings, None, row).key == cell(MODEL, settings, None, row).unedited


def test_trials_share_the_unedited_images_on_which_they_agree(tmp_path: Path) -> None:
    two = spec({}, suite("red"), suite("blue", neighbour="green"))
    shared = {(row.prompt, row.seed) for trial in two.trials for row in trial.rows}
    assert len(shared) < sum(len(trial.rows) for trial in two.trials)
    assert len(two.cells()) == len(shared)


KILLED = """
import sys, time
from tests.evaluation.drawn import picture, spec, suite
from workbench.evaluation.runs import Run
run = Run.begin(sys.argv[1], spec({}, suite()))
for one in run.missing(run.spec.cells()):
    print(one.key, flush=True)
    run.write_image(one, picture("red", one.seed), 0.1)
    time.sleep(0.02)
"""


def test_after_a_kill_only_the_missing_images_are_made(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run")]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=os.getcwd())
    assert first.stdout is not None
    begun = [first.stdout.readline().strip() for _ in range(5)]
    first.send_signal(signal.SIGKILL)
    begun += first.stdout.read().split()
    first.wait()
    run = Run.open(tmp_path / "run")
    finished = {path.stem: path.stat().st_mtime_ns for path in run.dir.glob("images/*/*.png")}
    assert len(begun) - 1 <= len(finished) < len(run.spec.cells())
    for key in finished:
        run.read_image(key)  # whole, every one
    time.sleep(0.01)
    second = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert set(second) == {one.key for one in run.spec.cells()} - set(finished)
    assert {key: run.image_path(key).stat().st_mtime_ns for key in finished} == finished


def test_another_run_is_not_continued(tmp_path: Path) -> None:
    Run.begin(tmp_path / "run", spec({}, suite()))
    Run.begin(tmp_path / "run", spec({}, suite()))
    with pytest.raises(WorkbenchError, match=r"holds another run \(trials differ\)"):
        Run.begin(tmp_path / "run", spec({"itd": EDIT}, suite()))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(WorkbenchError, match="is no run"):
        Run.begin(tmp_path / "other", spec({}, suite()))


def test_a_run_of_an_edit_that_was_just_fitted_is_that_of_the_same_edit_loaded(tmp_path: Path) -> None:
    """A file knows no tuples, and methods have some among their settings: two processes begin one run together."""
    fitted, loaded = (
        EditSpec(**{**EDIT.model_dump(), "settings": {"sae": kind(("a", "b")), "at": {1.5: kind([2])}}})
        for kind in (tuple, list)
    )
    begun = Run.begin(tmp_path / "run", spec({"itd": fitted}, suite()))
    assert Run.begin(tmp_path / "run", spec({"itd": loaded}, suite())).spec == begun.spec
    assert Run.begin(tmp_path / "run", spec({"itd": fitted}, suite())).spec == begun.spec


def test_an_unknown_field_of_run_json_is_refused(tmp_path: Path) -> None:
    Run.begin(tmp_path / "run", spec({}, suite()))
    path = tmp_path / "run" / "run.json"
    content = read_json(path)
    content["trials"][0]["achor"] = "orange"
    write_json(path, content)
    with pytest.raises(WorkbenchError, match=r"trials\.0\.achor"):
        Run.open(tmp_path / "run")
    with pytest.raises(WorkbenchError, match="is not a run folder"):
        Run.open(tmp_path)


def test_a_run_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Version 1 knew steps, guidance and negative prompt alone, and its images have other names."""
    Run.begin(tmp_path / "run", spec({}, suite()))
    path = tmp_path / "run" / "run.json"
    content = read_json(path)
    old = {**content, "format": "erasure-workbench run 1", "sampling": content["settings"]}
    del old["settings"], old["roles"]
    write_json(path, old)
    for again in (lambda: Run.open(tmp_path / "run"), lambda: Run.begin(tmp_path / "run", spec({}, suite()))):
        with pytest.raises(WorkbenchError, match=r"another version \(erasure-workbench run 1.*into a new folder"):
            again()


@pytest.mark.parametrize("name", ["images.parquet", "scores.parquet", "features.npy"])
def test_what_is_truncated_is_named_and_can_be_judged_again(tmp_path: Path, name: str) -> None:
    run = drawn_run(tmp_path / "run", PAINTS)
    before = run.records()
    (path,) = run.dir.rglob(name)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WorkbenchError, match=rf"{name} is truncated.*Remove (\S+) and judge") as damage:
        run.records()
    remove = Path(re.search(r"Remove (\S+) and", str(damage.value))[1])
    shutil.rmtree(remove) if remove.is_dir() else remove.unlink()
    assert judge(run, ColourJudge()).records().equals(before)


def test_unknown_and_missing_columns_are_refused(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", PAINTS)
    path = run.dir / "images.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("secnds", table["seconds"]), path)
    with pytest.raises(WorkbenchError, match=r"images\.parquet: Unknown column 'secnds'"):
        run.records()
    pq.write_table(table.drop_columns("bytes"), path)
    with pytest.raises(WorkbenchError, match="lacks the column 'bytes'"):
        run.records()


def test_a_damaged_or_absent_image_is_named(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", PAINTS)
    path = run.dir / run.records()["image"][0]
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"GIF89a"):
        path.write_bytes(damaged)
        with pytest.raises(WorkbenchError, match=rf"{path.name} is damaged"):
            run.images("unedited")
    path.unlink()
    with pytest.raises(WorkbenchError, match="not finished"):
        run.images("unedited")


def test_unknown_conditions_and_concepts_name_the_nearest(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", PAINTS)
    with pytest.raises(WorkbenchError, match=r"'unedite'.*'unedited'"):
        run.images("unedite")
    with pytest.raises(WorkbenchError, match=r"'reed'.*'red'"):
        run.images("itd", "reed")
