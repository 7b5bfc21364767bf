"""Labels made by looking: drawn blind, filled in by hand, and what they say about a judge."""

import json
from pathlib import Path

import numpy as np
import pytest

from saes.errors import WorkbenchError
from tests.evaluation.drawn import ColourJudge, drawn_run
from tests.evaluation.test_agreement import BlindToOrange, to_orange
from workbench.evaluation.labels import FILE, LabelSet, against_labels, draw_for_labelling
from workbench.evaluation.runs import Run
from workbench.shipped import LABELS
from workbench.toy import Oracle


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return drawn_run(tmp_path / "run", {"erased": to_orange, "noise": lambda row: "noise"})


def labelled(run: Run, folder: Path, n: int = 30) -> LabelSet:
    """As an eye would label them: it sees the colour of the disc, and noise."""
    drawn = draw_for_labelling(run, n, folder)
    content = json.loads((folder / FILE).read_text())
    content["how"] = "by the colours that the test painted"
    for one in content["pictures"]:
        seen = one["condition"] == "erased" and one["concept"] != "red"
        one["shown"], one["intact"] = "yes" if seen else "no", "yes" if one["condition"] == "erased" else "no"
    (folder / FILE).write_text(json.dumps(content))
    return LabelSet.open(drawn.folder)


def test_conditions_share_the_draw_and_names_and_pixels_tell_nothing(run: Run, tmp_path: Path) -> None:
    drawn = draw_for_labelling(run, 30, tmp_path / "labels")
    pictures = drawn.labels.pictures
    assert sorted(picture.condition for picture in pictures) == ["erased"] * 15 + ["noise"] * 15
    assert [picture.condition for picture in pictures] != sorted(picture.condition for picture in pictures)
    for condition in ("erased", "noise"):
        prompts = [picture.prompt for picture in pictures if picture.condition == condition]
        assert len(set(prompts)) == len(prompts), "no prompt twice while there are others"
    assert {picture.shown for picture in pictures} == {""}
    assert b"disc" not in (tmp_path / "labels" / pictures[0].file).read_bytes(), "the prompt is not in the file"
    again = draw_for_labelling(run, 30, tmp_path / "again")
    assert again.labels == drawn.labels, "one seed, one draw"
    keys = {row.image: row for row in run.records().itertuples()}
    images = {run.read_image(Path(key).stem).pixels.tobytes() for key in keys}
    assert all(image.tobytes() in images for image in drawn.images(pictures)), "the pixels are the run's"


def test_a_judge_is_held_against_the_eye_by_condition(run: Run, tmp_path: Path) -> None:
    labels = labelled(run, tmp_path / "labels")
    good, blind = (against_labels(labels, judge).set_index("condition") for judge in (ColourJudge(), BlindToOrange()))
    assert (good["rate"] == 1).all() and (good["missed"].dropna() == 0).all() and (good["intact"] == 1).all()
    red = sum(one.condition == "erased" and one.concept == "red" for one in labels.labels.pictures)
    assert 0 < red < 15
    assert blind.loc["erased", "rate"] == pytest.approx((15 - red) / 15) and blind.loc["erased", "imagined"] == 1
    assert blind.loc["erased", "n_shown"] == 15 - red and blind.loc["noise", "n_shown"] == 0
    assert blind["intact"].isna().all() and np.isnan(blind.loc["noise", "missed"])
    assert blind.loc["all", "n"] == 30 and blind.loc["all", "rate"] == pytest.approx((30 - red) / 30)


def test_what_the_eye_cannot_tell_is_counted_and_left_out(run: Run, tmp_path: Path) -> None:
    labels = labelled(run, tmp_path / "labels")
    content = json.loads((labels.folder / FILE).read_text())
    content["pictures"][0]["shown"] = "unsure"
    condition = content["pictures"][0]["condition"]
    (labels.folder / FILE).write_text(json.dumps(content))
    table = against_labels(LabelSet.open(labels.folder), ColourJudge()).set_index("condition")
    assert table.loc["all", "n"] == 29 and table.loc["all", "left_out"] == 1 == table.loc[condition, "left_out"]


def test_damaged_labels_are_refused_in_a_sentence(run: Run, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="has no labels yet"):
        against_labels(draw_for_labelling(run, 4, tmp_path / "fresh"), ColourJudge())
    labels = labelled(run, tmp_path / "labels")
    path, content = labels.folder / FILE, json.loads((labels.folder / FILE).read_text())
    for field, value, says in (("shown", "perhaps", "shown"), ("colour", "red", "colour")):
        other = {**content, "pictures": [{**content["pictures"][0], field: value}]}
        path.write_text(json.dumps(other))
        with pytest.raises(WorkbenchError, match=says):
            LabelSet.open(labels.folder)
    path.write_text(json.dumps(content))
    (labels.folder / content["pictures"][0]["file"]).write_bytes(b"another")
    with pytest.raises(WorkbenchError, match="is not the picture that was labelled"):
        LabelSet.open(labels.folder)


def test_the_shipped_labels_are_of_edited_pictures_by_every_family_and_the_oracle_agrees_with_them() -> None:
    labels = LabelSet.open(LABELS)
    pictures = labels.labels.pictures
    assert sum(one.shown in ("yes", "no") for one in pictures) >= 100 and "not shown" in labels.labels.how
    assert {"target", "synonym", "anchor", "told", "neighbour", "unrelated"} == {one.role for one in pictures}
    table = against_labels(labels, Oracle.load()).set_index("condition")
    assert table.loc["all", "rate_low"] > 0.9 and table.loc["all", "missed"] < 0.1 > table.loc["all", "imagined"]
