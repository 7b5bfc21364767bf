"""The dashboard of a Janus: a feature is shown on the prompt's tokens and on the picture's cells."""

from dataclasses import replace

import numpy as np
import pytest

import saes
from saes.errors import WorkbenchError
from tests.dashboard.test_pages import shown
from tests.evaluation.small import Brightness, suite
from tests.tiny_janus import CELLS, SIDE
from tests.tiny_saes import random_sae
from workbench.concepts import Concept
from workbench.dashboard.bench import Bench
from workbench.dashboard.callbacks import chosen
from workbench.dashboard.changes import read_request
from workbench.dashboard.evidence import square
from workbench.dashboard.links import feature_link
from workbench.dashboard.opening import whole_library
from workbench.dashboard.saving import save_study
from workbench.edits.interventions import ablation
from workbench.evaluation.evaluate import evaluate
from workbench.interpret.attribution.pictures import feature_pictures

SITE = "lm.1"


@pytest.fixture(scope="module")
def library(tiny_janus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("janus-dashboard")
    about = {"hook_name": SITE, "model_name": tiny_janus.fingerprint, "l0": 6.0}
    saes.save(random_sae(tiny_janus, SITE), folder / "cells", about)
    edit = ablation(tiny_janus, folder / "cells", [1, 2])
    named = replace(edit, settings={**edit.settings, "sae": str(folder / "cells")})
    evaluate(tiny_janus, {"ablation": named}, suite(), Brightness(), folder / "run")
    return whole_library(folder / "run", [], [Concept("fox"), Concept("bear")], model=lambda: tiny_janus)


@pytest.fixture(scope="module")
def feature(library):
    """One that fires on words and on cells of its strongest prompt."""
    cache = library.cache("cells")
    tokens = cache.n_tokens
    both = (
        f for f in range(cache.d_sae)
        if len(top := cache.top(f).maps) and top[0, :tokens].any() and top[0, tokens:].any()
    )  # fmt: skip
    return next(both)


def test_cells_hold_what_fires_there_in_the_picture_of_the_prompt(library, tiny_janus, feature):
    cache = library.cache("cells")
    top = cache.top(feature)
    asked = [library.prompts[number] for number in top.prompts]
    texts, seeds = [one.prompt for one in asked], [one.seed for one in asked]
    found = feature_pictures(tiny_janus, cache.source.folder, [feature], texts, seeds, size=SIDE)
    mine = np.stack([square(values[cache.n_tokens :]) for values in top.maps])
    assert cache.n_tokens + CELLS == cache.about["places"] and not cache.has_steps and cache.draws
    np.testing.assert_allclose(mine, found.maps[:, 0, 0], rtol=2e-2, atol=2e-2)
    for number, text, values in zip(top.prompts, texts, top.maps, strict=True):
        words = [word for word in tiny_janus.tokens(text)[0].words]
        assert list(cache.prompts["tokens"][number]) == words and not values[len(words) : cache.n_tokens].any()


def test_a_card_shows_tokens_and_pictures_but_no_course_over_steps(library, feature):
    text = shown(library, feature_link("cells", feature))
    assert "Prompts it fires on most" in text and 'class="strip"' in text
    assert "Their pictures" in text and "cell by cell" in text and "where it fires:" in text
    assert "When it fires" not in text and "share of tokens and cells it fires on" in text
    tile = shown(library, f"/?q={feature}")
    assert 'class="strip"' in tile and 'class="thumbs"' in tile


def test_the_bench_takes_no_window_and_changes_pictures(library, tiny_janus, feature):
    assert chosen(library, "cells", str(feature))[1], "the window is hidden"
    row = {"sae": "cells", "features": str(feature), "action": "clamp", "strength": 9.0, "high": 800, "low": 200}
    request = read_request(library, [row], "a photo of a fox", "3", True)
    assert request.changes[0].window == (1000.0, 0.0)
    outcome = Bench(library, lambda: tiny_janus).generate(request, lambda items, *_: items)
    assert outcome.changes("after")[0] > 0
    with pytest.raises(WorkbenchError, match="A study compares equal positions"):
        save_study(library, outcome, "mine", "fox")
