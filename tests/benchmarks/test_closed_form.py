"""The benchmark of the closed-form family at small shapes: the shapes it claims, and that its two sides agree."""

import importlib.util
from pathlib import Path

import pytest
import torch

CHANNELS = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768}
XL = {
    "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048, "transformer_layers_per_block": (1, 2, 10),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[2] / "benchmarks/closed_form.py"
    spec = importlib.util.spec_from_file_location("closed_form", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "config", "n_maps"), [("sd14", CHANNELS, 32), ("sdxl", XL, 140)])
def test_shapes_are_those_of_the_published_unet(benchmark, name, config, n_maps):
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        state = UNet2DConditionModel(**config).state_dict()
    maps = [W for key, W in state.items() if key.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))]
    assert len(maps) == n_maps
    assert sorted(map(len, maps)) == sorted(benchmark.SHAPES[name].heights)
    assert {W.shape[1] for W in maps} == {benchmark.SHAPES[name].d}


def test_both_sides_agree_and_lines_name_ratio_and_difference(benchmark, tmp_path, capsys):
    threads = torch.get_num_threads()
    benchmark.main(["--quick", "--out", str(tmp_path / "cost.html")])
    torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(benchmark.QUICK) + 1
    for line in lines[:-1]:
        assert "× as long" in line and float(line.rsplit(" ", 1)[1]) < 1e-5
    assert "concepts erased together" in (tmp_path / "cost.html").read_text()


def test_a_wrong_solution_shows_as_a_difference(benchmark):
    case = benchmark.QUICK[-1]
    maps, text = benchmark.inputs(benchmark.SHAPES["tiny"], 3)
    edit = benchmark.ours(maps, text, case)
    for wrong in (case._replace(epochs=1), case._replace(method="uce")):
        assert benchmark.difference(maps, edit, benchmark.reference(maps, text, wrong)) > 1e-3
