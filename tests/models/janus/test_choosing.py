"""Draws of tokens: their shares, the seeds that own them, and what is cut off."""

import pytest
import torch

from saes.errors import WorkbenchError
from workbench.models.janus.choosing import Chooser, Sampling, among_best


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_softmax_says(temperature):
    logits, n = torch.tensor([0.0, 1.0, 2.0, -1.0]), 4000
    drawn = Chooser(Sampling(1.0, temperature, 0), range(n))(logits.expand(n, 4))
    shares = torch.bincount(drawn, minlength=4) / n
    expected = (logits / temperature).softmax(dim=0)
    assert ((shares - expected).abs() < 4 * (expected * (1 - expected) / n).sqrt() + 1e-3).all()


def test_a_seed_gives_its_own_tokens_wherever_it_stands():
    logits, sampling = torch.zeros(2, 50), Sampling(1.0, 1.0, 0)
    one, other = Chooser(sampling, [3, 4]), Chooser(sampling, [9, 3])
    draws = [(one(logits), other(logits)) for _ in range(5)]
    assert [int(a[0]) for a, _ in draws] == [int(b[1]) for _, b in draws]
    assert [int(a[0]) for a, _ in draws] != [int(a[1]) for a, _ in draws]


def test_only_the_best_are_drawn():
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]])
    assert among_best(logits, 2).tolist() == [[-torch.inf, 3.0, -torch.inf, 2.0]]
    assert among_best(logits, 0) is logits and among_best(logits, 9) is logits


@pytest.mark.parametrize(
    ("sampling", "problem"),
    [
        (Sampling(float("nan"), 1.0, 0), "guidance scale of nan"),
        (Sampling(5.0, -0.1, 0), "temperature of -0.1"),
        (Sampling(5.0, float("inf"), 0), "temperature of inf"),
        (Sampling(5.0, 1.0, -1), "top_k is -1"),
    ],
)
def test_numbers_that_make_no_picture_are_refused(sampling, problem):
    with pytest.raises(WorkbenchError, match=problem):
        sampling.check(5.0)
