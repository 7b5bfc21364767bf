"""Attribution in a Janus: the concept lens, features on cells, features that feed features, each by true ablation."""

import pytest
import torch

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from tests.tiny_saes import memorising_sae, random_sae
from workbench.edits.interventions import ablation
from workbench.hooks import Place, SiteEdit
from workbench.interpret.attribution.effects import HOWS, feature_effects
from workbench.interpret.attribution.feature_cells import cell_effects
from workbench.interpret.attribution.graph import feature_graph
from workbench.interpret.attribution.lens import concept_lens
from workbench.interpret.attribution.likelihood import log_likelihood

PROMPTS, ANCHORS, SEEDS = ["a photo of a fox", "a red fox"], ["a photo of a cat", "a red cat"], [1, 2]


def roots(model, codes, prompts):
    return model.logits(codes, prompts).detach().double().softmax(dim=-1).sqrt().flatten(1)


def test_the_lens_is_1_unedited_and_the_share_of_the_way_under_an_edit(tiny_janus):
    sae = random_sae(tiny_janus, "lm.0")
    lens = concept_lens(tiny_janus, PROMPTS, ANCHORS, SEEDS)
    torch.testing.assert_close(lens().detach(), torch.ones(2))
    codes = tiny_janus.sample_codes(PROMPTS, SEEDS)
    p, q = roots(tiny_janus, codes, PROMPTS), roots(tiny_janus, codes, ANCHORS)
    with tiny_janus.edited(ablation(tiny_janus, sae, range(0, 96, 2))):
        e, seen = roots(tiny_janus, codes, PROMPTS), lens().detach()
    expected = ((e - q) * (p - q)).sum(dim=1) / (p - q).square().sum(dim=1)
    torch.testing.assert_close(seen, expected.float(), rtol=1e-3, atol=1e-4)
    assert (seen - 1).abs().min() > 1e-3


def test_an_effect_is_that_of_a_true_ablation_and_slopes_add_up_to_it(tiny_janus):
    sae, features = random_sae(tiny_janus, "lm.0"), list(range(96))
    lens = concept_lens(tiny_janus, PROMPTS, ANCHORS, SEEDS)
    found = {how: feature_effects(tiny_janus, sae, features, lens, how=how, points=24) for how in HOWS[1:]}
    with torch.no_grad(), tiny_janus.edited(ablation(tiny_janus, sae, features)):
        together = 1 - lens()
    torch.testing.assert_close(found["integrated"].sum(dim=1), together, rtol=0.05, atol=0.02)
    loudest = int(found["gradient"].abs().sum(dim=0).argmax())
    once = feature_effects(tiny_janus, sae, [loudest], lens)[:, 0]
    with torch.no_grad(), tiny_janus.edited(ablation(tiny_janus, sae, [loudest])):
        torch.testing.assert_close(once, 1 - lens())
    assert once.abs().max() > 0


def test_a_cell_loses_what_a_true_ablation_takes_from_its_token(tiny_janus):
    sae = random_sae(tiny_janus, "lm.1")
    found = cell_effects(tiny_janus, sae, [3, 8], PROMPTS, SEEDS, draws=2)
    codes = tiny_janus.sample_codes(PROMPTS, SEEDS)
    whole = log_likelihood(tiny_janus, codes, PROMPTS)
    for place, feature in enumerate((3, 8)):
        with tiny_janus.edited(ablation(tiny_janus, sae, [feature])):
            lost = whole - log_likelihood(tiny_janus, codes, PROMPTS)
        torch.testing.assert_close(torch.tensor(found.maps[:, place]).flatten(1), lost, rtol=1e-3, atol=1e-5)
    assert (found.images == tiny_janus.generate(PROMPTS, SEEDS)).all()
    assert found.control.shape == found.maps.shape and abs(found.control - found.maps).max() > 1e-3
    assert (found.spread >= abs(found.control.mean(axis=(2, 3))) - 1e-6).all()


def test_edges_lead_from_the_prompt_to_the_cells(tiny_janus):
    text, cells = memorising_sae(tiny_janus, "lm.0", PROMPTS), random_sae(tiny_janus, "lm.2.mlp")
    own, targets = Dictionary.of(cells), list(range(96))
    edges = feature_graph(tiny_janus, text, range(4), cells, targets, PROMPTS, SEEDS, draws=1)
    assert len(edges) and (edges["weight"].abs() > edges["control"]).all()
    codes = tiny_janus.sample_codes(PROMPTS, SEEDS)

    def means():
        with tiny_janus.session(record=["lm.2.mlp"]) as session, torch.no_grad():
            tiny_janus.hidden(codes, PROMPTS)
        x = session.records["lm.2.mlp"][0][1][:, 1 - codes.shape[1] :]  # the last token is never read
        code = own.encode(x)
        return torch.zeros(*x.shape[:2], 96).scatter(2, code.indices, code.values).mean(dim=1)

    source = int(edges["source"].iloc[0])
    whole, first = means(), Dictionary.of(text)

    def take_out(x, clock):
        code = first.encode(x)
        z = torch.zeros(*x.shape[:2], first.d_sae).scatter(2, code.indices, code.values)[..., [source]]
        words = (clock.tokens.places == Place.WORD) | (clock.tokens.places == Place.END)
        return x - z * words[..., None] * first.W_dec[source]

    with tiny_janus.session(edits=[SiteEdit(tiny_janus.site("lm.0"), take_out)]):
        lost = (whole - means()).mean(dim=0)
    for edge in edges[edges["source"] == source].itertuples():
        assert edge.weight == pytest.approx(float(lost[edge.target]), rel=1e-2, abs=1e-5)


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda m, s, t: concept_lens(m, PROMPTS, ANCHORS, SEEDS, seen=4), "without timesteps"),
        (lambda m, s, t: concept_lens(m, PROMPTS, PROMPTS, SEEDS), "its own anchor"),
        (lambda m, s, t: feature_graph(m, s, [0], t, [0], PROMPTS, SEEDS, seen=4), "without timesteps"),
        (lambda m, s, t: feature_graph(m, t, [0], s, [0], PROMPTS, SEEDS), "is passed no later than"),
        (lambda m, s, t: feature_graph(m, s, [0], s, [0], PROMPTS, SEEDS), "is passed no later than"),
        (lambda m, s, t: cell_effects(m, s, [], PROMPTS, SEEDS), "No feature is named"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(tiny_janus, ask, problem):
    with pytest.raises(WorkbenchError, match=problem):
        ask(tiny_janus, random_sae(tiny_janus, "lm.0"), random_sae(tiny_janus, "lm.2"))


def test_cells_are_those_of_a_janus(tiny_sd1):
    with pytest.raises(WorkbenchError, match="effect of a feature on cells needs a model that writes pictures"):
        cell_effects(tiny_sd1, random_sae(tiny_sd1, "text.1"), [0], PROMPTS, SEEDS)
