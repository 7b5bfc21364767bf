"""What the language model of a Janus reads: rows of embeddings, of a prompt and of the picture behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from workbench.hooks import Place, Role, Tokens
from workbench.models.janus.layout import Layout
from workbench.models.janus.parts import Parts
from workbench.models.prompts import TokenEmbeddings, TokenIds

Codes = Int64[Tensor, "rows cells"]


@dataclass(frozen=True, eq=False)
class Line:
    """Rows for the language model.

    Args:
        embeddings: What it reads.
        attended: False at the padding on the left; of all positions so far, those of earlier calls first.
        tokens: What the positions hold.
        roles: What the rows stand for.
        prompts: The texts of the rows' pictures, None for what no text says.
    """

    embeddings: Float[Tensor, "rows positions d"]
    attended: Bool[Tensor, "rows so_far"]
    tokens: Tokens
    roles: tuple[Role, ...]
    prompts: tuple[str | None, ...] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What the language model is called with, but for the cache. Its positions count from the begin token."""
        position = (self.attended.cumsum(dim=1) - 1).clamp(min=0)
        return {
            "inputs_embeds": self.embeddings,
            "attention_mask": self.attended.long(),
            "position_ids": position[:, -self.embeddings.shape[1] :],
        }

    def expand(self, rows: int) -> "Line":
        """A single row repeated; a line that has as many rows already is returned as it is."""
        if len(self.roles) == rows:
            return self
        assert len(self.roles) == 1, f"{len(self.roles)} rows cannot stand for {rows}"
        return _each(lambda one: one.expand(rows, *one.shape[1:]), self, self.roles * rows, (self.prompts or ()) * rows)

    def beside(self, other: "Line") -> "Line":
        """The rows of both, one after another; the shorter ones padded on the left."""
        prompts = (*(self.prompts or ()), *(other.prompts or ()))
        width = max(self.embeddings.shape[1], other.embeddings.shape[1])
        one, two = self._padded(width), other._padded(width)
        return _each(lambda *both: torch.cat(both), one, (*one.roles, *two.roles), prompts, two)

    def _padded(self, width: int) -> "Line":
        more = width - self.embeddings.shape[1]
        if not more:
            return self
        tokens = self.tokens
        return replace(
            self,
            embeddings=F.pad(self.embeddings, (0, 0, more, 0)),
            attended=F.pad(self.attended, (more, 0)),
            tokens=Tokens(
                F.pad(tokens.places, (more, 0), value=Place.ABSENT),
                F.pad(tokens.position, (more, 0), value=-1),
                F.pad(tokens.ids, (more, 0)),
            ),
        )

    def followed_by(self, parts: Parts, codes: Codes) -> "Line":
        """The same with the first tokens of a picture behind each row."""
        tokens, more = self.tokens, cells(codes, 0)
        return replace(
            self,
            embeddings=torch.cat([self.embeddings, parts.drawn_as(codes)], dim=1),
            attended=torch.cat([self.attended, torch.ones_like(codes, dtype=torch.bool)], dim=1),
            tokens=Tokens(*(torch.cat([getattr(tokens, name), getattr(more, name)], dim=1) for name in vars(tokens))),
        )

    def next(self, embeddings: Float[Tensor, "rows 1 d"], tokens: Tokens) -> "Line":
        """The next call, which reads one token of each row and remembers all before it."""
        attended = torch.cat([self.attended, self.attended[:, -1:]], dim=1)
        return replace(self, embeddings=embeddings, attended=attended, tokens=tokens)


def cells(codes: Codes, first: int) -> Tokens:
    """What the positions of picture tokens hold, from the cell of this number on."""
    position = torch.arange(first, first + codes.shape[1], device=codes.device).expand_as(codes)
    return Tokens(torch.full_like(codes, Place.PICTURE, dtype=torch.int8), position, codes)


def begun(
    parts: Parts,
    layout: Layout,
    prompts: TokenIds | TokenEmbeddings,
    role: Role,
    texts: tuple[str | None, ...] | None,
) -> Line:
    """The rows of prompts before anything is drawn."""
    ids = prompts.ids[0].to(parts.language_model.device)
    if role == "uncond":
        embeddings = parts.looked_up(layout.unconditional(ids))
    elif isinstance(prompts, TokenEmbeddings):
        embeddings = prompts.embeddings[0].to(ids.device, parts.language_model.dtype)
    else:
        embeddings = parts.looked_up(ids)
    return Line(embeddings, layout.attended(ids), layout.tokens(ids, role), (role,) * len(ids), texts)


def _each(
    change: Callable[..., Tensor],
    line: Line,
    roles: tuple[Role, ...],
    prompts: Sequence[str | None],
    *others: Line,
) -> Line:
    """The same change of every tensor of a line, or of several side by side."""
    lines = (line, *others)
    embeddings, attended = (change(*(getattr(one, name) for one in lines)) for name in ("embeddings", "attended"))
    tokens = Tokens(*(change(*(getattr(one.tokens, name) for one in lines)) for name in vars(line.tokens)))
    return Line(embeddings, attended, tokens, roles, tuple(prompts) or None)
