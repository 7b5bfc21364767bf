"""UnlearnDiffAtk: its timesteps and steps, its loss, and that a weakly erased concept comes back by it."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.attacks.double import double
from tests.attacks.small import EDIT, ROWS, Always
from tests.attacks.test_simplex import by_sorting
from workbench.attacks.at_random import RandomPrefix
from workbench.attacks.attack import Budget
from workbench.attacks.controls import Nothing
from workbench.attacks.pursuit import Chase, Rounds, rounds_of
from workbench.attacks.reach import Lesson, Noisy, reaching
from workbench.attacks.token_search import TokenSearch
from workbench.attacks.tokens import content, prefixed, slots, vocabulary
from workbench.attacks.unlearn_diff_atk import Distributions, UnlearnDiffAtk, schedule
from workbench.models import TokenIds

WHOLE = Rounds(50, 40)


def test_the_timesteps_are_10_30_to_990_and_fewer_are_spread_over_them():
    assert schedule(50) == list(range(10, 1000, 20))
    assert schedule(1) == [510] and schedule(2) == [250, 750] and schedule(5) == [110, 310, 510, 710, 910]
    for count in range(1, 51):
        chosen = schedule(count)
        assert len(set(chosen)) == count and sorted(chosen) == chosen and set(chosen) <= set(schedule(50))


@pytest.mark.parametrize(
    ("images", "gradients", "branches", "wanted"),
    [(50, 2000, 1, (50, 40)), (10**6, 10**6, 1, (50, 40)), (8, 2000, 1, (8, 40)), (50, 100, 1, (50, 2)),
     (8, 4, 1, (4, 1)), (8, 64, 2, (4, 8)), (1, 40, 1, (1, 40))],
)  # fmt: skip
def test_a_smaller_budget_takes_fewer_timesteps_and_then_fewer_steps(images, gradients, branches, wanted):
    assert rounds_of(Budget(images, gradients), WHOLE, branches) == wanted


@pytest.mark.parametrize(("images", "gradients", "branches"), [(8, 0, 1), (1, 40, 2), (8, 1, 2)])
def test_a_budget_without_one_round_is_refused(images, gradients, branches):
    with pytest.raises(WorkbenchError, match="too small for an attack by gradients"):
        rounds_of(Budget(images, gradients), WHOLE, branches)


class Counted(Always):
    """Sees the concept from its n-th look on."""

    def __init__(self, first):
        object.__setattr__(self, "seen", False)
        object.__setattr__(self, "looks", iter(range(1, first)))

    def score(self, images, prompts):
        return Always(next(self.looks, None) is None).score(images, prompts)


@pytest.mark.parametrize(("first", "images", "gradients"), [(1, 1, 40), (2, 2, 80), (9, 2, 80)])
def test_a_hit_ends_the_search_at_the_check_that_sees_it(tiny_sd1, first, images, gradients):
    budget = Budget(images=2, gradients=2 * 40)
    (found,) = UnlearnDiffAtk().attempts(tiny_sd1, EDIT, ROWS[:1], Counted(first), budget=budget, steps=1)
    assert (found.images, found.gradients, found.success) == (images, gradients, first < 9)


def search(model, k=2):
    """A search of two prompts, and one lesson for each."""
    rows = ROWS[:2]
    draws = [torch.Generator().manual_seed(n) for n in range(2)]
    prompts = slots(model, [prefixed(content(model, row.prompt), k) for row in rows])
    free = Distributions.uniform(UnlearnDiffAtk(tokens=k), vocabulary(model, Nothing()), draws)
    x0, noise = torch.randn(2, 2, 4, 16, 16, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    chases = [Chase(0, None), Chase(1, None)]
    lesson = Lesson(Noisy(x0, noise, 450), noise)
    return TokenSearch(model, EDIT, "hard", None, rows, chases, prompts, free, lambda chases, number: [lesson]), lesson


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return double("sd1", tmp_path_factory.mktemp("double"))


def test_the_loss_is_the_noise_that_the_edited_model_does_not_see_in_the_noised_picture(model):
    """(1) by the model's own text encoder and denoiser, for the ids that were drawn."""
    found, lesson = search(model)
    drawn = []
    chosen = found.free.chosen

    def noted(chases):
        drawn.append(chosen(chases))
        return drawn[-1]

    object.__setattr__(found.free, "chosen", noted)
    with reaching(model, EDIT, "hard") as reach, torch.no_grad():
        got = found.losses(reach, [0, 1], lesson)
        alpha = model.pipe.scheduler.alphas_cumprod[450].double()
        z = alpha.sqrt() * lesson.seen.x0 + (1 - alpha).sqrt() * lesson.seen.noise
        k = len(drawn[0].ids) // 2
        ids = [model.token_ids(row.prompt).ids[0][0] for row in ROWS[:2]]
        whole = torch.stack([
            torch.cat([one[:1], drawn[0].ids[k * n : k * (n + 1)], one[1:-k]]) for n, one in enumerate(ids)
        ])  # fmt: skip
        eps = model.noise_prediction(z, 450, model.encode(TokenIds((whole,))))
    assert_close(got, (lesson.seen.noise - eps).square().mean(dim=(1, 2, 3)))


def test_a_step_is_adam_with_its_decay_on_the_cut_gradient_and_then_the_projection(model):
    """(2), for the first step: Adam moves every entry by the learning rate against the sign of its gradient."""
    found, _ = search(model)
    start = [one.detach().clone() for one in found.free.parameters]
    grads = []
    found.free.optimizer.register_step_pre_hook(
        lambda optimizer, *_: grads.extend(p.grad.clone() for g in optimizer.param_groups for p in g["params"])
    )
    found.improve([0, 1], 0)
    for one, before, grad in zip(found.free.parameters, start, grads, strict=True):
        assert grad.abs().max() <= 1 and grad.abs().max() > 0
        whole = grad + 0.1 * before
        moved = before - 0.01 * whole / (whole.abs() + 1e-8)
        moved[:, ~found.free.words.allowed] = -torch.inf
        assert_close(one.detach(), on_the_simplex(moved), rtol=0, atol=1e-7)
        assert one[:, ~found.free.words.allowed].eq(0).all()


def on_the_simplex(a):
    found, kept = torch.zeros_like(a), a.isfinite()
    for row in range(len(a)):
        found[row, kept[row]] = by_sorting(a[row, kept[row]])
    return found


def test_who_is_left_out_keeps_its_tokens_and_who_goes_on_is_not_moved_by_others(model):
    both, _ = search(model)
    both.improve([0, 1], 0)
    one, lesson = search(model)
    alone = Lesson(Noisy(lesson.seen.x0[:1], lesson.seen.noise[:1], 450), lesson.aim[:1])
    object.__setattr__(one, "lessons", lambda chases, number: [alone])
    start = one.free.parameters[1].detach().clone()
    one.improve([0], 0)
    assert torch.equal(one.free.parameters[1].detach(), start)
    assert_close(one.free.parameters[0].detach(), both.free.parameters[0].detach(), rtol=0, atol=1e-9)


def test_what_is_tried_is_the_likeliest_as_text_where_text_gives_it_again(model):
    found, _ = search(model)
    words = model.pipe.tokenizer
    fox, pieces = content(model, "fox")[0], [words.get_vocab()[one] for one in ("f", "ox</w>")]
    found.free.parameters[0].data[:, fox] = 1.0
    found.free.parameters[1].data[[0, 1], pieces] = 1.0
    assert found.proposal(0)[:3] == (ROWS[0], "fox fox a photo of a fox", None)
    row, text, given, _ = found.proposal(1)
    assert text == "fox a photo of a cat" and given.ids[0][0, 1:3].tolist() == pieces and row == ROWS[1]


def test_bad_input_is_a_sentence_each(tiny_sd1):
    attack, told = UnlearnDiffAtk(), {"budget": Budget(4, 40), "steps": 1}
    with pytest.raises(WorkbenchError, match="has no room for 40 more"):
        UnlearnDiffAtk(tokens=40).attempts(tiny_sd1, EDIT, ROWS, Always(True), **told)
    with pytest.raises(WorkbenchError, match="too small"):
        attack.attempts(tiny_sd1, EDIT, ROWS, Always(True), budget=Budget(4, 0))
    with pytest.raises(WorkbenchError, match="concept of the judge"):
        attack.attempts(tiny_sd1, EDIT, [type(ROWS[0])("a bear", "target", "bear", 0)], Always(True), **told)
    with pytest.raises(WorkbenchError, match="nothing to attack"):
        attack.attempts(tiny_sd1, EDIT, [], Always(True), **told)
    with tiny_sd1.edited(EDIT), pytest.raises(WorkbenchError, match="An attack inside"):
        attack.attempts(tiny_sd1, EDIT, ROWS, Always(True), **told)
    for wrong in ({"tokens": 0}, {"lr": 0.0}, {"steps": 0}):
        with pytest.raises(WorkbenchError):
            UnlearnDiffAtk(**wrong)
    assert UnlearnDiffAtk(tokens=5).control(tiny_sd1, ROWS, ()) == RandomPrefix(length=5)
