"""What a family of models declares about itself; the model handle does the rest for all of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from workbench.hooks import AttentionSite, Component, Role, Site
from workbench.models.capabilities import KINDS
from workbench.models.encoding import Encoding
from workbench.models.prompts import Prompts, TokenIds
from workbench.models.provenance import networks, structure
from workbench.models.word_places import places, written_out


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
    """One kind of model: its components, its table of sites, and how prompts are encoded.

    Args:
        pipe: The object that holds the components as attributes.
    """

    kind: ClassVar[str]

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    def of(self, pipe: Any) -> "Architecture":
        """The same on another object that holds the components."""
        return type(self)(pipe)

    @property
    def capabilities(self) -> frozenset[str]:
        """What methods may ask of it, of `workbench.models.capabilities`."""
        return KINDS[self.kind]

    @property
    @abstractmethod
    def components(self) -> tuple[Component, ...]:
        """The networks that read prompts and those that make pictures."""

    @property
    def image_side(self) -> Component:
        """The component that makes pictures."""
        return next(component for component in self.components if component.kind == "image")

    @property
    def tokenizers(self) -> list[str]:
        """The attributes that are tokenizers, in the order of their encoders."""
        return [part.path.replace("text_encoder", "tokenizer") for part in self.prompt_sides]

    def prompt_limits(self) -> list[tuple[Any, int]]:
        """Every tokenizer, and how many of its tokens are read."""
        found = [getattr(self.pipe, name) for name in self.tokenizers]
        return [(tokenizer, tokenizer.model_max_length) for tokenizer in found]

    def words(self, text: str) -> list[int]:
        """The ids of a text's own words, without what begins, ends or frames a prompt; as the first tokenizer reads."""
        tokenizer = getattr(self.pipe, self.tokenizers[0])
        return tokenizer(written_out(self.pipe, tokenizer, text), add_special_tokens=False, verbose=False).input_ids

    def framed(self, prompts: Sequence[Sequence[int]]) -> TokenIds:
        """The prompts whose own words are these ids, read alike by all tokenizers, as `token_ids` would make them."""
        return TokenIds(tuple(
            torch.tensor([_padded(tokenizer, ids, length) for ids in prompts])
            for tokenizer, length in self.prompt_limits()
        ))  # fmt: skip

    @property
    def room(self) -> int:
        """How many tokens of its own a prompt may have."""
        return min(limit for _, limit in self.prompt_limits()) - 2

    def no_words(self, tokenizer: str) -> set[int]:
        """Ids of a tokenizer that stand for no words: they begin, end, pad or frame prompts."""
        return set(getattr(self.pipe, tokenizer).all_special_ids)

    @property
    def prompt_sides(self) -> tuple[Component, ...]:
        """The components that read prompts."""
        return tuple(component for component in self.components if component.kind == "prompt")

    @abstractmethod
    def defaults(self) -> Defaults:
        """The values that the published models of this kind were made for."""

    @abstractmethod
    def sites(self, image_size: int) -> list[Site]:
        """The table of aliases, resolved for this model."""

    @abstractmethod
    def attention_sites(self, image_size: int) -> list[AttentionSite]:
        """Where the picture attends to the prompt."""

    @abstractmethod
    def encode(self, prompts: Prompts, role: Role) -> Encoding:
        """One pass of all that reads prompts, over padded prompts."""

    @abstractmethod
    def segments(self) -> list[Segment]:
        """How the rows of `Encoding.embeddings` come from tokenizers, in order."""

    def word_positions(self, prompt: str, words: str) -> list[int]:
        """The rows of an encoded prompt that stand for words, at all their places and for each tokenizer; [] if the
        words are not in it."""
        return [
            segment.start + position
            for segment in self.segments()
            for place in places(self.pipe, segment.tokenizer, prompt, words)
            for position in place
            if position < segment.length - 1
        ]

    @abstractmethod
    def token_ids(self, texts: list[str]) -> TokenIds:
        """The texts as ids for every tokenizer, padded to the full length and cut there."""

    @abstractmethod
    def looked_up(self, prompts: TokenIds) -> tuple[Tensor, ...]:
        """The rows of every token table at the ids, `[rows, tokens, d]` each."""

    def parts(self, image_size: int) -> dict[str, str]:
        """What decides pictures besides weights, as a hash for each part: see `workbench.identity`."""
        found = {name: structure(part) for name, part in networks(self.pipe)}
        return {**found, "image size": str(image_size)}


def _padded(tokenizer: Any, ids: Sequence[int], length: int) -> list[int]:
    framed = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
    return framed + [tokenizer.pad_token_id] * (length - len(framed))
