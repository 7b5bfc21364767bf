"""The training loop against steps written out by hand."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.fitting.training import Plan, generator_of, train

TARGET = torch.tensor([1.0, -2.0], dtype=torch.float64)
ADAM = {"lr": 0.1, "betas": (0.5, 0.25), "weight_decay": 0.0}


def descend(weights, loss, steps, accumulate=False, seed=0, **how):
    plan = Plan(steps=steps, keep_gradients=accumulate, **how)
    return train({str(i): one for i, one in enumerate(weights)}, loss, plan, seed=seed).losses


def weight():
    return nn.Parameter(torch.zeros(2, dtype=torch.float64), requires_grad=False)


def squares(parameter):
    return lambda step, generator: (parameter - TARGET).square().sum()


def by_hand(gradient, steps, lr=0.1, b1=0.5, b2=0.25, decay=0.0, accumulate=False, size=2):
    """AdamW as published (Loshchilov & Hutter 2019), from zero."""
    w, m, v, total = torch.zeros(size, dtype=torch.float64), 0.0, 0.0, 0.0
    for t in range(1, steps + 1):
        g = gradient(w)
        total = total + g
        g = total if accumulate else g
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        w = w * (1 - lr * decay) - lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + 1e-8)
    return w


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_steps_are_those_of_adamw_with_fresh_or_piled_up_gradients(accumulate, decay):
    w = weight()
    history = descend([w], squares(w), 3, **(ADAM | {"weight_decay": decay}), accumulate=accumulate)
    assert_close(w.data, by_hand(lambda w: 2 * (w - TARGET), 3, decay=decay, accumulate=accumulate))
    assert history[0] == 5.0 and len(history) == 3 and history[-1] < history[0]


@pytest.mark.parametrize("clip", [0.5, 4.0, None])
def test_clipping_bounds_the_norm_over_all_parameters(clip):
    """Adam forgets the length of a first gradient, not how the later ones compare with it: norms of about 5, 4, 3."""
    w, u = weight(), weight()
    descend([w, u], lambda *_: (w - TARGET).square().sum() + 0.5 * u.sum(), 3, clip=clip, **(ADAM | {"lr": 0.4}))
    plain = weight()
    descend([plain], squares(plain), 3, **(ADAM | {"lr": 0.4}))

    def clipped(both):
        gradient = torch.cat([2 * (both[:2] - TARGET), torch.full((2,), 0.5, dtype=torch.float64)])
        return gradient * min(1.0, (clip or torch.inf) / float(gradient.norm()))

    assert_close(torch.cat([w.data, u.data]), by_hand(clipped, 3, lr=0.4, size=4), rtol=1e-5, atol=0)
    assert (w.data - plain.data).norm() > 1e-2 or clip is None


def test_each_step_draws_from_its_own_generator_and_never_from_torchs():
    drawn = {}

    def noisy(greedy):
        w = weight()

        def loss(step, generator):
            drawn.setdefault((greedy, step), torch.rand(2, generator=generator, dtype=torch.float64))
            if greedy:
                torch.rand(5, generator=generator)
            return (w - drawn[greedy, step]).square().sum()

        descend([w], loss, 2, seed=7, **ADAM)
        return w.data

    state = torch.get_rng_state()
    assert torch.equal(noisy(False), noisy(True)), "how much a step draws must not matter to the next"
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(drawn[False, 0], drawn[False, 1])
    seeds = {generator_of(*pair).initial_seed() for pair in ((7, 0), (7, 1), (0, 7), (8, 0))}
    assert len(seeds) == 4


def test_parameters_ask_for_gradients_only_while_they_train_even_under_no_grad():
    w = weight()
    with torch.no_grad():
        descend([w], squares(w), 1, **ADAM)
    assert not w.requires_grad and w.grad is None and w.data.abs().sum() > 0


def test_half_precision_and_a_loss_that_is_not_finite_are_refused():
    half = nn.Parameter(torch.zeros(2, dtype=torch.float16))
    with pytest.raises(WorkbenchError, match=r"torch\.float32"):
        descend([half], squares(half), 1, lr=0.1)
    w = weight()
    with pytest.raises(WorkbenchError, match="step 0 is loss nan"):
        descend([w], lambda *_: (w * torch.nan).sum(), 1, lr=0.1)
