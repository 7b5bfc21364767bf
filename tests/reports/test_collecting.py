"""Evidence from a running model: the cards say what the dictionary says, the pairs show what the run shows."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from tests.evaluation.small import Brightness, suite
from workbench.concepts import Concept
from workbench.edits import ActivationEdit
from workbench.edits.interventions import CHANGE_FEATURES
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.judges import Scores
from workbench.evaluation.runs import Run
from workbench.hooks import Clock, SiteEdit
from workbench.models import Model
from workbench.reports.collecting import collect, joined
from workbench.reports.evidence import Evidence, SAEFacts, read_evidence, write_evidence
from workbench.reports.explaining import explain

FOX = Concept("fox", synonyms=["vixen"], retain=["cat", "dog"], templates=["a {}", "a red {}"])
FACTS = SAEFacts(site="text.0", architecture="topk", d_sae=24, l0=3.0, explained_variance=0.9, dead_share=0.0)


def dictionary(model: Model) -> Dictionary:
    """24 random features of the first text layer, 3 of which fire on each token."""
    torch.manual_seed(0)
    width = model.site("text.0").channels
    W_dec = torch.nn.functional.normalize(torch.randn(24, width), dim=1)
    return Dictionary("topk", W_dec.T.contiguous(), torch.zeros(24), W_dec, torch.zeros(width), torch.zeros(width), k=3)


def edit(model: Model) -> ActivationEdit:
    """Turns the three features that fire most on a prompt of the suite to −8 times themselves."""
    features = codes(model, ["a photo of a fox"])[0, 1:].sum(dim=0).topk(3).indices
    own = dictionary(model)
    return ActivationEdit(
        site="text.0", width=own.W_dec.shape[1], program=CHANGE_FEATURES, method="scaled", concepts=("fox",),
        tensors={**own.tensors, "features": features},
        settings={**own.settings, "action": "scale", "strength": -8.0, "window": None},
        base_fingerprint=model.fingerprint,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny_sd1: Model, tmp_path_factory: pytest.TempPathFactory) -> Run:
    strong = edit(tiny_sd1)
    out = tmp_path_factory.mktemp("collect") / "run"
    return evaluate(tiny_sd1, {"strong": strong, "no-op": strong.no_op()}, suite(), Brightness(), out, steps=2)


@pytest.fixture(scope="module")
def evidence(run: Run, tiny_sd1: Model) -> Evidence:
    return collect(run, tiny_sd1, FOX, Brightness(), "strong", facts=FACTS, cards=3, images=2, maps=1)


def codes(model: Model, prompts: list[str]) -> torch.Tensor:
    """All activations of the dictionary, from the dense formula: the top 3 of (x − b) W, negatives cut."""
    with model.session(record=["text.0"]) as session, torch.no_grad():
        model.encode(prompts)
    a = session.records["text.0"][0][1] @ dictionary(model).W_enc
    return torch.where(a >= a.topk(3, dim=-1).values[..., -1:], a, 0).relu()


def test_the_strips_hold_the_activations_of_their_prompts(evidence: Evidence, tiny_sd1: Model) -> None:
    assert {card.feature for card in evidence.cards} == set(edit(tiny_sd1).tensors["features"].tolist())
    for card in evidence.cards:
        for strip in card.strips:
            z = codes(tiny_sd1, [strip.prompt])[0, : len(strip.tokens), card.feature]
            torch.testing.assert_close(torch.tensor(strip.activations), z, atol=1e-4, rtol=1e-4)
            assert (strip.tokens[0], strip.tokens[-1]) == ("⟨start⟩", "⟨end⟩")


def test_the_strips_are_the_prompts_it_fires_on_most(evidence: Evidence) -> None:
    for card in evidence.cards:
        peaks = [max(strip.activations[1:]) for strip in card.strips]
        assert peaks == sorted(peaks, reverse=True)


def test_density_and_means_are_those_of_all_prompts(evidence: Evidence, tiny_sd1: Model) -> None:
    target, retain = [*FOX.prompts(), *FOX.synonym_prompts()], [*FOX.retain_prompts()]
    z = codes(tiny_sd1, [*target, *retain])
    fires = (z > 0).float().mean(dim=(0, 1))
    np.testing.assert_allclose(evidence.densities["text.0"], fires, atol=1e-6)
    for card in evidence.cards:
        peaks = torch.stack([row[1 : len(tiny_sd1.tokens(p)[0].ids), card.feature].max()
                             for row, p in zip(z, [*target, *retain], strict=True)])  # fmt: skip
        assert card.target_mean == pytest.approx(float(peaks[: len(target)].mean()), abs=1e-4)
        assert card.retain_mean == pytest.approx(float(peaks[len(target) :].mean()), abs=1e-4)
        wins = (peaks[: len(target), None] > peaks[None, len(target) :]).double()
        ties = (peaks[: len(target), None] == peaks[None, len(target) :]).double()
        assert card.auc == pytest.approx(float((wins + ties / 2).mean()), abs=1e-2)
    aucs = [card.auc for card in evidence.cards]
    assert aucs == sorted(aucs, reverse=True)


def test_an_ablation_is_judged_on_the_runs_own_cells(run: Run, tiny_sd1: Model) -> None:
    rows = run.rows("unedited", "fox")
    levels = np.sort(run.images("unedited")[(rows["role"] == "target").to_numpy()].mean(axis=(1, 2, 3)) / 255)
    between = Brightness(threshold=float(levels.mean()))  # one of the two target images is above, one below
    cards = collect(run, tiny_sd1, FOX, between, "strong", cards=1, images=2, maps=0).cards
    ablation = cards[0].ablation
    assert ablation is not None and ablation.n == 2
    assert ablation.with_it == rows[rows["role"] == "target"]["shown"].mean()  # as the run's own judge saw it
    assert 0 <= ablation.without <= 1
    assert ablation.low <= ablation.without - ablation.with_it <= ablation.high


def test_an_ablation_takes_out_one_feature_and_nothing_else(run: Run, tiny_sd1: Model) -> None:
    seen: list[np.ndarray] = []

    class Watching(Brightness):
        def score(self, images: np.ndarray, prompts: Sequence[str]) -> Scores:
            seen.append(images)
            return super().score(images, prompts)

    card = collect(run, tiny_sd1, FOX, Watching(), "strong", cards=1, images=2, maps=0).cards[0]
    own = dictionary(tiny_sd1)

    def without(x: torch.Tensor, clock: Clock) -> torch.Tensor:
        a = x @ own.W_enc
        z = torch.where(a >= a.topk(3, dim=-1).values[..., -1:], a, 0).relu()[..., card.feature]
        z[:, 0] = 0  # never at the start token
        return x - (clock.mask("cond")[:, None] * z)[..., None] * own.W_dec[card.feature]

    rows = run.rows("unedited", "fox")
    rows = rows[rows["role"] == "target"]
    with tiny_sd1.session(edits=[SiteEdit(tiny_sd1.site("text.0"), without)]):
        expected = tiny_sd1.generate(rows["prompt"].tolist(), rows["seed"].tolist(), steps=2)
    assert np.abs(seen[0].astype(int) - expected).max() <= 1
    assert np.abs(seen[0].astype(int) - run.pictures(rows)).max() > 1


def test_a_pair_shows_the_images_of_the_run(evidence: Evidence, run: Run) -> None:
    pair = evidence.attention[0]
    for condition, image in (("unedited", pair.before), ("strong", pair.after)):
        rows = run.rows(condition, "fox")
        own = rows[(rows["prompt"] == pair.about.prompt) & (rows["seed"] == pair.about.seed)]
        assert np.abs(run.pictures(own)[0].astype(int) - image).max() <= 1
    assert 0 < pair.map_before.mean() < 1
    assert np.abs(pair.map_before - pair.map_after).max() > 1e-5


def test_under_a_no_op_both_maps_are_equal_and_there_are_no_cards(run: Run, tiny_sd1: Model) -> None:
    nothing = collect(run, tiny_sd1, FOX, Brightness(), "no-op", maps=1)
    assert nothing.cards == ()
    pair = nothing.attention[0]
    np.testing.assert_array_equal(pair.map_before, pair.map_after)
    np.testing.assert_array_equal(pair.before, pair.after)


def test_joined_evidence_goes_into_the_run_folder(evidence: Evidence, run: Run) -> None:
    both = joined([evidence, evidence])
    assert len(both.cards) == 6 and both.saes == (FACTS,)
    write_evidence(run.dir, both)
    read = read_evidence(run.dir)
    assert read is not None and read.cards == both.cards


def test_explaining_collects_the_methods_once(run: Run, tiny_sd1: Model, tmp_path: Path) -> None:
    shutil.copytree(run.dir, tmp_path / "run", ignore=shutil.ignore_patterns("evidence"))
    fresh = Run.open(tmp_path / "run")
    found = explain(fresh, tiny_sd1, [FOX], Brightness(), cards=1)
    assert {pair.about.condition for pair in found.attention} == {"strong"}
    written = (fresh.dir / "evidence" / "evidence.json").stat().st_mtime_ns
    assert explain(fresh, tiny_sd1, [FOX], Brightness(), cards=3).cards == found.cards
    assert (fresh.dir / "evidence" / "evidence.json").stat().st_mtime_ns == written


def test_a_condition_without_an_edit_is_refused(run: Run, tiny_sd1: Model) -> None:
    with pytest.raises(WorkbenchError, match=r"no edit 'uce' of fox"):
        collect(run, tiny_sd1, FOX, Brightness(), "uce")


def test_nothing_is_left_on_the_model(evidence: Evidence, tiny_sd1: Model) -> None:
    modules = [*tiny_sd1.pipe.unet.modules(), *tiny_sd1.pipe.text_encoder.modules()]
    assert all(not module._forward_hooks for module in modules)
