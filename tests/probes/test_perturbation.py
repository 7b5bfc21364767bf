"""Taking latents out, in worlds where it must hit one probe alone, everything, or nothing."""

import pytest
import torch

from probes.classifier import fit_classifier
from probes.perturbation import Coded, class_latents, scr, tpp, without


def coded(mixed: bool, n=900, classes=4):
    """Each class has a latent of its own; `mixed` decodes every latent to the same direction for all classes."""
    torch.manual_seed(0)
    f = (torch.rand(n, classes) < 0.4).float()
    W_dec = torch.eye(classes, classes + 2)
    x = f @ W_dec + 0.01 * torch.randn(n, classes + 2)
    if mixed:  # one latent that holds all that is known
        f, W_dec = torch.ones(n, 1), x.mean(0, keepdim=True)
    return Coded(x, f, W_dec, torch.arange(n) % 3 == 0), {str(i): x[:, i] > 0.5 for i in range(classes)}


def test_latents_of_one_class_each_make_one_probe_fall_to_chance():
    table = tpp(*coded(mixed=False), ns=(1,))
    assert table["on_target"].item() == pytest.approx(0.5, abs=0.01)
    assert table["off_target"].item() == pytest.approx(0, abs=0.01)
    assert table["tpp"].item() == table["on_target"].item() - table["off_target"].item()


def test_what_other_probes_lose_is_taken_off():
    some, factors = coded(mixed=False)
    W_dec = torch.eye(6)[:4] + 0.8 * torch.eye(6)[[1, 2, 3, 0]]  # each latent stands for its class and most of the next
    row = tpp(some._replace(W_dec=W_dec), factors, ns=(1,)).iloc[0]
    assert row["on_target"] > row["off_target"] > 0.05
    assert row["tpp"] == pytest.approx(row["on_target"] - row["off_target"])


def test_latents_that_hold_no_class_perturb_no_probe_more_than_another():
    some, factors = coded(mixed=True)
    assert tpp(some, factors, ns=(1,))["tpp"].item() == pytest.approx(0, abs=0.01)


def test_latents_are_ranked_by_what_they_do_to_the_probe():
    some, factors = coded(mixed=False)
    loud = some._replace(f=some.f * torch.tensor([1.0, 1, 1, 1e-3]), W_dec=some.W_dec)
    y, weight = factors["1"], torch.tensor([0.3, 1.0, -0.5, 9.0, 0, 0], dtype=torch.float64)
    seen = ~loud.held_out
    difference = loud.f[seen & y].mean(0) - loud.f[seen & ~y].mean(0)
    effect = difference * torch.tensor([0.3, 1.0, -0.5, 9.0])
    best = class_latents(loud, y, weight, 4)
    assert best[0] == 1 and (effect[best] > 0).all() and len(best) == int((effect > 0).sum())
    assert effect[best].tolist() == sorted(effect[best].tolist(), reverse=True)


def test_what_the_sae_does_not_explain_stays():
    some, _ = coded(mixed=False)
    rest = without(some, torch.tensor([0, 2]))
    expected = some.x[some.held_out].clone()
    expected[:, 0] -= some.f[some.held_out][:, 0]
    expected[:, 2] -= some.f[some.held_out][:, 2]
    torch.testing.assert_close(rest, expected)
    assert torch.equal(without(some, torch.tensor([], dtype=torch.int64)), some.x[some.held_out])


def attributes(loud=4.0, n=1200):
    """y is faint and z loud, so that a probe for y that saw them agree listens to z. Four latents, two of each."""
    torch.manual_seed(0)
    y, z = torch.rand(n) < 0.5, torch.rand(n) < 0.5
    axes = torch.stack([y * 2.0 - 1, loud * (z * 2.0 - 1)], 1)
    x = axes + torch.randn(n, 2) * torch.tensor([0.3, 0.1])
    f = torch.cat([x.relu(), (-x).relu()], 1)
    W_dec = torch.cat([torch.eye(2), -torch.eye(2)])
    return Coded(x, f, W_dec, torch.arange(n) % 3 == 0), y, z


def test_taking_the_spurious_latents_out_frees_a_biased_probe():
    some, y, z = attributes()
    table = scr(some, y, z, ns=(2,))
    row = table.iloc[0]
    assert row["biased"] < 0.75 and row["oracle"] > 0.97
    assert row["scr"] == pytest.approx((row["ablated"] - row["biased"]) / (row["oracle"] - row["biased"]))
    assert row["scr"] > 0.9


def test_latents_that_say_nothing_change_nothing():
    some, y, z = attributes()
    shuffled = some._replace(f=torch.zeros_like(some.f))
    assert scr(shuffled, y, z, ns=(2,))["scr"].item() == 0


def test_the_wrong_latents_free_nothing():
    some, y, z = attributes()
    turned = some._replace(W_dec=some.W_dec.flip(1))  # what is said to be y is z
    assert scr(turned, y, z, ns=(2,))["scr"].item() < 0.2


def test_a_probe_that_is_not_fooled_gives_no_ratio():
    some, y, z = attributes(loud=0.01)
    assert scr(some, y, z, ns=(2,))["scr"].isna().all()


def test_the_four_combinations_have_the_same_say():
    some, y, z = attributes()
    row = scr(some, y, z, ns=(2,)).iloc[0]
    seen, out = ~some.held_out, some.held_out
    agree = seen & (y == z)
    said = fit_classifier(some.x[agree], y[agree]).says(some.x[out])
    shares = [(said == y[out])[(y[out] == a) & (z[out] == b)].double().mean() for a in (0, 1) for b in (0, 1)]
    assert row["biased"] == pytest.approx(float(torch.stack(shares).mean()))
