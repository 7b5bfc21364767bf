"""The training loop against steps written out by hand."""

import pytest
import torch
from diffusers.optimization import get_scheduler
from torch import nn
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.measuring import turns_of
from workbench.fitting.checkpoints import read_checkpoint, resumable
from workbench.fitting.plan import SCHEDULES, WINDOW, Plan, rates, stops_early
from workbench.fitting.players import KeptGradients, Player, generator_of, summed
from workbench.fitting.training import train
from workbench.precision import fast_dtype

TARGET = torch.tensor([1.0, -2.0], dtype=torch.float64)
ADAM = {"lr": 0.1, "betas": (0.5, 0.25), "weight_decay": 0.0}


def descend(weights, loss, steps, accumulate=False, seed=0, **how):
    named = {str(i): one for i, one in enumerate(weights)}
    combine = KeptGradients() if accumulate else None
    return train(Player(named, loss, Plan(steps=steps, **how), combine=combine), seed=seed).losses


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


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 3])
def test_rates_are_those_of_diffusers_schedule(schedule, warmup):
    plan = Plan(steps=12, lr=0.3, schedule=schedule, warmup=warmup, cycles=2)
    idle = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    name = "constant_with_warmup" if schedule == "constant" and warmup else schedule
    theirs = get_scheduler(name, idle, num_warmup_steps=warmup, num_training_steps=12, num_cycles=2)
    expected = []
    for _ in range(12):
        expected.append(idle.param_groups[0]["lr"])
        idle.step()
        theirs.step()
    assert [rates(plan)(step) for step in range(12)] == pytest.approx(expected)
    assert len(set(expected)) > 1 or (schedule, warmup) == ("constant", 0)


def test_a_step_has_the_rate_of_its_schedule():
    """With betas of 0 a step of Adam is its rate, in the direction against the gradient."""
    w, seen = nn.Parameter(torch.zeros(1, dtype=torch.float64)), []

    def loss(step, generator):
        seen.append(w.item())
        return w.sum()

    plan = Plan(steps=5, lr=0.1, betas=(0.0, 0.0), weight_decay=0.0, schedule="linear", warmup=2)
    train(Player({"w": w}, loss, plan))
    assert_close(torch.tensor([*seen, w.item()]).diff(), torch.tensor([0.0, -0.05, -0.1, -0.2 / 3, -0.1 / 3]))


def noisy(w):
    """A loss that draws."""
    return lambda step, generator: (w - torch.randn(2, generator=generator, dtype=torch.float64)).square().sum()


def test_micro_batches_are_one_step_on_the_mean_of_their_losses():
    split, whole = weight(), weight()
    history = descend([split], noisy(split), 4, micro_batches=3, **ADAM)

    def mean(step, generator):
        return sum(noisy(whole)(step, generator_of(0, step, number)) for number in range(3)) / 3

    assert_close(history, descend([whole], mean, 4, **ADAM))
    assert_close(split.data, whole.data)
    single = weight()
    descend([single], noisy(single), 4, **ADAM)
    assert not torch.allclose(single.data, split.data, atol=1e-3)


def test_the_average_is_what_comes_out_and_training_does_not_feel_it():
    w, seen = weight(), []

    def loss(step, generator):
        seen.append(w.detach().clone())
        return (w - TARGET).square().sum()

    descend([w], loss, 4, ema=0.75, **ADAM)
    plain = weight()
    descend([plain], squares(plain), 4, **ADAM)
    mean = seen[0]
    for one in (*seen[1:], plain.data):
        mean = 0.75 * mean + 0.25 * one
    assert_close(w.data, mean)
    assert (mean - plain.data).norm() > 0.1


def test_training_stops_when_the_mean_over_a_window_has_no_new_minimum():
    """The loss falls for 30 steps and then stays: the mean over 20 steps is lowest when all of them are at the bottom,
    after 49 steps, and 7 later ones bring nothing new."""
    w = weight()

    def loss(step, generator):
        return 0 * w.sum() + max(30 - step, 1)

    history = train(Player({"w": w}, loss, Plan(steps=200, lr=0.1, patience=7)))
    assert history.stopped_early and len(history.losses) == 29 + WINDOW + 7
    assert not train(Player({"w": w}, loss, Plan(steps=50, lr=0.1, patience=7))).stopped_early
    assert stops_early([1.0] * (WINDOW + 1), 1) and not stops_early([1.0] * WINDOW, 1)


@pytest.mark.parametrize("autocast", ["no", "bfloat16", "measured"])
def test_autocast_computes_in_bfloat16_and_leaves_weights_in_float32(autocast):
    w, found = nn.Parameter(torch.zeros(3, 3)), []

    def loss(step, generator):
        product = w @ torch.ones(3, 3)
        found.append(product.dtype)
        return (product.float() - 1).square().sum()

    train(Player({"w": w}, loss, Plan(steps=3, lr=1e-4, autocast=autocast)))
    expected = {"no": torch.float32, "bfloat16": torch.bfloat16, "measured": fast_dtype("cpu")}[autocast]
    assert found == [expected] * 3 and w.dtype == torch.float32
    assert_close(w.data, torch.full((3, 3), 3e-4), rtol=1e-3, atol=0)


@pytest.mark.parametrize("ends", ["loss", "gradient"])
@pytest.mark.parametrize("keep_gradients", [False, True])
def test_a_loss_that_is_no_number_stops_at_the_last_good_step(tmp_path, ends, keep_gradients):
    w, good = weight(), weight()
    kept = KeptGradients if keep_gradients else lambda: None
    broken = {"loss": lambda: torch.nan * w.sum(), "gradient": lambda: (0 * w).sum().sqrt()}[ends]

    def loss(step, generator):
        return noisy(w)(step, generator) + (broken() if step == 3 else 0)

    with pytest.raises(WorkbenchError) as error, resumable(tmp_path, seconds=1e9):
        train(Player({"w": w}, loss, Plan(steps=9, **ADAM), combine=kept()))
    train(Player({"w": good}, noisy(good), Plan(steps=3, **ADAM), combine=kept()))
    assert torch.equal(w.data, good.data) and w.grad is None and not w.requires_grad
    (folder,) = tmp_path.iterdir()
    facts, tensors = read_checkpoint(folder, "terms", "seconds", "state")
    assert facts["step"] == 3 and torch.equal(tensors["weight.w"], good.data)
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert "step 3" in str(error.value) and str(folder) in str(error.value)


def test_terms_are_named_and_their_sum_is_minimised():
    w, whole = weight(), weight()
    history = train(Player({"w": w}, lambda *_: {"a": (w[0] - 1) ** 2, "b": (w[1] + 2) ** 2}, Plan(steps=3, **ADAM)))
    assert_close(history.losses, descend([whole], squares(whole), 3, **ADAM))
    assert torch.equal(w.data, whole.data) and history.terms[0] == {"a": 1.0, "b": 4.0}


class Halves:
    """Two terms, each with a product of its own: given at once, or one after another."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(20, 20, generator=generator, dtype=torch.float64), requires_grad=False)
        self.seen = []

    def term(self, generator):
        x = torch.randn(500, 20, generator=generator, dtype=torch.float64)
        y = x @ self.w
        for _ in range(8):
            y = y.tanh()
        return y.square().mean()

    def at_once(self, step, generator):
        return {"first": self.term(generator), "second": self.term(generator)}

    def one_after_another(self, step, generator):
        if step == 1:
            return  # an iterator over nothing skips the turn, as None does
        self.seen.append(self.w.grad is None)
        yield {"first": self.term(generator)}
        self.seen.append(self.w.grad is None)
        yield {"second": self.term(generator)}

    def both_of_a_name(self, step, generator):
        yield {"sum": self.term(generator)}
        yield {"sum": self.term(generator)}

    def skipping(self, step, generator):
        return None if step == 1 else self.at_once(step, generator)

    def trained(self, loss, **how):
        combine = how.pop("combine", None)
        return train(Player({"w": self.w}, loss, Plan(steps=3, **(ADAM | how)), combine=combine))


@pytest.mark.parametrize("how", [{}, {"micro_batches": 2}, {"combine": summed}, {"clip": 1e-3}], ids=", ".join)
def test_parts_of_a_loss_that_come_one_after_another_give_the_same_training(how):
    whole, parted = Halves(), Halves()
    history, found = whole.trained(whole.skipping, **how), parted.trained(parted.one_after_another, **how)
    assert_close(parted.w.data, whole.w.data, rtol=1e-12, atol=1e-12)
    assert found.skipped == history.skipped == 1
    for terms, others in zip(found.terms, history.terms, strict=True):
        assert terms == pytest.approx(others, rel=1e-12)
    if not how:
        assert parted.seen == [True, False] * 2, "the first had gone backward when the second was asked for"


def test_terms_of_one_name_add_up():
    whole, parted = Halves(), Halves()
    history, found = whole.trained(whole.at_once), parted.trained(parted.both_of_a_name)
    assert torch.equal(parted.w.data, whole.w.data) or torch.allclose(parted.w.data, whole.w.data, rtol=1e-12)
    assert [set(terms) for terms in found.terms] == [{"sum"}] * 3
    assert_close(found.losses, history.losses, rtol=1e-12, atol=0)


def test_parts_of_a_loss_that_come_one_after_another_take_the_memory_of_the_largest():
    whole, parted = Halves(), Halves()
    peaks = []
    for halves, loss in ((whole, whole.skipping), (parted, parted.one_after_another)):
        turns = turns_of(lambda halves=halves, loss=loss: halves.trained(loss))
        peaks.append(turns[-1].peak - turns[-1].before)
    once = 500 * 20 * 8  # bytes of x, of its product, and of each of 8 tanh
    assert peaks[0] > 18 * once and peaks[1] < 0.65 * peaks[0]


@pytest.mark.parametrize("autocast", ["no", "bfloat16"])
def test_every_part_is_computed_in_the_precision_of_the_plan(autocast):
    w, found = nn.Parameter(torch.zeros(3, 3)), []

    def loss(step, generator):
        for name in ("a", "b"):
            product = w @ torch.ones(3, 3)
            found.append(product.dtype)
            yield {name: (product.float() - 1).square().sum()}
            assert not torch.is_autocast_enabled("cpu") or autocast == "bfloat16"

    train(Player({"w": w}, loss, Plan(steps=2, lr=1e-4, autocast=autocast)))
    assert found == [{"no": torch.float32, "bfloat16": torch.bfloat16}[autocast]] * 4
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("lr", 0.0), ("lr", -1.0), ("schedule", "cosin"), ("micro_batches", 0), ("ema", 1.0), ("clip", 0.0),
     ("patience", 0), ("warmup", -1), ("weight_decay", -0.1), ("cycles", 0)],
)  # fmt: skip
def test_a_plan_refuses_what_cannot_be(name, value):
    with pytest.raises(WorkbenchError, match=str(value)):
        Plan(**({"steps": 1, "lr": 0.1} | {name: value}))


def test_nothing_to_train_is_refused():
    with pytest.raises(WorkbenchError, match="no parameter"):
        train(Player({}, lambda *_: torch.zeros(()), Plan(steps=1, lr=0.1)))
