"""The probe is at the minimum of its weighted loss, and accuracies give every class the same say."""

import pytest
import torch
from torch.nn.functional import softplus

from probes.classifier import Classifier, balanced_accuracy, fit_classifier


def problem(n=300, share=0.1):
    torch.manual_seed(0)
    y = torch.rand(n) < share
    x = torch.randn(n, 4, dtype=torch.float64) * torch.tensor([1.0, 30.0, 0.02, 1.0]) + 5
    x[:, 0] += 2 * y
    x[:, 2] += 0.01 * y
    return x, y


@pytest.mark.parametrize("by_cell", [False, True])
def test_the_weighted_loss_has_no_slope_at_the_solution(by_cell):
    x, y = problem()
    cells = torch.arange(len(y)) % 3 + 3 * y.long() if by_cell else None
    probe = fit_classifier(x, y, cells)
    groups = y.long() if cells is None else cells
    own = torch.tensor([1 / int((groups == group).sum()) for group in groups], dtype=torch.float64)
    own = own * len(y) / own.sum()  # every group weighs the same, all together as much as there are rows
    scale = x.std(0)
    weight = (probe.weight * scale).requires_grad_()  # on columns of unit variance
    bias = torch.tensor(float(x.mean(0) @ probe.weight + probe.bias), dtype=torch.float64, requires_grad=True)
    signs = torch.where(y, 1.0, -1.0)
    margins = signs * ((x - x.mean(0)) / scale @ weight + bias)
    loss = (own * softplus(-margins)).sum() + weight.square().sum() / 2
    for slope in torch.autograd.grad(loss, [weight, bias]):
        assert slope.abs().max() < 0.05  # the slope of a single row is about 1


def test_it_tells_a_rare_class_and_an_unlike_scale_does_not_matter():
    x, y = problem()
    probe = fit_classifier(x, y)
    assert balanced_accuracy(probe.says(x), y) > 0.8
    other = fit_classifier(x * 1000, y)
    assert torch.equal(other.says(x * 1000), probe.says(x))


def test_balanced_accuracy_by_hand():
    y = torch.tensor([True, False, False, False, False])
    assert balanced_accuracy(torch.zeros(5, dtype=torch.bool), y) == 0.5  # "never" is right four times in five
    assert balanced_accuracy(y, y) == 1
    said = torch.tensor([True, True, False, False, False])
    assert balanced_accuracy(said, y) == (1 + 0.75) / 2
    assert balanced_accuracy(said, y, torch.tensor([0, 1, 1, 2, 2])) == pytest.approx((1 + 0.5 + 1) / 3)


def test_says_is_the_side_of_a_plane():
    probe = Classifier(torch.tensor([1.0, -1.0], dtype=torch.float64), -0.5)
    assert probe.says(torch.tensor([[2.0, 1.0], [1.0, 1.0], [1.0, 0.4]])).tolist() == [True, False, True]
