"""Cards with pictures: where features of a UNet and of a Janus fire, kept with the run and shown in its report."""

import numpy as np
import pytest

from tests.evaluation.small import Brightness, suite
from tests.tiny_janus import SIDE
from tests.tiny_saes import random_sae
from workbench.concepts import Concept
from workbench.edits.interventions import ablation
from workbench.evaluation.evaluate import evaluate
from workbench.interpret.attribution.pictures import feature_pictures
from workbench.reports.evidence import read_evidence
from workbench.reports.explaining import explain
from workbench.reports.report import report

FOX = Concept("fox", retain=["cat", "dog"], templates=["a {}", "a red {}"])
PROMPTS = [*FOX.prompts(), *FOX.retain_prompts()]
FEATURES = [1, 4, 7]


@pytest.fixture(scope="module", params=["janus", "sd1"])
def told(request, tiny_janus, tiny_sd1, tmp_path_factory):
    """Model, SAE, run and evidence, with the settings of its pictures and the side of a map."""
    model, site, sampling = (
        (tiny_janus, "lm.1", {}) if request.param == "janus" else (tiny_sd1, "unet.mid", {"steps": 2})
    )
    sae = random_sae(model, site, d_sae=24, k=8)
    edit = ablation(model, sae, FEATURES, concepts=["fox"])
    run = evaluate(model, {"off": edit}, suite(), Brightness(), tmp_path_factory.mktemp("cards") / "run", **sampling)
    found = explain(run, model, [FOX], Brightness(), cards=2)
    return model, sae, run, found, sampling


def test_a_card_holds_the_pictures_that_its_feature_fires_on_most_and_where(told):
    model, sae, _, found, sampling = told
    assert len(found.pictures) == 2 and not found.cards
    for card in found.pictures:
        about = card.about
        size = SIDE if about.cells else 32
        seeds = range(len(PROMPTS))
        every = feature_pictures(model, sae, [about.feature], PROMPTS, seeds, size=size, **sampling)
        peaks = every.maps[:, :, 0].mean(axis=1)
        for text, image, heat in zip(about.prompts, card.images, card.maps, strict=True):
            number = PROMPTS.index(text)
            np.testing.assert_allclose(heat, peaks[number], rtol=1e-2, atol=1e-3)
            assert np.abs(image.astype(int) - every.images[number]).max() <= 1
        assert about.feature in FEATURES and about.cells == (model.kind == "janus") and about.ablation is not None
    aucs = [card.about.auc for card in found.pictures]
    assert aucs == sorted(aucs, reverse=True)


def test_cards_are_kept_with_the_run_and_shown_in_its_report(told, tmp_path):
    *_, run, found, _ = told
    read = read_evidence(run.dir)
    assert read is not None and [card.about for card in read.pictures] == [card.about for card in found.pictures]
    for one, other in zip(read.pictures, found.pictures, strict=True):
        assert np.array_equal(one.images, other.images) and np.array_equal(one.maps, other.maps)
    page = report(run, tmp_path / "report.html").read_text()
    assert "fox, in pictures" in page and page.count("where it fires: ") == sum(len(c.images) for c in found.pictures)
    assert ("token by token" in page) == found.pictures[0].about.cells
    assert page.count("The target shows in") == 2
