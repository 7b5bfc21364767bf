"""A tiny Janus whose weights an edit has changed, for attacks: with random weights and in the finest numbers."""

import torch

from tests.tiny_janus import TEMPLATE, save_tiny_janus
from workbench.edits import WeightEdit
from workbench.models import Janus, load


def janus(folder, dtype=torch.float64) -> Janus:
    """With a chat template, as the published ones."""
    return load(save_tiny_janus(folder / "janus", TEMPLATE), device="cpu", dtype=dtype)


def moved(model: Janus, size: float = 0.3) -> WeightEdit:
    """The edit that adds noise to the values of all attention layers."""
    draw = torch.Generator().manual_seed(0)
    layers = range(len(model.pipe.language_model.layers))
    names = [f"language_model.layers.{layer}.self_attn.v_proj.weight" for layer in layers]
    deltas = {f"{one}:delta": size * torch.randn(model.parameter(one).shape, generator=draw).double() for one in names}
    return WeightEdit(
        tensors=deltas, settings={}, method="by hand", concepts=["fox"], base_fingerprint=model.fingerprint
    )
