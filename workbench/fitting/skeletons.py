"""Models without numbers: layers and shapes alone, on which memory can be counted for any size on any machine.

Tensors are torch's fakes. They know shape, dtype and device, and every operator says what it would return; so a pass
forward and backward allocates, on paper, what it would in earnest.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import diffusers
import torch
import transformers
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from workbench.fitting.blueprints import Blueprint
from workbench.hooks import Role
from workbench.models import Diffusion
from workbench.models.diffusion.image_prompt import Adapter
from workbench.models.diffusion.loading import ABSENT, architecture_of
from workbench.models.encoding import Encoding
from workbench.models.provenance import Provenance


class Skeleton(NamedTuple):
    """A handle on a model without numbers, and on the image encoder and adapter that may be beside it."""

    model: Diffusion
    image_prompt: nn.ModuleList

    @property
    def latent_side(self) -> int:
        """Of the latents of a picture."""
        return self.model.image_size // self.model.pipe.vae_scale_factor

    def encoding(self, rows: int) -> Encoding:
        """Prompts in the shape in which the denoiser receives them.

        Args:
            rows: How many, 1 or more.

        Returns:
            With the pooled embedding of SDXL, where there is one.
        """
        unet, pipe = self.model.pipe.unet, self.model.pipe
        tokens, width = pipe.text_encoder.config.max_position_embeddings, unet.config.cross_attention_dim
        second = getattr(pipe, "text_encoder_2", None)
        pooled = None if second is None else torch.zeros(rows, second.config.projection_dim, dtype=unet.dtype)
        roles: list[Role] = ["cond"] * rows
        return Encoding(torch.zeros(rows, tokens, width, dtype=unet.dtype), pooled, tuple(roles))


class _Paper(FakeTensorMode):
    """Fakes refer to the mode that made them; a copy of a fake is of the same mode, which cannot be copied."""

    def __deepcopy__(self, memo: Any) -> "_Paper":
        return self


class _NoNumbers(Provenance):
    """Of networks that hold none: they came from no file."""

    def __init__(self) -> None:
        self.files, self._read, self._loaded, self.more = {}, "", {}, []

    def digests(self, pipe: Any) -> dict[str, str]:
        """None."""
        return {}

    def of_twin(self) -> "_NoNumbers":
        """Itself."""
        return self


@contextmanager
def skeleton(blueprint: Blueprint, dtype: torch.dtype) -> Iterator[Skeleton]:
    """A model without numbers. Tensors that are made in the block have none either.

    Args:
        blueprint: Which networks, and their sizes.
        dtype: Of their weights.

    Yields:
        The skeleton.
    """
    with warnings.catch_warnings(), _Paper(allow_non_fake_inputs=True):
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        yield _built(blueprint, dtype)


def _built(blueprint: Blueprint, dtype: torch.dtype) -> Skeleton:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        parts = {name: _network(*one) for name, one in blueprint.networks.items()}
        encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**blueprint.image_encoder))
        beside = nn.ModuleList([encoder, Adapter(parts["unet"], encoder.config.projection_dim)])
    finally:
        torch.set_default_dtype(before)
    for part in (*parts.values(), beside):
        part.eval().requires_grad_(False)
    tokenizers = {name.replace("text_encoder", "tokenizer"): None for name in parts if name.startswith("text_encoder")}
    pipe = getattr(diffusers, blueprint.pipeline)(
        **parts, **tokenizers, scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        **ABSENT.get(blueprint.pipeline, {}),
    )  # fmt: skip
    architecture = architecture_of(pipe)
    defaults = architecture.defaults()._replace(image_size=blueprint.image_size)
    return Skeleton(Diffusion("a skeleton", architecture, defaults, _NoNumbers()), beside)


def _network(name: str, config: Mapping[str, Any]) -> nn.Module:
    library, _, kind = name.partition(":")
    if library == "diffusers":
        return getattr(diffusers, kind).from_config(dict(config))
    found: Any = getattr(transformers, kind)
    return found(found.config_class(**config))
