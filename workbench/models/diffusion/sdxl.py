"""Stable Diffusion XL: two CLIP text encoders side by side, a deeper UNet that also receives a pooled embedding."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.hooks import AttentionSite, Component, Role, Site
from workbench.models.architecture import Defaults
from workbench.models.diffusion.architecture import DiffusionArchitecture, Latents, Reads
from workbench.models.diffusion.config_values import native_size
from workbench.models.diffusion.text_sites import text_sites
from workbench.models.diffusion.unet_sites import key_value_maps, unet_attention_sites, unet_sites
from workbench.models.encoding import Encoding


class SDXL(DiffusionArchitecture):
    """`StableDiffusionXLPipeline`."""

    kind: ClassVar[str] = "sdxl"
    components = (
        Component("text_encoder", "prompt"), Component("text_encoder_2", "prompt"), Component("unet", "image"),
    )  # fmt: skip

    def defaults(self) -> Defaults:
        """As in diffusers."""
        return Defaults(50, 5.0, native_size(self.pipe.unet, self.pipe.vae_scale_factor))

    def sites(self, image_size: int) -> list[Site]:
        """Both text encoders and the UNet."""
        text = text_sites(self.pipe, "text_encoder", "text") + text_sites(self.pipe, "text_encoder_2", "text2")
        return text + unet_sites(self.pipe.unet, image_size // self.pipe.vae_scale_factor)

    def attention_sites(self, image_size: int) -> list[AttentionSite]:
        """Cross-attention of the UNet."""
        return unet_attention_sites(self.pipe.unet, image_size // self.pipe.vae_scale_factor)

    def prompt_maps(self, reads: Reads) -> dict[str, nn.Parameter]:
        """Key and value maps of the UNet's cross-attention."""
        return key_value_maps(self.pipe.unet) if reads == "embeddings" else {}

    def encode_texts(self, prompts: list[str], role: Role) -> Encoding:
        """The penultimate hidden states of both encoders side by side; pooled is the second one's projection.

        The published base model was trained with zeros in place of an empty negative prompt; its configuration says so.
        """
        embeddings, _, pooled, _ = self.pipe.encode_prompt(
            prompts, device=self.pipe.text_encoder.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        embeddings, pooled = (part.to(self.pipe.unet.device) for part in (embeddings, pooled))
        if role == "uncond" and self.pipe.config.force_zeros_for_empty_prompt:
            kept = torch.tensor([prompt != "" for prompt in prompts], device=embeddings.device)
            embeddings, pooled = embeddings * kept[:, None, None], pooled * kept[:, None]
        return Encoding(embeddings, pooled, (role,) * len(prompts))

    def predict(self, latents: Latents, timestep: Tensor, encoding: Encoding, guidance_scale: float) -> Latents:
        """The UNet's output for a whole, uncropped image of the latents' own size."""
        size = tuple(side * self.pipe.vae_scale_factor for side in latents.shape[-2:])
        conditions = {"text_embeds": encoding.pooled, "time_ids": self._time_ids(size, encoding)}
        return self.pipe.unet(
            latents, timestep, encoder_hidden_states=encoding.embeddings, added_cond_kwargs=conditions,
            timestep_cond=self.guidance_embedding(guidance_scale, encoding), return_dict=False,
        )[0]  # fmt: skip

    def _time_ids(self, size: tuple[int, ...], encoding: Encoding) -> Tensor:
        """Original size, upper left corner, and target size, which this model is told of each picture."""
        dtype, device = encoding.embeddings.dtype, encoding.embeddings.device
        return torch.tensor([[*size, 0, 0, *size]], dtype=dtype, device=device).expand(len(encoding), -1)
