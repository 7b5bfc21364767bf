"""The training loop: a run that was stopped ends with the bits of one that was not, and the average is an average."""

import pytest
import torch
from torch import nn

from saes.disk import read_json, read_tensors
from workbench.toy.recipe.loop import Schedule, averaged, fit, update


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    x = torch.randn(16, 4, generator=generator)
    return {"mse": (module(x) - x.sum(1, keepdim=True)).square().mean()}


def test_a_stopped_run_ends_with_the_same_bits(tmp_path):
    schedule = Schedule(steps=40, lr=1e-2, warmup=5, checkpoint_seconds=0.0)
    whole = fit(small(), loss, tmp_path / "whole", schedule)

    def stopping(module, step, generator):
        if step == 23:
            raise KeyboardInterrupt
        return loss(module, step, generator)

    with pytest.raises(KeyboardInterrupt):
        fit(small(), stopping, tmp_path / "stopped", schedule)
    again = fit(small(), loss, tmp_path / "stopped", schedule)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_training_learns_and_a_finished_run_does_no_work(tmp_path):
    before = float(loss(small(), 0, torch.Generator().manual_seed(9))["mse"].detach())
    module = fit(small(), loss, tmp_path, Schedule(steps=300, lr=2e-2, warmup=5, ema=0.9))
    assert float(loss(module, 0, torch.Generator().manual_seed(9))["mse"].detach()) < 0.1 * before

    def never(*_):
        raise AssertionError("a finished run was trained again")

    again = fit(small(), never, tmp_path, Schedule(steps=300, lr=2e-2, warmup=5, ema=0.9))
    assert torch.equal(next(module.parameters()), next(again.parameters()))
    assert torch.equal(averaged(tmp_path)["0.weight"], next(again.parameters()))


def test_one_checkpoint_is_kept(tmp_path):
    fit(small(), loss, tmp_path, Schedule(steps=5, lr=1e-2, checkpoint_seconds=0.0))
    (kept,) = tmp_path.glob("checkpoint-*.safetensors")
    assert read_json(tmp_path / "checkpoint.json") == {"step": 5, "file": kept.name}
    assert read_tensors(kept).keys() >= {"module.0.weight", "average.0.weight", "optimiser.0.exp_avg"}


def test_the_average_moves_by_its_share():
    module = nn.Linear(1, 1, bias=False)
    average = {"weight": torch.zeros(1, 1)}
    nn.init.constant_(module.weight, 2.0)
    update(average, module, 0.75)
    assert average["weight"].item() == 0.5


def test_the_rate_rises_stays_and_falls_to_a_fiftieth():
    schedule = Schedule(steps=1000, lr=1.0, warmup=10, decay=0.3)
    assert schedule.rate(0) == 0.1 and schedule.rate(500) == 1.0
    assert abs(schedule.rate(850) - 0.5) < 1e-9 and schedule.rate(999) == 0.02
