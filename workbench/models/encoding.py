"""Prompts as the picture side receives them, and as people read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.hooks import Role

_MARKS = ("</w>", "▁", "Ġ")  # how tokenizers write where words begin or end
_HALF = "\ufffd"  # in the place of bytes that are no letter


@dataclass(frozen=True)
class Encoding:
    """Encoded prompts, one row each. `pooled` is what SDXL, SD3 and Flux add to the time embedding, else None.

    `prompts` are the texts of conditional rows, which are their pictures' prompts; None for a row that no text says,
    and for all where none is known.
    """

    embeddings: Float[Tensor, "rows tokens d_text"]
    pooled: Float[Tensor, "rows d_pooled"] | None
    roles: tuple[Role, ...]
    prompts: tuple[str | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.roles)

    def expand(self, rows: int) -> "Encoding":
        """A single row repeated; an encoding that has as many rows already is returned as it is."""
        if len(self) == rows:
            return self
        assert len(self) == 1, f"{len(self)} rows cannot stand for {rows}"
        pooled = None if self.pooled is None else self.pooled.expand(rows, -1)
        prompts = None if self.prompts is None else self.prompts * rows
        return Encoding(self.embeddings.expand(rows, -1, -1), pooled, self.roles * rows, prompts)

    def rows(self) -> list["Encoding"]:
        """Each row alone."""
        return [self.row(number) for number in range(len(self))]

    def row(self, number: int) -> "Encoding":
        """One of the rows alone."""
        only = slice(number, number + 1)
        pooled = None if self.pooled is None else self.pooled[only]
        prompts = None if self.prompts is None else self.prompts[only]
        return Encoding(self.embeddings[only], pooled, self.roles[only], prompts)


def together(encodings: Sequence[Encoding]) -> Encoding:
    """The rows of encodings one after another; their prompts are known if those of all are."""
    pooled = [one.pooled for one in encodings if one.pooled is not None]
    texts = [one.prompts for one in encodings if one.prompts is not None]
    known = len(texts) == len(encodings)
    return Encoding(
        torch.cat([one.embeddings for one in encodings]),
        torch.cat(pooled) if pooled else None,
        tuple(role for one in encodings for role in one.roles),
        tuple(text for some in texts for text in some) if known else None,
    )


@dataclass(frozen=True)
class TokenRow:
    """The tokens of one prompt from its start to its end token, without padding: position 0 is position 0 of a site.

    `words` is the text of each token; a long or unknown word is several tokens.
    """

    ids: tuple[int, ...]
    words: tuple[str, ...]


def token_row(tokenizer: Any, prompt: str) -> TokenRow:
    """Tokens as the model sees them, cut at its limit. Placeholders are written out already (`word_places`)."""
    ids = tokenizer(prompt, truncation=True, max_length=tokenizer.model_max_length).input_ids
    return TokenRow(tuple(ids), tuple(spelt(tokenizer, ids)))


def spelt(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Each token as people read it, without the marks of words' begins and ends.

    Letters outside ASCII are bytes to many tokenizers: a token that is a part of one is shown as the whole letter.
    """
    words: list[str] = []
    open_bytes: list[str] = []
    for token in tokenizer.convert_ids_to_tokens(ids):
        open_bytes.append(token)
        if open_bytes == [token] and unmarked(token).isascii():
            text = token
        else:
            text = tokenizer.convert_tokens_to_string(open_bytes).strip()
        if _HALF not in text:
            words += [unmarked(text)] * len(open_bytes)
            open_bytes = []
    return words + [_HALF] * len(open_bytes)


def unmarked(token: str) -> str:
    """A token as a tokenizer's vocabulary has it, without the marks of where words begin or end."""
    for mark in _MARKS:
        token = token.replace(mark, "")
    return token
