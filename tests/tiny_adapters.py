"""An IP-Adapter with a CLIP image encoder, tiny and random, in the layout that diffusers reads."""

from pathlib import Path

import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from saes.disk import write_tensors
from workbench.models import Model
from workbench.models.diffusion.image_prompt import ENCODER, Adapter


def save_tiny_adapter(model: Model, folder: Path, embed_dim: int = 12) -> Path:
    """Saves a random adapter for the model, the same each time."""
    config = CLIPVisionConfig(
        image_size=16, patch_size=8, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        projection_dim=embed_dim,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPVisionModelWithProjection(config).save_pretrained(folder / ENCODER)
        adapter = Adapter(model.pipe.unet, embed_dim)
    write_tensors(folder / "adapter.safetensors", adapter.official())
    return folder
