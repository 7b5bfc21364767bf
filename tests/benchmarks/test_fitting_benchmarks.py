"""The benchmarks of fine-tuning on a tiny pipeline: both sides do equal work, and each prints its ratio and bound."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_our_loop_and_the_plain_one_have_the_same_losses(tiny_sd1, capsys):
    loaded("trainer").main([tiny_sd1.name, "--rounds", "1", "--steps", "3", "--batch", "2"])
    _, ratio, losses = capsys.readouterr().out.splitlines()
    assert re.search(r"ours: [\d.]+× \(bound 1.05×", ratio)
    assert float(losses.rsplit(" ", 1)[1]) < 1e-4


def test_remembered_answers_are_those_that_are_asked_for(tiny_sd1, capsys):
    words = ["--rounds", "1", "--iterations", "2", "--trajectories", "2", "--steps", "3"]
    loaded("cached_teacher").main([tiny_sd1.name, *words])
    _, *ways, losses, prepared = capsys.readouterr().out.splitlines()
    assert [way.split(":")[0] for way in ways] == ["remembered", "asked", "by the student"]
    assert all("bound 1.3×" in way for way in ways) and "made beforehand" in prepared
    assert float(losses.rsplit(" ", 1)[1]) < 1e-3


def test_remembered_rollouts_are_those_that_are_drawn(tiny_sd1, capsys):
    words = ["--rounds", "1", "--iterations", "1", "--attack-steps", "1", "--steps", "4"]
    loaded("remembered_rollouts").main([tiny_sd1.name, *words])
    _, *ways, answers, prepared = capsys.readouterr().out.splitlines()
    assert [way.split(":")[0] for way in ways] == ["remembered", "fresh"]
    assert all("bound 4.0×" in way for way in ways) and "made beforehand" in prepared
    assert float(answers.rsplit(" ", 1)[1]) < 1e-3
