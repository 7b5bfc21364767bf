"""Players against independent loops in float64: adversaries with gradient surgery, an inner loop that carries a prefix,
a gate that skips, several rates of turns; and all of that after interrupts and kills."""

import os
import signal
import threading

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.killing import kill_and_go_on
from workbench.fitting.checkpoints import NAME, Place, read_checkpoint, resumable
from workbench.fitting.plan import Plan
from workbench.fitting.players import KeptGradients, Player, generator_of
from workbench.fitting.training import train

EXACT = {"rtol": 1e-12, "atol": 1e-12}
ADAM = {"weight_decay": 0.0}


class Stopped(Exception):
    pass


def linear(d_in, d_out, seed):
    made = nn.Linear(d_in, d_out).double()
    generator = torch.Generator().manual_seed(seed)
    for one in made.parameters():
        one.data = torch.randn(one.shape, generator=generator, dtype=torch.float64)
    return made


def named(module):
    return dict(module.named_parameters())


def flat(*modules):
    return torch.cat([one.detach().flatten() for module in modules for one in module.parameters()])


def without_conflict(gradients):
    """The surgery of DoCo (Wu et al. 2025): what of the adversary's gradient is against the task's goes."""
    task, adversary = gradients["task"], gradients["adversary"]
    total = {}
    for name in task:
        dot = (adversary[name] * task[name]).sum()
        share = dot.clamp(max=0) / task[name].square().sum()
        total[name] = task[name] + adversary[name] - share * task[name]
    return total


class Domains:
    """A generator is to do its task and to look to the discriminator like the other domain."""

    def __init__(self):
        self.g, self.d = linear(3, 2, 0), linear(2, 1, 1)

    def batch(self, generator):
        x = torch.randn(6, 3, generator=generator, dtype=torch.float64)
        return x, torch.randn(6, 2, generator=generator, dtype=torch.float64) + 1

    def of_g(self, step, generator):
        x, _real = self.batch(generator)
        made = self.g(x)
        return {"task": (made + 3 * x[:, :2]).square().mean(), "adversary": -self.d(made).sigmoid().log().mean()}

    def of_d(self, step, generator):
        x, real = self.batch(generator)
        return -(self.d(real).sigmoid().log() + (1 - self.d(self.g(x)).sigmoid()).log()).mean()

    def train(self, steps=20, every=1, of_g=None, **more):
        return train(
            {"generator": Player(named(self.g), of_g or self.of_g, Plan(steps=steps, lr=0.03, **ADAM),
                                 combine=without_conflict),
             "discriminator": Player(named(self.d), self.of_d, Plan(steps=-(-steps // every), lr=0.05, clip=0.3),
                                     every=every)},
            seed=4, **more,
        )  # fmt: skip

    def by_hand(self, steps=20, every=1):
        """Two optimisers, `torch.autograd.grad`, and the surgery tensor by tensor. How often there was a conflict."""
        of_g = torch.optim.Adam(self.g.parameters(), lr=0.03)
        of_d = torch.optim.AdamW(self.d.parameters(), lr=0.05)
        conflicts = 0
        for step in range(steps):
            terms = self.of_g(step, generator_of(4, step, 0, "generator"))
            task, adversary = (torch.autograd.grad(terms[one], list(self.g.parameters()), retain_graph=True)
                               for one in ("task", "adversary"))  # fmt: skip
            for one, t, a in zip(self.g.parameters(), task, adversary, strict=True):
                dot = float((t * a).sum())
                conflicts += dot < 0
                one.grad = t + a - (dot / float((t * t).sum()) * t if dot < 0 else 0)
            of_g.step()
            if step % every == 0:
                of_d.zero_grad()
                self.of_d(step, generator_of(4, step // every, 0, "discriminator")).backward()
                nn.utils.clip_grad_norm_(self.d.parameters(), 0.3)
                of_d.step()
        return conflicts


@pytest.mark.parametrize("every", [1, 3])
def test_adversaries_with_surgery_are_the_loop_written_by_hand(every):
    ours, theirs = Domains(), Domains()
    before = flat(ours.g, ours.d)
    history = ours.train(every=every)
    assert 5 < theirs.by_hand(every=every) < 40, "surgery does something, and not always"
    assert_close(flat(ours.g, ours.d), flat(theirs.g, theirs.d), rtol=1e-6, atol=1e-9)  # clipping adds 1e-6 to norms
    assert (flat(ours.g, ours.d) - before).abs().min() > 1e-3
    assert [len(one.terms) for one in history.values()] == [20, -(-20 // every)]
    assert all(one.requires_grad and one.grad is None for one in (*ours.g.parameters(), *ours.d.parameters()))


def test_nobody_is_fed_by_the_gradient_of_another():
    game, seen = Domains(), []

    def of_g(step, generator):
        seen.append([one.requires_grad for one in (game.g.weight, game.d.weight)])
        return game.of_g(step, generator)

    game.train(steps=2, of_g=of_g)
    assert seen == [[True, False]] * 2


class Prompts:
    """AdvUnlearn's inner loop: a prefix is moved against the student by signed steps, from where it was left."""

    def __init__(self):
        self.student, self.prefix = linear(3, 3, 2), torch.zeros(3, dtype=torch.float64)

    def state_dict(self):
        return {"prefix": self.prefix, "note": ["kept", 1]}

    def load_state_dict(self, state):
        assert state["note"] == ["kept", 1]
        self.prefix = state["prefix"].clone()

    def attacked(self, x):
        for _ in range(3):
            prefix = self.prefix.clone().requires_grad_()
            (found,) = torch.autograd.grad((self.student(x + prefix) - 1).square().mean(), prefix)
            self.prefix = (self.prefix - 0.05 * found.sign()).clamp(-0.4, 0.4)
        return self.prefix

    def loss(self, step, generator):
        x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
        return {"attacked": self.student(x + self.attacked(x)).square().mean(),
                "kept": (self.student(x) - x).square().mean()}  # fmt: skip

    def train(self, stop_at=-1, stop=Stopped, steps=20):
        def loss(step, generator):
            terms = self.loss(step, generator)  # the prefix has moved when this stops
            if step == stop_at:
                raise stop
            return terms

        return train(Player(named(self.student), loss, Plan(steps=steps, lr=0.02)), seed=6, state=self)

    def by_hand(self, steps=20):
        optimiser = torch.optim.AdamW(self.student.parameters(), lr=0.02)
        for step in range(steps):
            optimiser.zero_grad()
            sum(self.loss(step, generator_of(6, step)).values()).backward()
            optimiser.step()


def test_an_inner_loop_is_the_loop_written_by_hand():
    ours, theirs = Prompts(), Prompts()
    ours.train()
    theirs.by_hand()
    assert_close(flat(ours.student), flat(theirs.student), **EXACT)
    assert torch.equal(ours.prefix, theirs.prefix) and ours.prefix.any()


@pytest.mark.parametrize("stop", [Stopped, KeyboardInterrupt, SystemExit])
def test_the_prefix_that_an_inner_loop_carries_is_in_the_checkpoint(tmp_path, stop):
    whole = Prompts()
    history = whole.train()
    often = 0.0 if stop is Stopped else 1e9  # an interrupt writes a checkpoint of its own
    with pytest.raises(stop), resumable(tmp_path, seconds=often):
        Prompts().train(stop_at=7, stop=stop)
    again = Prompts()
    with resumable(tmp_path):
        assert again.train() == history
    assert torch.equal(again.prefix, whole.prefix) and torch.equal(flat(again.student), flat(whole.student))


def test_a_killed_inner_loop_goes_on(tmp_path):
    def work():
        game = Prompts()
        with resumable(tmp_path, seconds=0.0):
            game.train(steps=60)
        return game

    game, whole = kill_and_go_on(tmp_path, work), Prompts()
    whole.train(steps=60)
    assert torch.equal(game.prefix, whole.prefix) and torch.equal(flat(game.student), flat(whole.student))


def test_killed_adversaries_go_on(tmp_path):
    def work():
        game = Domains()
        with resumable(tmp_path, seconds=0.0):
            history = game.train(steps=50, every=2)
        return flat(game.g, game.d), history

    weights, history = kill_and_go_on(tmp_path, work)
    whole = Domains()
    assert history == whole.train(steps=50, every=2) and torch.equal(weights, flat(whole.g, whole.d))


def test_a_gate_skips_turns_and_counts_them():
    """EAR's TLM: where the student says already what it should, nothing is learnt."""

    def game():
        return linear(3, 1, 5)

    def loss_of(student):
        def loss(step, generator):
            x = torch.randn(4, 3, generator=generator, dtype=torch.float64)
            error = (student(x) - 1).square().mean()
            return error if error.item() > 0.3 else None

        return loss

    ours, theirs = game(), game()
    history = train(Player(named(ours), loss_of(ours), Plan(steps=40, lr=0.1, schedule="linear")), seed=1)
    optimiser, skipped = torch.optim.AdamW(theirs.parameters(), lr=0.1), 0
    for step in range(40):
        optimiser.param_groups[0]["lr"] = 0.1 * (40 - step) / 40
        optimiser.zero_grad()
        loss = loss_of(theirs)(step, generator_of(1, step))
        skipped += loss is None
        if loss is not None:
            loss.backward()
            optimiser.step()
    assert_close(flat(ours), flat(theirs), **EXACT)
    assert history.skipped == skipped and 5 < skipped < 35 and len(history.losses) == 40 - skipped
    assert len(history.terms) == 40


def test_a_micro_batch_that_is_skipped_adds_nothing():
    w, other = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    calls = []

    def loss(step, generator):
        calls.append(step)
        return None if len(calls) % 2 else w.square().sum()

    history = train(Player({"w": w}, loss, Plan(steps=3, lr=0.1, micro_batches=2)))
    train(Player({"w": other}, lambda *_: other.square().sum() / 2, Plan(steps=3, lr=0.1)))
    assert torch.equal(w, other) and history.losses[0] == 2.0


@pytest.mark.parametrize("ends", ["discriminator", "surgery"])
def test_no_number_in_one_players_turn_keeps_the_last_good_turn_of_all(tmp_path, ends):
    game, good = Domains(), Domains()

    def of_d(step, generator):
        return Domains.of_d(game, step, generator) * (torch.nan if step == 5 else 1)

    def surgery(gradients):
        calls.append(gradients)
        return {name: one * (torch.nan if len(calls) == 6 else 1) for name, one in without_conflict(gradients).items()}

    calls, whole = [], [Plan(steps=9, lr=0.03, **ADAM), Plan(steps=9, lr=0.05, clip=0.3)]
    players = {"generator": Player(named(game.g), game.of_g, whole[0],
                                   combine=without_conflict if ends == "discriminator" else surgery),
               "discriminator": Player(named(game.d), of_d if ends == "discriminator" else game.of_d,
                                       whole[1])}  # fmt: skip
    with pytest.raises(WorkbenchError, match="step 5 of " + ("disc" if ends == "discriminator" else "gen")):
        with resumable(tmp_path, seconds=1e9):
            train(players, seed=4)
    good.train(steps=6 if ends == "discriminator" else 5, every=1)
    turns = 11 if ends == "discriminator" else 10
    assert torch.equal(flat(game.g), flat(good.g))
    facts, tensors = read_checkpoint(next(tmp_path.iterdir()), "terms", "seconds", "state")
    assert facts["step"] == turns and torch.equal(tensors["generator:weight.weight"], good.g.weight.data)
    assert torch.equal(tensors["discriminator:weight.weight"], game.d.weight.data) and game.d.weight.isfinite().all()


def test_a_state_is_that_of_the_last_good_turn_after_no_number(tmp_path):
    game, good = Prompts(), Prompts()
    real = game.loss
    game.loss = lambda step, generator: {
        name: one * (torch.nan if step == 4 else 1) for name, one in real(step, generator).items()
    }
    with pytest.raises(WorkbenchError, match="step 4"), resumable(tmp_path, seconds=1e9):
        game.train()
    good.train(steps=4)
    assert torch.equal(game.prefix, good.prefix) and torch.equal(flat(game.student), flat(good.student))
    assert torch.equal(
        read_checkpoint(next(tmp_path.iterdir()), "terms", "seconds", "state")[1]["state.prefix"], good.prefix
    )


def test_kept_gradients_are_the_sum_of_all_so_far_over_all_terms():
    kept = KeptGradients()
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([5.0, 5.0])
    first = kept({"x": {"a": a}, "y": {"a": a, "b": b}})
    assert torch.equal(first["a"], 2 * a) and torch.equal(first["b"], b)
    first["a"].zero_()  # as clipping does
    second = kept({"x": {"a": a}})
    assert torch.equal(second["a"], 3 * a) and "b" not in second and torch.equal(kept.sums["b"], b)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_of_a_step_waits_for_its_end(tmp_path, number, monkeypatch):
    def ends(number, frame):
        raise KeyboardInterrupt

    before = {one: signal.signal(one, ends) for one in (signal.SIGINT, signal.SIGTERM)}
    real = torch.optim.AdamW.step

    def step(self, *given):
        done = real(self, *given)
        if len(seen) == 4:
            os.kill(os.getpid(), number)
            threading.Event().wait(0.05)  # time for it to come
        return done

    def learnt(where):
        w = nn.Parameter(torch.zeros(2))

        def loss(step, generator):
            seen.append(step)
            return (w - torch.randn(2, generator=generator)).square().sum()

        with resumable(where, seconds=1e9):
            train(Player({"w": w}, loss, Plan(steps=9, lr=0.1)))
        return w

    seen = []
    try:
        monkeypatch.setattr(torch.optim.AdamW, "step", step)
        with pytest.raises(KeyboardInterrupt):
            learnt(tmp_path / "a")
        monkeypatch.undo()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert read_checkpoint(next((tmp_path / "a").iterdir()), "terms", "seconds", "state")[0]["step"] == 4
    w = learnt(tmp_path / "a")
    assert seen == list(range(9)) and torch.equal(w, learnt(tmp_path / "b"))


def test_checkpoints_that_take_long_come_less_often(tmp_path):
    place = Place(tmp_path, 30.0)
    place.written, place.took = place.written - 31, 1.0
    assert place.is_due()
    place.took = 41.0
    assert not place.is_due()
    place.written -= 20 * 41
    assert place.is_due()
    assert Place(tmp_path, 0.0, took=41.0).is_due(), "0 seconds: after every turn"


def test_what_no_training_can_be_is_refused():
    w, plan = nn.Parameter(torch.zeros(2)), Plan(steps=1, lr=0.1)
    player = Player({"w": w}, lambda *_: w.sum(), plan)
    with pytest.raises(WorkbenchError, match="every is 0"):
        Player({"w": w}, lambda *_: w.sum(), plan, every=0)
    with pytest.raises(WorkbenchError, match="trained twice"):
        train({"a": player, "b": player})
    for none in ({}, {"": player, "b": player}):
        with pytest.raises(WorkbenchError, match="no name"):
            train(none)


def test_the_checkpoint_of_one_game_is_not_that_of_another(tmp_path):
    def learnt(every=1, combine=None, name="a"):
        w, calls = nn.Parameter(torch.zeros(2)), []

        def loss(step, generator):
            calls.append(step)
            return w.sum()

        with resumable(tmp_path):
            train({name: Player({"w": w}, loss, Plan(steps=3, lr=0.1), every=every, combine=combine)})
        return len(calls)

    assert learnt() == 3 and learnt() == 0
    assert learnt(every=2) == 3 and learnt(combine=KeptGradients()) == 3 and learnt(name="b") == 3
    assert list(tmp_path.rglob(NAME))
