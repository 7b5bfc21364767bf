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
PATTERNS = {
    "esd-x": CROSS,
    "esd-strict": r"\.attn2\.to_[kv]\.weight$",
    "esd-u": rf"^(?!.*{CROSS})(?!{ENDS[1:]})",
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
