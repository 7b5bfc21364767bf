"""Prompts with free tokens: which tokens may stand there, and where they stand.

Several text encoders (SDXL) read the same ids, so a token's embedding is the rows of all their tables side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.adults import may_involve_a_minor
from workbench.models import Model, TokenEmbeddings, TokenIds
from workbench.models.encoding import unmarked
from workbench.models.model import Change

FREE = -1  # the id of a token that is free


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens that an attack chooses from.

    Args:
        table: The embedding of each token, those of several text encoders side by side.
        widths: How many channels each text encoder has of them.
        allowed: True for tokens that may be chosen.
    """

    table: Float[Tensor, "vocabulary d"]
    widths: tuple[int, ...]
    allowed: Bool[Tensor, " vocabulary"]

    @cached_property
    def directions(self) -> Float[Tensor, "vocabulary d"]:
        """The embeddings at unit length; 0 for tokens that may not be chosen, which are nobody's nearest then."""
        unit = self.table / self.table.norm(dim=1, keepdim=True).clamp(min=torch.finfo(self.table.dtype).tiny)
        return unit * self.allowed[:, None]

    def nearest(self, points: Float[Tensor, "slots d"]) -> Int64[Tensor, " slots"]:
        """The allowed token of the largest cosine with each point."""
        cosines = points @ self.directions.T
        return cosines.masked_fill(~self.allowed, -torch.inf).argmax(dim=1)


def vocabulary(model: Model, edit: Change, without: Sequence[str] = ()) -> Vocabulary:
    """The model's tokens, as its text encoders look them up with an edit in place.

    Tokens that begin, end, pad or frame a prompt are left out, since no text puts them into the middle of one, and so
    are words that may stand for a minor, and tokens that the edit adds, which no other model knows.

    Args:
        model: SD1, SD2, SDXL or Janus, without the edit.
        edit: May change the tables.
        without: Words none of whose tokens may be chosen.

    Raises:
        WorkbenchError: Its tokenizers do not share a vocabulary.
    """
    tokenizers = [getattr(model.pipe, name) for name in model.architecture.tokenizers]
    words = tokenizers[0].get_vocab()
    if any(one.get_vocab() != words for one in tokenizers[1:]):
        raise WorkbenchError(
            f"{model.name} has tokenizers of different vocabularies, so that no token is the same to all of them.",
            "Attack it by `replay` or `ring_a_bell`, or take a model of one vocabulary (SD1, SD2, SDXL).",
        )
    barred = {token for name in model.architecture.tokenizers for token in model.architecture.no_words(name)}
    barred |= {token for word in without for token in content(model, word)}
    barred |= {token for word, token in words.items() if may_involve_a_minor(unmarked(word))}
    with model.edited(edit):
        tables: list[Tensor] = [one.weight.detach() for one in model.architecture.token_tables]  # type: ignore[attr-defined]
    allowed = torch.zeros(len(tables[0]), dtype=torch.bool)
    allowed[[token for token in words.values() if token not in barred]] = True
    return Vocabulary(torch.cat(tables, dim=1), tuple(one.shape[1] for one in tables), allowed.to(tables[0].device))


def content(model: Model, text: str) -> list[int]:
    """The ids of a text without those that begin, end, pad and frame."""
    return model.architecture.words(text)


def prefixed(ids: Sequence[int], free: int) -> list[int]:
    """So many free tokens, then the prompt."""
    return [FREE] * free + list(ids)


def interleaved(ids: Sequence[int], every: int) -> list[int]:
    """A free token before each `every` tokens of a prompt; one alone for an empty prompt."""
    starts = range(0, max(len(ids), 1), every)
    return [token for start in starts for token in (FREE, *ids[start : start + every])]


@dataclass(frozen=True, eq=False)
class Slots:
    """Prompts of which some tokens are free. Free tokens are counted prompt after prompt.

    Args:
        model: What they are for.
        prompts: The ids of each between begin and end, `FREE` in the free places.
    """

    model: Model
    prompts: tuple[tuple[int, ...], ...]

    @cached_property
    def ids(self) -> tuple[Int64[Tensor, "prompts _"], ...]:
        """For each tokenizer `[prompts, tokens]`, padded, `FREE` in the free places."""
        return self.model.architecture.framed(self.prompts).ids

    @property
    def counts(self) -> list[int]:
        """How many free tokens each prompt has."""
        return [one.count(FREE) for one in self.prompts]

    def filled(self, ids: Int64[Tensor, " slots"]) -> TokenIds:
        """The prompts with these tokens in the free places."""
        return TokenIds(tuple(one.masked_scatter(one == FREE, ids.to(one)) for one in self.ids))

    def embedded(self, ids: Int64[Tensor, " slots"], embeddings: Float[Tensor, "slots d"]) -> TokenEmbeddings:
        """The prompts with these embeddings in the free places.

        Args:
            ids: The tokens that the embeddings stand for: what a place in a prompt is told by.
            embeddings: Those of all text encoders side by side, as in a `Vocabulary`. Gradients reach them.
        """
        whole = self.model.token_embeddings(self.filled(ids))
        parts = embeddings.split([one.shape[-1] for one in whole.embeddings], dim=1)
        rows = [
            table.index_put(((own == FREE).to(table.device),), part.to(table))
            for own, table, part in zip(self.ids, whole.embeddings, parts, strict=True)
        ]
        return TokenEmbeddings(whole.ids, tuple(rows))

    def of(self, prompts: Sequence[int]) -> "Slots":
        """Some of the prompts."""
        return Slots(self.model, tuple(self.prompts[one] for one in prompts))


def slots(model: Model, prompts: Sequence[Sequence[int]]) -> Slots:
    """Prompts from the ids of each between begin and end, `FREE` for the free ones.

    Raises:
        WorkbenchError: One has more tokens than the model reads.
    """
    longest, room = max(prompts, key=len), model.architecture.room
    if len(longest) > room:
        free = list(longest).count(FREE)
        own = len(longest) - free
        fewer = f"{room - own} free tokens or fewer, or " if own < room else ""
        raise WorkbenchError(
            f"A prompt of {own} tokens has no room for {free} more: {model.name} reads {room}.",
            f"Choose {fewer}shorter prompts.",
        )
    return Slots(model, tuple(tuple(one) for one in prompts))
