"""What a family of pipelines declares about itself; the model handle does the rest for all of them."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from workbench.hooks import AttentionSite, Component, Role, Site
from workbench.models.encoding import Encoding

Latents = Float[Tensor, "rows channels height width"]
Reads = Literal["embeddings", "pooled"]  # the two fields of an encoding


class Defaults(NamedTuple):
    """How pictures are made unless the caller says otherwise. `image_size` is the side of the square, in pixels."""

    steps: int
    guidance_scale: float
    image_size: int


class Segment(NamedTuple):
    """The rows `start` … `start + length` of an encoding, which belong to one tokenizer."""

    tokenizer: Any
    start: int
    length: int


class Architecture(ABC):
    """One kind of pipeline: its components, its table of sites, and how its denoiser wants to be called."""

    kind: ClassVar[str]
    doubles_rows: ClassVar[bool] = True  # guidance as a second, unconditional row in the same batch

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    @property
    @abstractmethod
    def components(self) -> tuple[Component, ...]:
        """The text encoders and the denoiser."""

    @abstractmethod
    def defaults(self) -> Defaults:
        """The values that the published models of this kind were made for."""

    @abstractmethod
    def sites(self, image_size: int) -> list[Site]:
        """The table of aliases, resolved for this pipeline."""

    @abstractmethod
    def attention_sites(self, image_size: int) -> list[AttentionSite]:
        """Where the picture attends to the prompt."""

    @abstractmethod
    def encode(self, prompts: list[str], role: Role) -> Encoding:
        """One pass of all text encoders over padded prompts."""

    @abstractmethod
    def predict(self, latents: Latents, timestep: Tensor, encoding: Encoding) -> Latents:
        """The raw output of the denoiser, without guidance."""

    @property
    def denoiser(self) -> Component:
        """The component that predicts noise."""
        return next(component for component in self.components if component.kind == "image")

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
