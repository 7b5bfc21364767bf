"""Stable Diffusion 1 and 2, and the embedded toy: one CLIP text encoder, a UNet with cross-attention."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar
from weakref import ref

from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.hooks import AttentionSite, Component, Role, Site
from workbench.models.architecture import Defaults
from workbench.models.diffusion.architecture import DiffusionArchitecture, Latents, Reads
from workbench.models.diffusion.config_values import native_size
from workbench.models.diffusion.text_sites import text_sites
from workbench.models.diffusion.unet_sites import key_value_maps, unet_attention_sites, unet_sites
from workbench.models.encoding import Encoding


def stable_diffusion(pipe: Any) -> "SD1":
    """Versions 1 and 2 share the pipeline class; the UNet of version 2 has linear projections around its attention."""
    return SD2(pipe) if pipe.unet.config.use_linear_projection else SD1(pipe)


class SD1(DiffusionArchitecture):
    """`StableDiffusionPipeline` with the UNet of version 1."""

    kind: ClassVar[str] = "sd1"

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        pipe.encode_prompt = _refusing_clip_skip(pipe)

    components = (Component("text_encoder", "prompt"), Component("unet", "image"))

    def defaults(self) -> Defaults:
        """As in diffusers."""
        return Defaults(50, 7.5, native_size(self.pipe.unet, self.pipe.vae_scale_factor))

    def sites(self, image_size: int) -> list[Site]:
        """Text encoder and UNet."""
        latent_size = image_size // self.pipe.vae_scale_factor
        return text_sites(self.pipe, "text_encoder", "text") + unet_sites(self.pipe.unet, latent_size)

    def attention_sites(self, image_size: int) -> list[AttentionSite]:
        """Cross-attention of the UNet."""
        return unet_attention_sites(self.pipe.unet, image_size // self.pipe.vae_scale_factor)

    def prompt_maps(self, reads: Reads) -> dict[str, nn.Parameter]:
        """Key and value maps of the UNet's cross-attention."""
        return key_value_maps(self.pipe.unet) if reads == "embeddings" else {}

    def encode_texts(self, prompts: list[str], role: Role) -> Encoding:
        """The last hidden state after the final norm, as the pipeline takes it."""
        there = self.pipe.text_encoder.device  # not always that of the UNet: see workbench.fitting.memory
        embeddings, _ = self.pipe.encode_prompt(prompts, there, 1, do_classifier_free_guidance=False)
        return Encoding(embeddings.to(self.pipe.unet.device), None, (role,) * len(prompts))

    def predict(self, latents: Latents, timestep: Tensor, encoding: Encoding, guidance_scale: float) -> Latents:
        """The UNet's output: noise or v, whichever the schedule says."""
        return self.pipe.unet(
            latents, timestep, encoder_hidden_states=encoding.embeddings,
            timestep_cond=self.guidance_embedding(guidance_scale, encoding), return_dict=False,
        )[0]  # fmt: skip


def _refusing_clip_skip(pipe: Any) -> Callable:
    """`encode_prompt` with a clear answer where diffusers looks for a `text_model` that transformers 5.6 took away."""
    original, here = type(pipe).encode_prompt, ref(pipe)  # weak: the pipeline holds this function

    @wraps(original)
    def encode_prompt(*args: Any, clip_skip: int | None = None, **kwargs: Any) -> Any:
        pipe: Any = here()
        if clip_skip is not None and not hasattr(pipe.text_encoder, "text_model"):
            raise WorkbenchError(
                "clip_skip does not work here: diffusers and transformers disagree on where the last norm is.",
                "Leave clip_skip out, or install transformers below 5.6.",
            )
        return original(pipe, *args, clip_skip=clip_skip, **kwargs)

    return encode_prompt


class SD2(SD1):
    """The same pipeline class with the UNet of version 2 (linear projections, OpenCLIP text encoder)."""

    kind: ClassVar[str] = "sd2"
