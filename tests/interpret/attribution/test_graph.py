"""Edges between features: true ablations, and only those that no random direction equals."""

import pytest
import torch

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from tests.tiny_saes import memorising_sae, random_sae
from workbench.edits.interventions import ablation
from workbench.hooks import Clock
from workbench.interpret.attribution.graph import feature_graph, without
from workbench.interpret.attribution.lens import looks_at

SITE, PROMPTS, SEEDS = "unet.up.1.0.attn2", ["a photo of a fox", "a red dog"], [1, 2]


def means(model, sae, features, looks):
    with model.session(record=[SITE]) as session, torch.no_grad():
        encoding = model.encode(PROMPTS)
        for x, t in looks:
            model.noise_prediction(x, t, encoding)
    seen = []
    for _, x in session.records[SITE]:
        code = Dictionary.of(sae).encode(x)
        dense = torch.zeros(*x.shape[:2], 96).scatter(2, code.indices, code.values)
        seen.append(dense[..., features].mean(dim=1))
    return torch.stack(seen).mean(dim=0)


def test_weights_are_those_of_true_ablations(tiny_sd1):
    text, picture = memorising_sae(tiny_sd1, "text.1"), random_sae(tiny_sd1, SITE)
    sources, targets = [1, 2, 3, 4, 5], list(range(96))
    edges = feature_graph(tiny_sd1, text, sources, picture, targets, PROMPTS, SEEDS, seen=2, draws=1)
    looks = looks_at(tiny_sd1, PROMPTS, SEEDS, seen=2)
    whole = means(tiny_sd1, picture, targets, looks)
    assert len(edges)
    for source in edges["source"].unique():
        with tiny_sd1.edited(ablation(tiny_sd1, text, [int(source)])):
            lost = (whole - means(tiny_sd1, picture, targets, looks)).mean(dim=0)
        for edge in edges[edges["source"] == source].itertuples():
            assert edge.weight == pytest.approx(float(lost[edge.target]), abs=2e-6, rel=1e-3)
            before = float(whole[:, edge.target].mean())
            assert edge.share == pytest.approx(edge.weight / max(before, before - edge.weight), rel=1e-3)
            assert abs(edge.weight) > edge.control and edge.low <= edge.weight <= edge.high
    assert edges["weight"].abs().is_monotonic_decreasing


def test_the_control_takes_as_much_out_of_the_same_tokens(tiny_sd1):
    sae = memorising_sae(tiny_sd1, "text.1")
    own, draw = Dictionary.of(sae), torch.Generator().manual_seed(0)
    x = own.W_dec[None, :6] * 3 + own.b_dec
    direction = torch.randn(x.shape[-1], generator=draw)
    direction *= own.W_dec[2].norm() / direction.norm()
    clock = Clock("prompt", 0, None, ("cond",))
    moved = [(x - without(own, 2, d)(x, clock)).norm(dim=-1)[0] for d in (own.W_dec[2], direction)]
    torch.testing.assert_close(moved[0], moved[1])
    assert moved[0].nonzero().flatten().tolist() == [2]
    torch.testing.assert_close(without(own, 0, direction)(x, clock), x)  # the begin token


def test_a_source_that_fires_nowhere_has_no_edges(tiny_sd1):
    text, picture = memorising_sae(tiny_sd1, "text.1"), random_sae(tiny_sd1, SITE)
    edges = feature_graph(tiny_sd1, text, [40], picture, range(96), ["a dog"], [1], seen=1, draws=1)
    assert edges.empty and list(edges)[:3] == ["source", "target", "weight"]


def test_a_graph_goes_from_text_to_pictures(tiny_sd1):
    text, picture = random_sae(tiny_sd1, "text.1"), random_sae(tiny_sd1, SITE)
    with pytest.raises(WorkbenchError, match=r"which no prompt passes"):
        feature_graph(tiny_sd1, picture, [0], text, [0], PROMPTS, SEEDS)
