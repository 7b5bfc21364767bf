"""The sets of parameters that papers train, by other patterns and by counts on the published layout."""

import re

import pytest
import torch

from saes.errors import WorkbenchError
from workbench.fitting.copies import own_denoiser
from workbench.fitting.selectors import DENOISER_SETS, select, wanted

CROSS = r"\.attn2\.(to_q|to_k|to_v|to_out\.0)\."
SELF = r"\.attn1\.(to_q|to_k|to_v|to_out\.0)\."
ENDS = r"^unet\.(conv_out|conv_norm_out|time_embedding|add_embedding)\."
NORM = r"\.(norm|norm[123]|conv_norm_out)\."
LAYER = rf"^(?!.*{NORM})"
INSIDE = rf"^(?!.*{NORM})(?!.*time_emb_proj)unet\.(down_blocks|mid_block|up_blocks)\."
PATTERNS = {
    "esd-x": CROSS,
    "esd-strict": r"\.attn2\.to_[kv]\.weight$",
    "esd-u": rf"^(?!.*{CROSS})(?!{ENDS[1:]})",
    "esd-u-2025": rf"^(?!.*{CROSS}){LAYER[1:]}",
    "esd-u-2025-xl": rf"^(?!.*{CROSS}){INSIDE[1:]}",
    "esd-all-2025": LAYER,
    "esd-all-2025-xl": INSIDE,
    "self": SELF,
    "attention": rf"{SELF}|{CROSS}",
    "full": "",
}
SD1 = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768}
# 16 transformers of 4 weights and the bias of the output; 686 tensors in all, 8 of them in output and time embedding
COUNTS = {
    "esd-x": 16 * 5,
    "esd-strict": 16 * 2,
    "self": 16 * 5,
    "attention": 32 * 5,
    "esd-u": 686 - 80 - 8,
    # norms: 16 transformers of 4, 22 residual blocks of 2, and the last one, each a weight and a bias
    "esd-all-2025": 686 - 2 * (16 * 4 + 22 * 2 + 1),
    "esd-u-2025": 686 - 2 * (16 * 4 + 22 * 2 + 1) - 80,
    # outside the blocks: input, output, two layers of the time embedding; in them, its projections
    "esd-all-2025-xl": 686 - 2 * (16 * 4 + 22 * 2 + 1) - 2 * (4 + 22),
    "esd-u-2025-xl": 686 - 2 * (16 * 4 + 22 * 2 + 1) - 2 * (4 + 22) - 80,
    "full": 686,
}


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("which", DENOISER_SETS)
def test_sets_are_exactly_the_intended_ones(tiny, kind, which):
    model = tiny(kind)
    names = [f"unet.{name}" for name, _ in model.pipe.unet.named_parameters()]
    chosen = select(model, which)
    assert list(chosen) == [name for name in names if re.search(PATTERNS[which], name)] and chosen
    assert all(one is model.parameter(name) for name, one in chosen.items())


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_the_sets_of_2025_are_chosen_by_the_class_of_a_layer_as_the_official_code_does(tiny, kind):
    """Its scripts walk over modules: linear layers and convolutions, and which words their names may contain."""
    model = tiny(kind)
    layers = [(n, m) for n, m in model.pipe.unet.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
    chosen = {
        "esd-u-2025": lambda name: "attn2" not in name,
        "esd-all-2025": lambda name: True,
        "esd-u-2025-xl": lambda name: "attn2" not in name and "emb" not in name and "block" in name,
        "esd-all-2025-xl": lambda name: "emb" not in name and "block" in name,
    }
    for which, wanted_ in chosen.items():
        expected = {f"unet.{n}.{own}" for n, layer in layers if wanted_(n) for own, _ in layer.named_parameters()}
        assert set(select(model, which)) == expected
    of_2023 = set(select(model, "esd-u"))
    assert of_2023 - set(select(model, "esd-u-2025")), "norms"
    assert set(select(model, "esd-u-2025")) - of_2023, "input, output and time embedding"


def test_counts_on_the_layout_of_stable_diffusion_1():
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        names = [f"unet.{name}" for name, _ in UNet2DConditionModel(**SD1).named_parameters()]
    assert {which: sum(map(wanted(which), names)) for which in DENOISER_SETS} == COUNTS
    norms = [name for name in names if ".norm2." in name and "transformer_blocks" in name]
    assert norms and all(map(wanted("esd-u"), norms)), "the norm before cross-attention belongs to what is outside"


def test_a_predicate_of_ones_own_selects_and_no_set_is_empty(tiny_sd1):
    own = own_denoiser(tiny_sd1, lambda name: name.endswith("conv_in.bias"))
    assert list(select(own, lambda name: name.endswith("conv_in.bias"))) == ["unet.conv_in.bias"]
    with pytest.raises(WorkbenchError, match="No parameter"):
        select(tiny_sd1, lambda name: name == "attn2")
    with pytest.raises(WorkbenchError, match="esd-x"):
        select(tiny_sd1, "esdx")


def test_a_model_without_cross_attention_has_no_set_of_it(tiny_flux):
    with pytest.raises(WorkbenchError, match="esd-x"):
        select(tiny_flux, "esd-x")
