"""Stable Diffusion 3 and 3.5: two CLIP encoders and T5, a transformer whose blocks attend to both jointly."""

from typing import ClassVar

from torch import Tensor, nn

from workbench.hooks import AttentionSite, Component, Role, Site
from workbench.models.architecture import Defaults, Segment
from workbench.models.diffusion.architecture import DiffusionArchitecture, Latents, Reads
from workbench.models.diffusion.config_values import native_size
from workbench.models.diffusion.joint_sites import Streams, double_stream_sites
from workbench.models.diffusion.text_sites import text_sites
from workbench.models.encoding import Encoding
from workbench.models.wrapped import acting_weight

T5_TOKENS = 256  # what the pipeline pads T5 to by default


class SD3(DiffusionArchitecture):
    """`StableDiffusion3Pipeline`, with or without its T5 encoder."""

    kind: ClassVar[str] = "sd3"

    @property
    def components(self) -> tuple[Component, ...]:
        """The encoders that this copy has (T5 is often left out for its size), and the transformer."""
        names = ("text_encoder", "text_encoder_2", "text_encoder_3")
        text = (Component(name, "prompt") for name in names if getattr(self.pipe, name) is not None)
        return (*text, Component("transformer", "image"))

    def defaults(self) -> Defaults:
        """As in diffusers."""
        return Defaults(28, 7.0, native_size(self.pipe.transformer, self.pipe.vae_scale_factor))

    def sites(self, image_size: int) -> list[Site]:
        """All text encoders and the transformer."""
        latent_size = image_size // self.pipe.vae_scale_factor
        channels = self.pipe.transformer.config.out_channels
        return [
            *text_sites(self.pipe, "text_encoder", "text"),
            *text_sites(self.pipe, "text_encoder_2", "text2"),
            *text_sites(self.pipe, "text_encoder_3", "text3", self._t5_tokens()),
            *double_stream_sites(self.pipe.transformer.transformer_blocks, self._streams(image_size)),
            Site("transformer.out", "transformer", "output", 0, "pixels", channels, latent_size**2),
        ]

    def attention_sites(self, image_size: int) -> list[AttentionSite]:
        """Every block's joint attention; the sequence is picture, then text."""
        pixels = self._streams(image_size).pixels
        return [
            AttentionSite(f"transformer.{number}.attn", f"transformer.transformer_blocks.{number}.attn",
                          pixels=(0, pixels), tokens=(pixels, None))
            for number in range(len(self.pipe.transformer.transformer_blocks))
        ]  # fmt: skip

    def prompt_maps(self, reads: Reads) -> dict[str, nn.Parameter]:
        """The map that lifts tokens into the transformer, or the one that lifts the pooled embedding. The keys and
        values of its blocks see the text only after a norm that depends on the timestep."""
        name = "context_embedder" if reads == "embeddings" else "time_text_embed.text_embedder.linear_1"
        return {f"transformer.{name}.weight": acting_weight(self.pipe.transformer.get_submodule(name))}

    def segments(self) -> list[Segment]:
        """Both CLIP encoders share their rows; T5 follows, where this copy has it."""
        clip = Segment(self.pipe.tokenizer, 0, self.pipe.tokenizer.model_max_length)
        if self.pipe.tokenizer_3 is None:
            return [clip]
        return [clip, Segment(self.pipe.tokenizer_3, clip.length, self._t5_tokens())]

    def encode_texts(self, prompts: list[str], role: Role) -> Encoding:
        """CLIP tokens, then T5 tokens, padded to one width; pooled is both CLIP encoders' projection."""
        embeddings, _, pooled, _ = self.pipe.encode_prompt(
            prompts, None, None, device=self.pipe.device, do_classifier_free_guidance=False,
            max_sequence_length=self._t5_tokens(),
        )  # fmt: skip
        return Encoding(embeddings, pooled, (role,) * len(prompts))

    def prompt_lengths(self) -> list[int]:
        """CLIP's own lengths; T5 is padded further than its tokenizer says."""
        return [
            self._t5_tokens() if name == "tokenizer_3" else getattr(self.pipe, name).model_max_length
            for name in self.tokenizers
        ]

    def predict(self, latents: Latents, timestep: Tensor, encoding: Encoding, guidance_scale: float) -> Latents:
        """The transformer's output: the velocity noise − image."""
        return self.pipe.transformer(
            hidden_states=latents, timestep=timestep.expand(len(encoding)), encoder_hidden_states=encoding.embeddings,
            pooled_projections=encoding.pooled, return_dict=False,
        )[0]  # fmt: skip

    def _t5_tokens(self) -> int:
        tokenizer = self.pipe.tokenizer_3
        return T5_TOKENS if tokenizer is None else min(T5_TOKENS, tokenizer.model_max_length)

    def _streams(self, image_size: int) -> Streams:
        transformer = self.pipe.transformer
        side = image_size // self.pipe.vae_scale_factor // transformer.config.patch_size
        return Streams(side**2, self.pipe.tokenizer.model_max_length + self._t5_tokens(), transformer.inner_dim)
