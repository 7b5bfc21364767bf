"""Trainings that are stopped, also by SIGKILL, and go on: what comes out is, bit for bit, what would have."""

import time

import pytest
import torch
from torch import nn

from tests.killing import kill_and_go_on
from workbench.concepts import Concept
from workbench.erasure.esd import ESD
from workbench.fitting.checkpoints import NAME, place, resumable
from workbench.fitting.plan import Plan
from workbench.fitting.players import KeptGradients, Player
from workbench.fitting.training import train

PLANS = {
    "plain": Plan(steps=12, lr=0.1),
    "average and cosine": Plan(steps=12, lr=0.1, ema=0.8, schedule="cosine", warmup=2, weight_decay=0.1),
    "micro-batches": Plan(steps=12, lr=0.1, micro_batches=2, clip=0.5),
    "kept gradients": Plan(steps=12, lr=0.1, weight_decay=0.2),
    "early": Plan(steps=300, lr=1e-6, patience=1),
}


class Stopped(Exception):
    pass


def learnt(plan, *, stop_at=-1, seed=3, what="a", start=0.0, slowly=0.0):
    """Weights, losses, and the steps that were computed."""
    torch.manual_seed(0)
    w = {"a": nn.Parameter(torch.full((3,), start)), "b": nn.Parameter(torch.full((2, 2), start))}
    computed = []

    def loss(step, generator):
        if step == stop_at:
            raise Stopped
        time.sleep(slowly)
        computed.append(step)
        a, b = torch.randn(3, generator=generator), torch.randn(2, 2, generator=generator)
        return {"a": (w["a"] - a).square().sum(), "b": ((w["b"] - b) ** 4).sum()}

    kept = KeptGradients() if plan == PLANS["kept gradients"] else None
    history = train(Player(w, loss, plan, combine=kept), seed=seed, what=what)
    return torch.cat([one.detach().flatten() for one in w.values()]), history, computed


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_stopped_training_ends_with_the_bits_of_one_that_was_not(tmp_path, plan):
    whole, history, _ = learnt(plan)
    for stop_at in (5, 8):
        with pytest.raises(Stopped), resumable(tmp_path, seconds=0.0):
            learnt(plan, stop_at=stop_at)
    with resumable(tmp_path, seconds=0.0):
        weights, again, computed = learnt(plan)
        assert torch.equal(weights, whole) and again == history
        assert sorted(set(computed)) == list(range(8, len(history.losses)))
        weights, again, computed = learnt(plan)
        assert torch.equal(weights, whole) and again == history and not computed, "a finished one does no work"


@pytest.mark.parametrize(
    "other", [{"seed": 4}, {"what": "b"}, {"start": 1e-7}, {"plan": Plan(steps=12, lr=0.2)}], ids=str
)
def test_a_checkpoint_is_never_taken_for_that_of_another_training(tmp_path, other):
    given = {"plan": PLANS["plain"], **other}
    with resumable(tmp_path):
        learnt(PLANS["plain"])
        weights, _, computed = learnt(**given)
    assert len(computed) == 12 and torch.equal(weights, learnt(**given)[0])


def test_checkpoints_are_written_only_where_and_when_they_are_due(tmp_path):
    learnt(PLANS["plain"])
    assert place() is None and not any(tmp_path.iterdir())
    with pytest.raises(Stopped), resumable(tmp_path, seconds=1e9):
        learnt(PLANS["plain"], stop_at=9)
    assert not any(tmp_path.iterdir())
    with resumable(tmp_path, seconds=1e9):
        learnt(PLANS["plain"])
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint-12.safetensors", NAME]


def test_what_a_kill_left_half_written_goes_and_its_seconds_come_back(tmp_path):
    with pytest.raises(Stopped), resumable(tmp_path, seconds=0.0) as first:
        learnt(PLANS["plain"], stop_at=5, slowly=0.02)
    assert first.regained == 0
    (folder,) = tmp_path.iterdir()
    (folder / ".checkpoint-6.safetensors.12345678.part").write_bytes(b"half")
    with resumable(tmp_path, seconds=0.0) as second:
        learnt(PLANS["plain"])
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint-12.safetensors", NAME]
    assert 0.1 <= second.regained < 60


def test_a_killed_training_with_average_and_cosine_goes_on(tmp_path):
    plan = PLANS["average and cosine"]

    def work():
        with resumable(tmp_path, seconds=0.0):
            return learnt(plan, slowly=0.02)

    weights, history, computed = kill_and_go_on(tmp_path, work)
    whole, uninterrupted, _ = learnt(plan)
    assert torch.equal(weights, whole) and history == uninterrupted and 0 < len(computed) < 12


@pytest.mark.parametrize("sampler", ["student", "frozen"])
def test_a_killed_fit_gives_the_edit_of_an_uninterrupted_one(tmp_path, tiny_sd1, sampler):
    method = ESD(iterations=12, sampler=sampler, trajectories=2, steps=3, lr=1e-3)

    def work():
        with resumable(tmp_path, seconds=0.0) as here:
            return method.fit(tiny_sd1, [Concept("fox")], seed=1), here.regained

    edit, regained = kill_and_go_on(tmp_path, work)
    whole = method.fit(tiny_sd1, [Concept("fox")], seed=1)
    assert regained > 0 and edit.names == whole.names
    for name in whole.names:
        assert torch.equal(edit.delta(name), whole.delta(name)) and whole.delta(name).any()
