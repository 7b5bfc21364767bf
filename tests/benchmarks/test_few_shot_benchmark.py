"""The benchmark of few-shot erasing at small shapes, and that its large ones are the published ones."""

import re
import runpy
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def benchmark():
    return runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/few_shot.py"))


def test_it_prints_a_ratio_of_a_step_and_a_pass_and_times_every_step(benchmark, capsys):
    threads = torch.get_num_threads()
    benchmark["main"](["--quick", "--steps", "3"])
    torch.set_num_threads(threads)
    text = capsys.readouterr().out
    one, step = (float(re.search(rf"one {what}.*: ([\d.]+) s", text)[1]) for what in ("pass", "step"))
    ratio = float(re.search(r"([\d.]+)× the pass", text)[1])
    assert ratio == pytest.approx(step / one, rel=0.2) and "3 steps" in text


def test_the_large_shapes_are_those_of_clip_l_and_stable_diffusion_1(benchmark):
    shapes = benchmark["SHAPES"]["full"]
    with torch.device("meta"):
        model = benchmark["random_model"](shapes, "meta")
    assert benchmark["millions"](model, "text_encoder") == pytest.approx(123, abs=0.5)
    assert benchmark["millions"](model, "unet") == pytest.approx(860, abs=1)
    assert benchmark["SHAPES"]["reduced"].text == shapes.text
