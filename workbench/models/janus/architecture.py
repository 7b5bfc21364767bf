"""What Janus declares about itself: components, sites, and how prompts stand before its language model."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.hooks import AttentionSite, Component, Role, Site
from workbench.identity import hashed
from workbench.models.architecture import Architecture, Defaults, Segment
from workbench.models.encoding import Encoding
from workbench.models.janus.layout import Layout
from workbench.models.janus.lines import Line, begun
from workbench.models.janus.parts import Parts
from workbench.models.janus.sites import attention_sites, sites
from workbench.models.prompts import Prompts, TokenEmbeddings, TokenIds, check_ids

GUIDANCE = 5.0  # of the published models


class JanusArchitecture(Architecture):
    """Janus and Janus-Pro, of any size.

    Args:
        pipe: Its parts.
        layout: How prompts stand before the language model.
    """

    kind: ClassVar[str] = "janus"
    pipe: Parts
    components = (Component("language_model", "image"), Component("generation_head", "image"))

    def __init__(self, pipe: Parts, layout: Layout) -> None:
        super().__init__(pipe)
        self.layout = layout

    def of(self, pipe: Parts) -> "JanusArchitecture":
        """The same on other parts."""
        return JanusArchitecture(pipe, self.layout)

    @property
    def tokenizers(self) -> list[str]:
        """Its only one."""
        return ["tokenizer"]

    def defaults(self) -> Defaults:
        """A step for each token of the picture, and the published guidance."""
        return Defaults(self.pipe.cells, GUIDANCE, self.pipe.image_size)

    def sites(self, image_size: int) -> list[Site]:
        """The language model's, and what the image head reads."""
        return list(sites(self.pipe))

    def attention_sites(self, image_size: int) -> list[AttentionSite]:
        """Self-attention of the language model."""
        return list(attention_sites(self.pipe))

    def line(self, prompts: Prompts, role: Role, texts: tuple[str | None, ...] | None = None) -> Line:
        """What the language model reads of prompts."""
        ids = self.token_ids(prompts) if isinstance(prompts, list) else prompts
        check_ids({"tokenizer": self.pipe.tokenizer}, ids)
        self.layout.check(ids.ids[0])
        if isinstance(ids, TokenEmbeddings):
            _check_shape(ids)
        return begun(self.pipe, self.layout, ids, role, texts)

    def encode(self, prompts: Prompts, role: Role) -> Encoding:
        """Token embeddings, which are all that the picture's side is given of a prompt."""
        line = self.line(prompts, role)
        return Encoding(line.embeddings, None, line.roles)

    def segments(self) -> list[Segment]:
        """None: its prompts are as long as they are."""
        raise WorkbenchError(
            "Prompts of a Janus have no fixed length, so no position belongs to a token of every prompt.",
            "Read `Clock.tokens`, which says what each position holds.",
        )

    def word_positions(self, prompt: str, words: str) -> list[int]:
        """Numbers of tokens in the prompt's own row, its begin token being 0, as `Tokens.position` counts."""
        return self.layout.word_positions(prompt, words)

    def token_ids(self, texts: list[str]) -> TokenIds:
        """The texts in their layout, padded on the left to the longest."""
        return TokenIds((self.layout.ids(texts),))

    def words(self, text: str) -> list[int]:
        """The ids of a text's own words, as they are read within the layout."""
        return self.layout.words(torch.tensor(self.layout.row(text))).tolist()

    def framed(self, prompts: Sequence[Sequence[int]]) -> TokenIds:
        """The prompts whose own words are these ids, in their layout, padded on the left to the longest."""
        return TokenIds((self.layout.framed_words(prompts),))

    @property
    def room(self) -> int:
        """How many tokens of its own a prompt may have."""
        return self.layout.room

    def no_words(self, tokenizer: str) -> set[int]:
        """Ids that were added to the tokenizer's own: roles of a chat, placeholders, begins and ends."""
        return super().no_words(tokenizer) | {*self.pipe.tokenizer.added_tokens_decoder, *self.layout.special}

    def prompt_limits(self) -> list[tuple[Any, int]]:
        """Its tokenizer, and how many tokens leave room for the picture."""
        return [(self.pipe.tokenizer, self.layout.longest)]

    @property
    def token_tables(self) -> list[nn.Module]:
        """The language model's own."""
        return [self.pipe.language_model.embed_tokens]

    def looked_up(self, prompts: TokenIds) -> tuple[Tensor, ...]:
        """The rows of the language model's table."""
        return (self.pipe.looked_up(prompts.ids[0]).clone(),)

    def parts(self, image_size: int) -> dict[str, str]:
        """Besides the networks: how prompts stand before the language model."""
        layout = self.layout
        return {**super().parts(image_size), "prompt layout": hashed([layout.tokenizer.chat_template, *layout.special])}


def _check_shape(prompts: TokenEmbeddings) -> None:
    if prompts.embeddings[0].shape[:2] != prompts.ids[0].shape:
        raise WorkbenchError(
            f"Token embeddings of shape {tuple(prompts.embeddings[0].shape)} were given for "
            f"{tuple(prompts.ids[0].shape)} ids.",
            "Start from model.token_embeddings(prompts).",
        )
