"""What a family of diffusion pipelines declares: how its denoiser wants to be called, and how prompts reach it."""

from abc import abstractmethod
from contextlib import ExitStack
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.hooks import Component, Role
from workbench.identity import hashed
from workbench.models.architecture import Architecture, Segment
from workbench.models.capabilities import GUIDANCE_BRANCHES, KINDS, NEGATIVE_PROMPT, NOISE_SCHEDULE
from workbench.models.diffusion.text_sites import token_table
from workbench.models.encoding import Encoding
from workbench.models.prompts import Prompts, TokenEmbeddings, TokenIds, embedded, tokenized
from workbench.models.provenance import config_of, digest_of, plain_of
from workbench.models.word_places import written_out

Latents = Float[Tensor, "rows channels height width"]
Reads = Literal["embeddings", "pooled"]  # the two fields of an encoding
STAND_IN = "x"  # the text of prompts that are none; tokenizers are told what to say


class DiffusionArchitecture(Architecture):
    """One kind of diffusers pipeline."""

    @property
    def guides_within(self) -> bool:
        """Whether the denoiser is told the guidance scale itself (Flux, LCM), and there is no unconditional row."""
        config = getattr(self.pipe, self.denoiser.path).config
        return getattr(config, "time_cond_proj_dim", None) is not None

    @property
    def capabilities(self) -> frozenset[str]:
        """Those of its kind that this copy has."""
        lacking = set()
        if self.guides_within:
            lacking |= {GUIDANCE_BRANCHES, NEGATIVE_PROMPT}
        if not hasattr(self.pipe.scheduler, "alphas_cumprod"):
            lacking.add(NOISE_SCHEDULE)
        return KINDS[self.kind] - lacking

    @abstractmethod
    def predict(self, latents: Latents, timestep: Tensor, encoding: Encoding, guidance_scale: float) -> Latents:
        """The raw output of the denoiser, without guidance; the scale is for one that guides within."""

    @abstractmethod
    def encode_texts(self, prompts: list[str], role: Role) -> Encoding:
        """One pass of all text encoders over padded texts."""

    def encode(self, prompts: Prompts, role: Role) -> Encoding:
        """The same for texts, token ids and token embeddings."""
        if isinstance(prompts, list):
            return self.encode_texts(prompts, role)
        with ExitStack() as stack:
            stack.enter_context(tokenized(self.pipe, self.tokenizers, prompts))
            if isinstance(prompts, TokenEmbeddings):
                stack.enter_context(embedded(self.token_tables, prompts))
            return self.encode_texts([STAND_IN] * len(prompts), role)

    @property
    def token_tables(self) -> list[nn.Module]:
        """The modules that look tokens up, one for each text encoder."""
        encoders = [getattr(self.pipe, part.path) for part in self.prompt_sides]
        return [encoder.get_submodule(token_table(encoder)) for encoder in encoders]

    def guidance_embedding(self, guidance_scale: float, encoding: Encoding) -> Tensor | None:
        """What a UNet that guides within is told of the scale, a row each, as the pipeline makes it; else None."""
        width = self.pipe.unet.config.time_cond_proj_dim
        if width is None:
            return None
        scales = torch.full((len(encoding),), guidance_scale - 1)
        return self.pipe.get_guidance_scale_embedding(scales, embedding_dim=width).to(encoding.embeddings)

    @property
    def denoiser(self) -> Component:
        """The component that predicts noise."""
        return self.image_side

    @property
    def latent_channels(self) -> int:
        """Channels of one latent picture."""
        return self.pipe.vae.config.latent_channels

    def pack(self, latents: Latents) -> Tensor:
        """Latents in the order that the pipeline's `latents` argument wants them."""
        return latents

    def prompt_arguments(self, cond: Encoding, uncond: Encoding | None) -> dict[str, Any]:
        """Encodings as the arguments of the pipeline's `__call__`."""
        arguments = {"prompt_embeds": cond.embeddings, "pooled_prompt_embeds": cond.pooled}
        if uncond is not None:
            arguments |= {"negative_prompt_embeds": uncond.embeddings, "negative_pooled_prompt_embeds": uncond.pooled}
        return {name: value for name, value in arguments.items() if value is not None}

    @abstractmethod
    def prompt_maps(self, reads: Reads) -> dict[str, nn.Parameter]:
        """Weights `[out, d]` of the maps that are applied to an encoding as it is, without a norm before them."""

    def segments(self) -> list[Segment]:
        """How the rows of `Encoding.embeddings` come from tokenizers, in order."""
        return [Segment(self.pipe.tokenizer, 0, self.pipe.tokenizer.model_max_length)]

    def prompt_lengths(self) -> list[int]:
        """What prompts are padded to, for every tokenizer."""
        return [getattr(self.pipe, name).model_max_length for name in self.tokenizers]

    def prompt_limits(self) -> list[tuple[Any, int]]:
        """Every tokenizer, and what it is padded to."""
        return list(zip((getattr(self.pipe, name) for name in self.tokenizers), self.prompt_lengths(), strict=True))

    def token_ids(self, texts: list[str]) -> TokenIds:
        """As the pipeline tokenizes."""
        told = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        read = []
        for name, length in zip(self.tokenizers, self.prompt_lengths(), strict=True):
            tokenizer = getattr(self.pipe, name)
            written = [written_out(self.pipe, tokenizer, text) for text in texts]
            read.append(tokenizer(written, max_length=length, **told).input_ids)
        return TokenIds(tuple(read))

    def looked_up(self, prompts: TokenIds) -> tuple[Tensor, ...]:
        """The rows of every token table."""
        pairs = zip(self.token_tables, prompts.ids, strict=True)
        return tuple(_rows(table, ids) for table, ids in pairs)

    def parts(self, image_size: int) -> dict[str, str]:
        """Besides the networks: the noise schedule, and what the pipeline itself holds."""
        scheduler, signal = self.pipe.scheduler, getattr(self.pipe.scheduler, "alphas_cumprod", None)
        return {
            **super().parts(image_size),
            "scheduler": hashed([type(scheduler).__name__, config_of(scheduler), digest_of(signal)]),
            "pipeline": hashed(
                [type(self.pipe).__name__, plain_of(vars(self.pipe)), config_of(self.pipe.image_processor)]
            ),
        }


def _rows(table: Any, ids: Tensor) -> Tensor:
    return table.weight[ids.to(table.weight.device)].clone()
