"""The reading says what the table says: good news only where it holds, and every failure by name."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.evaluation.drawn import Paint, altered, drawn_run, suite
from workbench.evaluation.spec import Row
from workbench.evaluation.tables import metrics
from workbench.reports.reading import Reading, conditions, idle, listed, reading


def perfect(row: Row) -> str:
    return "orange" if row.role in ("target", "synonym") else row.expected


def read(tmp_path: Path, paints: Mapping[str, Paint], *targets: str) -> Reading:
    suites = [
        suite(target, neighbour) for target, neighbour in zip(targets or ["red"], ["orange", "green"], strict=False)
    ]
    run = drawn_run(tmp_path / "run", paints, *suites)
    return reading(metrics(run), run.spec)


def test_a_perfect_erasure_has_no_caveat(tmp_path: Path) -> None:
    words = read(tmp_path, {"itd": perfect, "no-op": lambda row: row.expected})
    assert words.caveats == ()
    assert "absent from 100\u202f% of the images whose prompt names it" in words.answer
    assert "near concepts still appear in 100\u202f%" in words.answer.lower()
    assert "no-op edit reproduces the unedited images" in words.answer
    assert "All expectations hold" in words.answer
    assert words.question == "Is red gone from “drawn” after erasure by itd, and what else has changed?"


def test_a_reconstruction_is_told_whatever_its_condition_is_called(tmp_path: Path) -> None:
    """The edit's own method decides; that its expectations hold is said all the same."""
    words = read(tmp_path, {"realera": perfect, "no-op": lambda row: row.expected})
    assert len(words.caveats) == 1 and "All expectations hold" in words.answer
    assert words.caveats[0].startswith("RealEra is a reconstruction, not the authors' own method: no code is public")


def test_a_target_that_remains_is_named_with_its_share(tmp_path: Path) -> None:
    def half(row: Row) -> str:  # of both concepts, whatever the role: the trials share the images of equal prompts
        return "orange" if row.expected in ("red", "blue") and row.seed == 1 else row.expected

    words = read(tmp_path, {"itd": half}, "red", "blue")
    remains = next(c for c in words.caveats if "names it" in c)
    assert "red (50\u202f%)" in remains and "blue (50\u202f%)" in remains
    assert "All expectations hold" not in words.answer


def test_an_edit_that_did_not_act_is_told_from_one_that_failed(tmp_path: Path) -> None:
    def sleepy(row: Row) -> str:  # acts on one seed of two
        return "orange" if row.expected == "red" and row.seed == 1 else row.expected

    run = drawn_run(tmp_path / "run", {"itd": sleepy, "no-op": lambda row: row.expected}, suite("red", "orange"))
    (sentence,) = idle(run.records())
    left = run.records().query("condition == 'itd' and verdict == 'target'")
    assert sentence.startswith(f"Of the {len(left)} images that show the target under itd, {len(left)} are those of")
    assert not list(idle(run.records().query("verdict != 'target'"))), "no picture is left to say anything of"
    moved = run.records().assign(pixel_drift=0.5)
    assert not list(idle(moved)), "an image that moved and still shows the target is a failure of another kind"


def test_a_neighbour_that_is_lost_is_named_with_its_loss(tmp_path: Path) -> None:
    words = read(tmp_path, {"itd": lambda row: "nothing" if row.role == "neighbour" else perfect(row)})
    assert words.caveats == ("itd costs near concepts more than 5 points: red (−100, beyond chance).",)


def test_broken_pictures_are_no_success(tmp_path: Path) -> None:
    words = read(tmp_path, {"itd": lambda row: "noise" if row.role == "target" else perfect(row)})
    assert any(caveat.startswith("itd breaks pictures") for caveat in words.caveats)


def test_controls_that_act_are_reported(tmp_path: Path) -> None:
    words = read(tmp_path, {"no-op": perfect, "random features": perfect})
    assert any("no-op edit changes the images" in caveat for caveat in words.caveats)
    assert any(
        "“random features” already takes the target from some images: red (100" in caveat for caveat in words.caveats
    )
    assert "reproduces" not in words.answer


def test_a_void_metric_is_told_once(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", {"itd": perfect, "uce": perfect})
    records = run.records()
    records.loc[(records["condition"] == "unedited") & (records["role"] == "synonym"), "shown"] = False
    caveats = reading(metrics(altered(run, records)), run.spec).caveats
    assert caveats == (
        "red: generality is void, for the unedited model gives only 0\u202f% of these images as prompted.",
    )


def test_conditions_fall_into_methods_and_controls(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", {"itd": perfect, "no-op": perfect, "random features": perfect})
    assert conditions(run.spec) == (["itd"], ["no-op", "random features"])


@pytest.mark.parametrize(("items", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_lists_read_as_sentences(items: list[str], text: str) -> None:
    assert listed(items) == text
