"""A few columns tell a factor if they hold it: exact where the world is."""

import pytest
import torch

from probes.sparse_probing import DENSE, best_columns, enough, mean_difference, sparse_probing


def world(n=400, d=8):
    """Independent binary features (one quiet, one loud), and the same turned so that every neuron mixes all."""
    torch.manual_seed(0)
    f = (torch.rand(n, d) < 0.3).float()
    turned = f @ torch.linalg.qr(torch.randn(d, d)).Q
    return f, turned, torch.arange(n) % 4 == 0


def test_one_latent_that_is_the_factor_tells_it_and_one_neuron_does_not():
    f, x, held_out = world()
    factors = {"third": f[:, 2] > 0, "sixth": f[:, 5] > 0}
    table = sparse_probing({"sae": f, "neurons": x}, factors, held_out, ks=(1, 5), dense=["neurons"])
    found = table.set_index(["factor", "input", "k"])["accuracy"]
    assert len(table) == 2 * (2 + 3)
    for factor in factors:
        assert found[factor, "sae", 1] == found[factor, "sae", 5] == found[factor, "neurons", DENSE] == 1
        assert found[factor, "neurons", 1] < 0.85


def test_accuracy_is_measured_on_the_held_out_rows_alone():
    f, _, held_out = world()
    y = (f[:, 2] > 0) ^ held_out  # the factor turns round where it is judged
    table = sparse_probing({"sae": f}, {"turned": y}, held_out, ks=(1,))
    assert table["accuracy"].item() == 0


def test_columns_are_chosen_by_the_difference_of_class_means_in_standard_deviations():
    f, _, _ = world()
    y = f[:, 2] > 0
    loud = f * torch.tensor([100.0, 1, 1e-3, 1, 1, 1, 1, 1])
    assert best_columns(f, y, 1).tolist() == best_columns(loud, y, 1).tolist() == [2]
    expected = torch.stack([loud[y][:, j].mean() - loud[~y][:, j].mean() for j in range(8)])
    torch.testing.assert_close(mean_difference(loud, y), expected)
    order = (expected.abs() / loud.std(0)).argsort(descending=True)
    assert torch.equal(best_columns(loud, y, 8), order)


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_a_column_that_is_constant_but_for_rounding_is_chosen_last(noise):
    f, _, _ = world()
    y = f[:, 2] > 0
    constant = torch.full((len(f), 1), 0.1) * (1 + noise * y[:, None])
    assert best_columns(torch.cat([constant, f], 1), y, 99).tolist()[-1] == 0


@pytest.mark.parametrize(("positives", "expected"), [(9, False), (10, True)])
def test_a_factor_needs_rows_on_both_sides(positives, expected):
    held_out = torch.arange(100) < 50
    y = torch.zeros(100, dtype=torch.bool)
    y[:positives] = y[50:70] = True
    assert enough(y, held_out) == expected
    assert enough(~y, held_out) == expected
    assert enough(y, ~held_out) == expected
