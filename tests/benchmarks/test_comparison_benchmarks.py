"""The benchmarks of comparisons, at their smallest: what they print is what they say they print."""

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


@pytest.mark.slow
def test_verdicts_at_the_models_own_steps_are_equal(capsys):
    loaded("fewer_steps").main(["fox", "--steps", "16", "--per-role", "1"])
    steps, *edits = capsys.readouterr().out.splitlines()
    assert re.match(r"16 steps: [\d.]+× as fast as the model's own 16", steps)
    assert [line.split(":")[0].strip() for line in edits] == ["unedited", "UCE", "SLD", "negative prompt"]
    assert all("equal 1.000" in line and "+0.000; 6 pictures" in line for line in edits)


def test_an_evaluation_is_held_against_the_pipeline(capsys):
    loaded("evaluation_speed").main(["--pictures", "6", "--steps", "2", "--rounds", "1"])
    assert re.search(
        r"pipeline [\d.]+ pictures a second; evaluation [\d.]+× .*claim: at least 0.85×", capsys.readouterr().out
    )
