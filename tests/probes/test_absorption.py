"""Absorption in a world that has as much of it as was put in; each condition of its definition on its own."""

import pytest
import torch

from probes.absorption import absorption, is_absorbed, own_latents

D = 6


def world(taken_over: bool, n=600):
    """Foxes, a third of them vixens. Latent 0 is "fox", 1 is "vixen"; both carry the direction 0. Latent 2 is noise."""
    torch.manual_seed(0)
    fox, vixen = torch.rand(n) < 0.5, torch.rand(n) < 1 / 3
    f = torch.zeros(n, 3)
    f[:, 0] = (fox & ~vixen if taken_over else fox).float()
    f[:, 1] = (fox & vixen).float()
    f[:, 2] = torch.rand(n)
    W_dec = torch.eye(3, D)
    W_dec[1, 0] = 1.0 if taken_over else 0.0
    x = f @ W_dec + 0.01 * torch.randn(n, D)
    return x, f, W_dec, fox, torch.arange(n) % 3 == 0, vixen


def test_the_rate_is_the_share_that_another_latent_took_over():
    x, f, W_dec, fox, held_out, vixen = world(taken_over=True)
    one = absorption(x, f, W_dec, fox, held_out)
    # Two latents tell foxes exactly, so the concept would count as split; that alone would be no absorption.
    assert one.own.tolist() == [0, 1] and one.rate == 0 and one.f1 == 1
    own = torch.tensor([0])
    told = held_out & fox
    found = is_absorbed(f[told], f[~fox & ~held_out].mean(0), W_dec, torch.eye(D)[0], own)
    assert torch.equal(found, vixen[told]) and 0.2 < found.double().mean() < 0.5


def test_a_rare_special_case_is_absorbed_and_measured_from_end_to_end():
    x, f, W_dec, fox, held_out, vixen = world(taken_over=True)
    rare = vixen & (torch.arange(len(x)) % 36 < 3)  # one fox in 36: a second latent gains less than 0.03 of F1
    f[:, 0], f[:, 1] = (fox & ~rare).float(), (fox & rare).float()
    one = absorption(f @ W_dec, f, W_dec, fox, held_out)
    assert one.own.tolist() == [0] and one.true_positives == int((fox & held_out).sum())
    assert one.rate == pytest.approx(float((rare & fox & held_out).sum() / (fox & held_out).sum())) and one.rate > 0.005


def test_nothing_is_absorbed_where_the_concept_has_a_latent_that_always_fires():
    x, f, W_dec, fox, held_out, _ = world(taken_over=False)
    one = absorption(x, f, W_dec, fox, held_out)
    assert one.own.tolist() == [0] and one.rate == 0 and one.f1 == 1


def test_a_concept_that_the_probe_never_tells_has_no_rate():
    x, f, W_dec, fox, held_out, _ = world(taken_over=False)
    f[:] = x[:] = 0
    x[:, 0], f[:, 0] = torch.where(held_out, -1.0, 1.0) * fox, 1.0 * fox
    one = absorption(x, f, W_dec, fox, held_out)
    assert one.true_positives == 0 and one.rate != one.rate


@pytest.mark.parametrize(
    ("f", "cosine", "background", "absorbed"),
    [
        ([0.0, 1.0, 0.0], 1.0, [0.0, 0.0, 0.0], True),
        ([0.1, 1.0, 0.0], 1.0, [0.0, 0.0, 0.0], False),  # the concept's own latent fires
        ([0.0, 0.41, 0.39], 1.0, [0.0, 0.0, 0.0], True),
        ([0.0, 1.0, 0.0], 0.03, [0.0, 0.0, 0.0], True),
        ([0.0, 1.0, 0.0], 0.02, [0.0, 0.0, 0.0], False),  # nothing that fires is near the probe
        ([0.0, 1.0, 0.0], 1.0, [0.0, 1.0, 0.0], False),  # it fires so without the concept, too
        ([0.0, 1.0, 0.0], 1.0, [0.0, 2.0, 0.0], False),
    ],
)
def test_each_condition_of_absorption(f, cosine, background, absorbed):
    W_dec = torch.tensor([[1.0, 0], [cosine, (1 - cosine**2) ** 0.5], [1.0, 0]])
    own = torch.tensor([0])
    found = is_absorbed(torch.tensor([f]), torch.tensor(background), W_dec, torch.tensor([1.0, 0]), own)
    assert found.tolist() == [absorbed]


@pytest.mark.parametrize(("largest", "absorbed"), [(0.41, True), (0.39, False)])
def test_the_largest_contribution_must_be_at_least_two_fifths(largest, absorbed):
    others = [(1 - largest) / 2] * 2
    f = torch.tensor([[0.0, largest, *others]])
    found = is_absorbed(f, torch.zeros(4), torch.ones(4, 1), torch.ones(1), torch.tensor([0]))
    assert found.tolist() == [absorbed]


def test_a_concept_is_split_while_another_latent_gains():
    torch.manual_seed(0)
    n = 600
    words = torch.randint(9, (n,))
    f = torch.nn.functional.one_hot(words, 9).float()
    y, held_out = words < 3, torch.arange(n) % 3 == 0
    own, f1 = own_latents(f, y, held_out)
    assert set(own.tolist()) == {0, 1, 2} and f1 == 1
    joined = torch.stack([y.float(), f[:, 3], f[:, 4]], 1)
    assert own_latents(joined, y, held_out)[0].tolist() == [0]
