"""The zero-shot judge on discs of four colours, with a tiny CLIP that was taught them and a SigLIP that was not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPModel

from saes.errors import WorkbenchError
from tests.evaluation.drawn import COLOURS, ColourJudge, drawn_run, picture, suite
from tests.evaluation.test_agreement import to_orange
from tests.tiny_encoders import save_clip, save_siglip
from workbench.concepts import Concept
from workbench.evaluation.agreement import judge_agreement
from workbench.evaluation.calibration import FILE, Calibration, Known, calibrated, naming, threshold
from workbench.evaluation.clip import Clip, log_odds
from workbench.evaluation.clip_score import clip_score
from workbench.evaluation.encoders import Encoder
from workbench.evaluation.judges import verdicts
from workbench.evaluation.judging import judge
from workbench.evaluation.runs import Run
from workbench.evaluation.tables import metrics

CONCEPTS = [Concept(name, kind="colour", templates=("a {}", "a photo of a {}")) for name in COLOURS]


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    """A tiny CLIP that has learnt which caption is of which disc."""
    folder = save_clip(tmp_path_factory.mktemp("clip") / "tiny")
    encoder, model = Encoder.open(folder), CLIPModel.from_pretrained(folder)
    names = [*COLOURS, "nothing"]
    images = np.stack([picture(name, seed) for name in names for seed in range(40)])
    words = encoder.tokenizer([f"a {name}" for name in names], padding=True, return_tensors="pt")
    pixels = encoder.processor(images=list(images), return_tensors="pt").pixel_values
    truth = torch.arange(len(names)).repeat_interleave(40)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(60):
        chosen = torch.randint(len(truth), (32,), generator=torch.Generator().manual_seed(step))
        logits = model(**words, pixel_values=pixels[chosen]).logits_per_image
        torch.nn.functional.cross_entropy(logits, truth[chosen]).backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return drawn_run(tmp_path / "run", {"erased": to_orange, "gone": lambda row: "nothing"})


def unedited(folder: Path, n: int = 6, first: int = 100) -> Run:
    """A run to calibrate on, with prompts and seeds of its own."""
    rows = [replace(row, seed=row.seed + first, prompt=f"{row.prompt}, again") for row in suite(n=n).rows]
    return drawn_run(folder, {"noise": lambda row: "noise"}, replace(suite(), rows=tuple(rows)))


def test_the_score_is_the_log_odds_of_a_softmax_with_none_of_these() -> None:
    rng = np.random.default_rng(0)
    readings, none = rng.normal(size=(6, 5)) * 9, rng.normal(size=(6, 5)) * 9
    odds = log_odds(readings, none, ["object", "style", "object", "object", "unsafe"])
    for c, rivals in ((0, [2, 3]), (1, []), (2, [0, 3]), (4, [])):
        softmax = torch.tensor(np.column_stack([readings[:, [c, *rivals]], none[:, c]])).softmax(dim=1)[:, 0].numpy()
        np.testing.assert_allclose(odds[:, c], np.log(softmax) - np.log1p(-softmax), rtol=1e-6)
    lone = log_odds(readings[:, :1], np.zeros((6, 1)), ["object"])
    np.testing.assert_allclose(lone, readings[:, :1]), "one concept of a SigLIP: its own sigmoid"
    assert np.isfinite(log_odds(1e4 * readings, none, ["object"] * 5)).all()


def test_a_zero_shot_judge_knows_what_it_is_told_of(taught: Path, run: Run) -> None:
    bare = Clip.load(str(taught))
    assert bare.concepts == {} and "not calibrated" in bare.version and bare.validated == ""
    with pytest.raises(WorkbenchError, match="Unknown concept of the judge clip"):
        judge(run, bare)
    told = bare.about(CONCEPTS)
    assert told.concepts == dict.fromkeys(COLOURS, "colour") and set(told.thresholds.values()) == {0.0}
    records = judge(run, told).records("clip")
    shown = records[records["condition"] == "unedited"].groupby("expected")["shown"].mean()
    assert (shown >= 0.9).all(), shown
    assert records["intact"].isna().all() and records["feature_drift"].notna().all()
    table = metrics(run, "clip").set_index(["condition", "metric"])
    assert table.loc[("gone", "efficacy"), "value"] >= 0.9 and table.loc[("gone", "intact"), "mark"] == "n/a"
    assert (table.loc[("erased", "feature_drift"), "unedited"] == 0).all()
    assert judge_agreement(run).set_index(["condition", "wanted"]).loc[("edited", "any"), "rate"] > 0.85


def test_a_picture_of_none_of_these_is_nothing(taught: Path) -> None:
    told = Clip.load(str(taught)).about(CONCEPTS)
    images = np.stack([picture(what, seed) for what in ("red", "orange", "green", "nothing") for seed in range(60, 66)])
    found = verdicts(told.score(images), told, "red", "orange")
    assert found == ["target"] * 6 + ["anchor"] * 6 + ["other"] * 6 + ["nothing"] * 6


def test_an_image_is_scored_alike_in_any_company(taught: Path) -> None:
    told = Clip.load(str(taught)).about(CONCEPTS)
    images = np.stack([picture(what, 3) for what in COLOURS])
    together, alone = told.score(images), told.score(images[2:3])
    np.testing.assert_allclose(together.present[2], alone.present[0], rtol=1e-4, atol=1e-4)
    assert together.features.shape == (4, 12) and together.intact is None


@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_is_the_best_that_there_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    own, other = rng.normal(1, 1, 40).round(1), rng.normal(-1, 1, 70).round(1)  # rounded: there are ties

    def balanced(level: float) -> float:
        return (np.mean(own >= level) + np.mean(other < level)) / 2

    best = max(balanced(level) for level in np.arange(-5, 5, 0.01))
    assert balanced(threshold(own, other)) == pytest.approx(best)


def test_a_threshold_lies_in_the_middle_of_the_widest_best_gap() -> None:
    assert threshold(np.array([4.0, 6.0]), np.array([0.0, 1.0])) == 2.5
    assert threshold(np.array([3.0, 3.2]), np.array([0.0])) == 1.5
    assert threshold(np.array([0.0]), np.array([1.0])) in (-0.5, 1.5), "no gap: all pass, or none"


def test_words_are_found_whole() -> None:
    assert naming(("cat", "house cat")).search("a Cat by voss") and not naming(("cat",)).search("a catalogue")


def test_a_calibrated_judge_says_what_it_was_calibrated_on(taught: Path, run: Run, tmp_path: Path) -> None:
    told = Clip.load(str(taught)).about(CONCEPTS)
    found = calibrated(told, unedited(tmp_path / "own")).write(tmp_path / "judge")
    again = Clip.load(str(tmp_path / "judge"))
    assert again.calibration == found == Calibration.read(tmp_path / "judge" / FILE)
    assert again.version.endswith(f"calibration {found.key}") and found.key in again.validated
    assert f"{found.pictures} unedited pictures of drawn" in again.validated
    assert again.thresholds == {name: one.threshold for name, one in found.concepts.items()} != told.thresholds
    for one in found.concepts.values():
        assert one.found.value >= 0.9 and one.elsewhere.value <= 0.1
        assert one.found.low < 1 and one.elsewhere.high > 0, "few pictures leave much open"
    assert again.about([Concept("fox")]) is again
    judge(judge(run, told), again)
    assert len(run.judges) == 3, "another threshold is another judge"
    elsewhere = calibrated(told, unedited(tmp_path / "other", first=500))
    assert elsewhere.key != found.key and elsewhere.content != found.content


class Swamped(Clip):
    """A judge whose *none of these* is true of every picture, so that its odds tell nothing."""

    def _none(self, pictures: np.ndarray, one: Known, scale: float) -> np.ndarray:
        return np.full(len(pictures), 1e12)


def test_the_reading_that_tells_pictures_apart_better_is_taken(taught: Path, tmp_path: Path) -> None:
    told, own = Clip.load(str(taught)).about(CONCEPTS), unedited(tmp_path / "own")
    plain, found = calibrated(told, own), calibrated(Swamped(told.encoder, told.known), own)
    assert plain.balanced["odds"] >= 0.95 and plain.balanced["cosine"] >= 0.9
    assert found.reading == "cosine" and found.balanced["odds"] < 0.7 < found.balanced["cosine"]
    found.write(tmp_path / "judge")
    judged = Clip.load(str(tmp_path / "judge"))
    images = np.stack([picture("red", 3), picture("green", 3)])
    cosines = 100 * judged.encoder.pictures(images) @ told._ensembles[0]
    np.testing.assert_allclose(judged.score(images).present[:, 0], cosines, rtol=1e-5)
    assert verdicts(judged.score(images), judged, "red") == ["target", "other"]
    assert "cosine, calibration" in judged.version and judged.validated.startswith("cosine with thresholds")


def test_what_has_no_pictures_stays_a_rival_and_has_no_threshold_of_the_cosine(taught: Path, tmp_path: Path) -> None:
    told = Clip.load(str(taught)).about([*CONCEPTS, Concept("dawn", kind="colour", templates=("by {}",))])
    own = unedited(tmp_path / "own")
    assert set(calibrated(Swamped(told.encoder, told.known), own).concepts) == set(COLOURS)
    found = calibrated(told, own)
    assert found.reading == "odds" and found.concepts["dawn"].threshold == 0 and not found.concepts["dawn"].found


def test_pictures_that_show_a_concept_too_are_not_counted_against_it(taught: Path, tmp_path: Path) -> None:
    """The prompt of a green disc names red as well: green's pictures are then none that lack red."""
    rows = [
        replace(row, prompt=f"{row.prompt}, beside a red one" if row.expected == "green" else row.prompt)
        for row in suite(n=6).rows
    ]
    told, asked = Clip.load(str(taught)).about(CONCEPTS), replace(suite(), rows=tuple(rows))
    here = calibrated(told, drawn_run(tmp_path / "run", {"gone": lambda row: "nothing"}, asked))
    assert here.concepts["red"].elsewhere.n == sum(row.expected in ("orange", "blue") for row in rows)
    assert here.concepts["blue"].elsewhere.n == sum(row.expected != "blue" for row in rows)


def test_a_calibration_of_another_encoder_or_form_is_refused(taught: Path, tmp_path: Path) -> None:
    told = Clip.load(str(taught)).about(CONCEPTS)
    calibrated(told, unedited(tmp_path / "own")).write(tmp_path / "judge")
    path = tmp_path / "judge" / FILE
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "digest": "0" * 64}))
    with pytest.raises(WorkbenchError, match="was calibrated for another"):
        Clip.load(str(tmp_path / "judge"))
    path.write_text(json.dumps({**content, "threshold": 1}))
    with pytest.raises(WorkbenchError, match="threshold"):
        Clip.load(str(tmp_path / "judge"))
    with pytest.raises(WorkbenchError, match="unedited pictures of red, from 2 prompts"):
        calibrated(told, unedited(tmp_path / "few", n=1))


def test_a_calibration_beside_the_encoder_moves_with_it(taught: Path, tmp_path: Path) -> None:
    calibrated(Clip.load(str(taught)).about(CONCEPTS), unedited(tmp_path / "own")).write(taught)
    moved = taught.rename(taught.with_name("moved"))
    try:
        assert Clip.load(str(moved)).calibration
    finally:
        (moved / FILE).unlink()
        moved.rename(taught)


def test_a_siglip_judges_by_its_own_sigmoid(run: Run, tmp_path: Path) -> None:
    told = Clip.load(str(save_siglip(tmp_path / "siglip"))).about([CONCEPTS[0]])
    images = np.stack([picture("red", seed) for seed in range(3)])
    text = told.encoder.texts(CONCEPTS[0].prompts()).mean(axis=0)
    cosines = told.encoder.pictures(images) @ (text / np.linalg.norm(text))
    np.testing.assert_allclose(told.score(images).present[:, 0], np.exp(2) * cosines - 1.5, rtol=1e-4)
    judge(run, told.about(CONCEPTS))
    assert list(run.judges) == ["colour of the middle", "clip"]


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_the_clip_score_is_a_mean_cosine_and_names_its_scale(
    taught: Path, run: Run, tmp_path: Path, family: str
) -> None:
    folder = taught if family == "clip" else save_siglip(tmp_path / "siglip")
    told = Clip.load(str(folder)).about(CONCEPTS)
    table = clip_score(run, told).set_index(["condition", "wanted"])
    rows = run.rows("erased")
    rows = rows[rows["role"].isin(["target", "synonym"])]
    cosines = told.encoder.pictures(run.pictures(rows)) * told.encoder.texts(list(rows["prompt"]))
    assert table.loc[("erased", "absent"), "value"] == pytest.approx(100 * cosines.sum(axis=1).mean(), abs=1e-3)
    assert table.loc[("unedited", "absent"), "difference"] == 0 == table.loc[("erased", "present"), "difference"]
    if family == "clip":
        assert table.loc[("gone", "present"), "difference_high"] < 0, "grey is further from the prompts than discs"
    reading = "; its sigmoid reads 7.4 cos -1.5" if family == "siglip" else ""
    assert set(table["scale"]) == {f"100 cos, {folder.name}{reading}"}


def test_the_judge_of_a_drawn_world_is_not_needed_to_calibrate(taught: Path, tmp_path: Path) -> None:
    """Labels are the prompts alone: who judged the run before does not matter."""
    own, told = unedited(tmp_path / "own"), Clip.load(str(taught)).about(CONCEPTS)
    before = calibrated(told, own)
    judge(own, ColourJudge(threshold=2.0))
    assert calibrated(told, own) == before
