"""Flux.1: CLIP for the pooled embedding, T5 for the tokens, a transformer that was distilled from guided predictions.

The guidance scale is an input of the transformer, so there are no unconditional rows.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.hooks import AttentionSite, Component, Role, Site
from workbench.models.architecture import Defaults, Segment
from workbench.models.diffusion.architecture import DiffusionArchitecture, Latents, Reads
from workbench.models.diffusion.joint_sites import Streams, double_stream_sites, single_stream_sites
from workbench.models.diffusion.text_sites import text_sites
from workbench.models.encoding import Encoding
from workbench.models.wrapped import acting_weight

T5_TOKENS = 512  # what the pipeline pads T5 to by default
GUIDANCE = 3.5


class Flux(DiffusionArchitecture):
    """`FluxPipeline`: dev, and schnell, which knows no guidance at all."""

    kind: ClassVar[str] = "flux"
    guides_within = True
    components = (
        Component("text_encoder", "prompt"),
        Component("text_encoder_2", "prompt"),
        Component("transformer", "image", timestep_unit=1000.0),
    )

    def defaults(self) -> Defaults:
        """As in diffusers for dev; four steps for schnell."""
        steps = 28 if self.pipe.transformer.config.guidance_embeds else 4
        return Defaults(steps, GUIDANCE, self.pipe.default_sample_size * self.pipe.vae_scale_factor)

    def sites(self, image_size: int) -> list[Site]:
        """Both text encoders and the transformer."""
        streams, transformer = self._streams(image_size), self.pipe.transformer
        return [
            *text_sites(self.pipe, "text_encoder", "text"),
            *text_sites(self.pipe, "text_encoder_2", "text2", self._t5_tokens()),
            *double_stream_sites(transformer.transformer_blocks, streams),
            *single_stream_sites(transformer.single_transformer_blocks, streams),
            Site("transformer.out", "transformer", "output", 0, "tokens", transformer.out_channels, streams.pixels),
        ]

    def attention_sites(self, image_size: int) -> list[AttentionSite]:
        """Every block's joint attention; the sequence is text, then picture."""
        text = self._streams(image_size).text
        counts = {
            ("transformer", "transformer_blocks"): len(self.pipe.transformer.transformer_blocks),
            ("transformer.single", "single_transformer_blocks"): len(self.pipe.transformer.single_transformer_blocks),
        }
        return [
            AttentionSite(f"{alias}.{number}.attn", f"transformer.{blocks}.{number}.attn",
                          pixels=(text, None), tokens=(0, text))
            for (alias, blocks), count in counts.items()
            for number in range(count)
        ]  # fmt: skip

    def prompt_maps(self, reads: Reads) -> dict[str, nn.Parameter]:
        """The map that lifts tokens into the transformer, or the one that lifts the pooled embedding. The keys and
        values of its blocks see the text only after a norm that depends on the timestep."""
        name = "context_embedder" if reads == "embeddings" else "time_text_embed.text_embedder.linear_1"
        return {f"transformer.{name}.weight": acting_weight(self.pipe.transformer.get_submodule(name))}

    def segments(self) -> list[Segment]:
        """T5 alone: CLIP only gives the pooled embedding."""
        return [Segment(self.pipe.tokenizer_2, 0, self._t5_tokens())]

    def encode_texts(self, prompts: list[str], role: Role) -> Encoding:
        """T5's last hidden state; pooled is CLIP's."""
        embeddings, pooled, _ = self.pipe.encode_prompt(
            prompts, device=self.pipe.device, max_sequence_length=self._t5_tokens()
        )
        return Encoding(embeddings, pooled, (role,) * len(prompts))

    def prompt_lengths(self) -> list[int]:
        """CLIP's own lengths; T5 is padded further than its tokenizer says."""
        return [
            self._t5_tokens() if name == "tokenizer_2" else getattr(self.pipe, name).model_max_length
            for name in self.tokenizers
        ]

    def predict(self, latents: Latents, timestep: Tensor, encoding: Encoding, guidance_scale: float) -> Latents:
        """The transformer's output, the velocity noise − image, at a guidance scale."""
        rows, _, height, width = latents.shape
        transformer, dtype = self.pipe.transformer, latents.dtype
        guidance = latents.new_full((rows,), guidance_scale, dtype=torch.float32)
        packed = transformer(
            hidden_states=self.pack(latents), timestep=timestep.expand(rows).to(dtype) / 1000,
            guidance=guidance if transformer.config.guidance_embeds else None,
            encoder_hidden_states=encoding.embeddings, pooled_projections=encoding.pooled,
            txt_ids=latents.new_zeros(encoding.embeddings.shape[1], 3),
            img_ids=self.pipe._prepare_latent_image_ids(rows, height // 2, width // 2, latents.device, dtype),
            return_dict=False,
        )[0]  # fmt: skip
        factor = self.pipe.vae_scale_factor
        return self.pipe._unpack_latents(packed, height * factor, width * factor, factor)

    def pack(self, latents: Latents) -> Tensor:
        """Two by two latent pixels as one token `[rows, pixels / 4, 4 · channels]`."""
        return self.pipe._pack_latents(latents, *latents.shape)

    def _t5_tokens(self) -> int:
        return min(T5_TOKENS, self.pipe.tokenizer_2.model_max_length)

    def _streams(self, image_size: int) -> Streams:
        side = image_size // self.pipe.vae_scale_factor // 2
        return Streams(side**2, self._t5_tokens(), self.pipe.transformer.inner_dim)
