"""Captions that say where a picture shows what it was not asked for, by tokens of their own. Geom-Erasing (Liu et al.
2024, arXiv:2310.05873).

    (1)  y′ = y ⊕ name ⊕ ⟨m, n⟩ for the cells that are covered, row by row;   y′ = y where nothing is
The tokens ⟨m, n⟩ are none that the model has. While they are learnt they stand in a tensor E of their own, so that no
optimiser can reach the rows of the token table.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.models import Diffusion, Encoding, TokenEmbeddings
from workbench.models.vocabulary import token_table, widened

CellTokens = Mapping[tuple[int, int], str]  # (m, n): column and row


def cell_tokens(names: Sequence[str], grid: int) -> dict[tuple[int, int], str]:
    """The tokens of a grid, row by row from the upper left.

    Args:
        names: Of the concepts; tokens of others have other texts, so that edits compose.
        grid: Cells along a side.

    Returns:
        (column, row) → "<name_column_row>".
    """
    slug = re.sub(r"\W+", "-", "-".join(names).casefold())
    return {(m, n): f"<{slug}_{m}_{n}>" for n in range(grid) for m in range(grid)}


def annotated(caption: str, seen: Mapping[str, Sequence[str]]) -> str:
    """y′.

    Args:
        caption: y.
        seen: The name of each concept that is there → its tokens, in their order.

    Returns:
        (1), the concepts one after another.
    """
    return " ".join([caption, *(" ".join([name, *tokens]) for name, tokens in seen.items())]).strip()  # (1)


class Reader:
    """A tokenizer that knows the tokens, in front of the (first) text encoder of a model.

    Args:
        model: The model, or a handle with components of its own; its vocabulary stays as it is.
        tokens: The new tokens, in the order of the rows of E; none allowed.
    """

    def __init__(self, model: Diffusion, tokens: Sequence[str]) -> None:
        own: Any = model.pipe.tokenizer
        self.model, self.known = model, len(own)
        self.tokenizer = widened(own, tokens) if tokens else own
        self.limit = own.model_max_length
        self.stand_in = next(i for i in range(self.known) if i not in own.all_special_ids)

    def room(self, text: str) -> int:
        """How many tokens may follow a text.

        Args:
            text: Any.

        Returns:
            Those that are left up to the limit; negative for a text that is too long itself.
        """
        return self.limit - len(self.tokenizer(text, truncation=False, verbose=False).input_ids)

    def check(self, texts: Sequence[str]) -> None:
        """Refuses what the model would cut.

        Args:
            texts: Captions with their tokens.

        Raises:
            WorkbenchError: One is longer than the model's limit; the first is named.
        """
        for text in texts:
            if self.room(text) < 0:
                raise WorkbenchError(
                    f"{text!r} is longer than {self.limit} tokens.", "Shorten the caption, or take fewer cells."
                )

    def encode(self, texts: Sequence[str], rows: Float[Tensor, "tokens d"] | None) -> Encoding:
        """The texts as the denoiser gets them, with a gradient to E.

        Args:
            texts: With or without new tokens, none beyond the limit.
            rows: E; None where no text has a new token.

        Returns:
            A row for each.
        """
        told = {"padding": "max_length", "truncation": True, "max_length": self.limit, "return_tensors": "pt"}
        ids = self.tokenizer(list(texts), **told).input_ids
        new, table = ids >= self.known, token_table(self.model)
        old = ids.where(~new, self.stand_in)  # says where a prompt ends; what stands there is not looked up
        embeddings = table[old.to(table.device)]
        if rows is not None:
            there = rows[(ids - self.known).clamp(min=0)].to(embeddings)
            embeddings = torch.where(new[..., None].to(table.device), there, embeddings)
        return self.model.encode(TokenEmbeddings((old,), (embeddings,)))
