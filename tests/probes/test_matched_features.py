"""Agreement of features of two dictionaries: exact on twins, absent between strangers, refused where none is told."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr

from probes.matched_features import COLUMNS, feature_agreement, halves, matched
from saes.errors import WorkbenchError

CONCEPTS, EACH = ("fox", "cat", "dog", "bear"), 20
N = len(CONCEPTS) * EACH
ABOUT = pd.DataFrame({name: np.repeat(np.arange(len(CONCEPTS)) == place, EACH) for place, name in enumerate(CONCEPTS)})


def scores(rng, n=12, loud=3.0):
    """Feature 3c + j fires on concept c, each in its own way; all fire a little everywhere."""
    g = rng.random((N, n))
    for place in range(len(CONCEPTS)):
        own = np.arange(place * EACH, (place + 1) * EACH)
        g[np.ix_(own, range(3 * place, 3 * place + 3))] += loud + rng.random((EACH, 3))
    return g


def test_a_dictionary_agrees_with_its_twin_and_not_with_partners_of_other_concepts():
    rng = np.random.default_rng(0)
    g, order = scores(rng), rng.permutation(12)
    table = feature_agreement(g, 2 * g[:, order] + 1, ABOUT)  # the same in another order and unit
    assert list(table) == list(COLUMNS) and table["concept"].tolist() == list(CONCEPTS)
    assert table["agreement"].tolist() == pytest.approx([1] * 4) and (table["control"] < 0).all()
    assert (table["difference_low"] > 1).all() and (table["features"] == 3).all() and (table["prompts"] == N // 2).all()


def test_strangers_do_not_agree():
    rng = np.random.default_rng(1)
    table = feature_agreement(scores(rng), rng.random((N, 40)), ABOUT)
    assert (table["agreement"].abs() < 0.4).all()
    assert ((table["difference_low"] < 0) & (table["difference_high"] > 0)).sum() >= 3


def test_each_number_is_the_mean_of_plain_correlations_on_the_judging_half():
    rng = np.random.default_rng(2)
    g, h = scores(rng), scores(rng) + rng.random((N, 12))
    chooses = halves(ABOUT.to_numpy(), 5)
    found = matched(g[chooses], h[chooses], ABOUT.to_numpy()[chooses], 2)
    table = feature_agreement(g, h, ABOUT, per_concept=2, seed=5).set_index("concept")
    for place, name in enumerate(CONCEPTS):

        def r(rank, of, place=place):
            return pearsonr(g[~chooses, found.features[place, rank]], h[~chooses, found.partners[of, rank]])[0]

        assert table.agreement[name] == pytest.approx(np.mean([r(0, place), r(1, place)]))
        others = [other for other in range(4) if other != place]
        assert table.control[name] == pytest.approx(np.mean([r(rank, other) for other in others for rank in (0, 1)]))
        assert table.low[name] <= table.agreement[name] <= table.high[name]
        assert table.difference[name] == pytest.approx(table.agreement[name] - table.control[name])


def test_features_are_those_that_tell_the_concept_and_partners_those_that_fire_alike():
    rng = np.random.default_rng(3)
    g = scores(rng)
    h = np.concatenate([rng.random((N, 5)), g[:, ::-1]], axis=1)
    h[:, 2] = 0  # never fires, and is nobody's partner
    found = matched(g, h, ABOUT.to_numpy(), 3)
    for place in range(len(CONCEPTS)):
        assert set(found.features[place]) == {3 * place, 3 * place + 1, 3 * place + 2}
    assert (found.partners == 5 + 11 - found.features).all()


def test_halves_share_every_concept_out():
    chooses = halves(ABOUT.to_numpy(), 0)
    assert all(ABOUT[name][chooses].sum() == EACH // 2 for name in CONCEPTS)
    assert not np.array_equal(chooses, halves(ABOUT.to_numpy(), 1))
    assert np.array_equal(chooses, halves(ABOUT.to_numpy(), 0))


def test_what_cannot_be_told_is_refused():
    g = scores(np.random.default_rng(4))
    with pytest.raises(WorkbenchError, match="One concept alone"):
        feature_agreement(g, g, ABOUT[["fox"]])
    with pytest.raises(WorkbenchError, match="Too few prompts are about 'wolf'"):
        feature_agreement(g, g, ABOUT.assign(wolf=np.arange(N) == 0))
    with pytest.raises(WorkbenchError, match="Fewer than 3 features tell"):
        feature_agreement(g, np.zeros((N, 9)), ABOUT)
