"""Activations of one run of a Janus put into another: where, by what each position holds, and what is put there."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from workbench.hooks import Activation, Clock, Place, Site, SiteEdit, Tokens
from workbench.interpret.attribution.likelihood import Codes
from workbench.models import Janus

TEXT = ("before", "the word", "after", "template", "begin of image")
PICTURE = "picture"
_CELLS = 2**32  # keys of cells lie above those of the prompt's tokens


class Donor(NamedTuple):
    """What a site held in one pass over a prompt and its picture, and what its positions are."""

    x: Activation
    tokens: Tokens


def donors(model: Janus, site: Site, codes: Codes, prompts: list[str]) -> Donor:
    """A site while the model reads prompts and pictures, conditional rows."""
    with torch.no_grad(), model.session(record=[site]) as session:
        model.logits(codes, prompts)
    ((clock, x),) = session.records[site.alias]
    assert clock.tokens is not None, "the language model says what its positions hold"
    return Donor(x, clock.tokens)


def parts(tokens: Tokens, word: Sequence[range], side: int = 0) -> dict[str, Bool[Tensor, "rows positions"]]:
    """Which positions each part covers. The begin token is in none.

    Args:
        tokens: What the positions hold.
        word: The tokens of the word in each row's own prompt.
        side: Cells in a row of the picture, which is then a part for each row; 0: it is one part.

    Returns:
        `TEXT`, then "picture", or "row 1", "row 2", … of it.
    """
    places, position = tokens.places, tokens.position
    first, stop = (
        torch.tensor([[getattr(span, end)] for span in word], device=position.device) for end in ("start", "stop")
    )
    words, cells = places == Place.WORD, places == Place.PICTURE
    found = dict(zip(TEXT, (
        words & (position < first), words & (first <= position) & (position < stop), words & (stop <= position),
        places == Place.TEMPLATE, places == Place.END,
    ), strict=True))  # fmt: skip
    if not side:
        return {**found, PICTURE: cells}
    return found | {f"row {row + 1}": cells & (position // side == row) for row in range(side)}


def transplant(site: Site, donor: Donor, part: str, word: Sequence[range], side: int = 0) -> SiteEdit:
    """The edit that puts the donor's activations at a part of the conditional rows, in one pass or call by call.

    Each position gets what the donor held at the same token of the prompt or cell of the picture.
    """
    known = _keys(donor.tokens)

    def put(x: Tensor, clock: Clock) -> Tensor:
        rows = clock.mask("cond")
        tokens = clock.tokens
        assert tokens is not None, "the language model says what its positions hold"
        own = Tokens(tokens.places[rows], tokens.position[rows], tokens.ids[rows])
        mask = parts(own, word, side)[part]
        if not mask.any():
            return x
        same = _keys(own)[:, :, None] == known[:, None]
        taken = donor.x.gather(1, same.int().argmax(dim=2)[..., None].expand(-1, -1, x.shape[-1])).to(x.dtype)
        changed = x.clone()
        changed[rows] = torch.where((mask & same.any(dim=2))[..., None], taken, x[rows])
        return changed

    return SiteEdit(site, put)


def _keys(tokens: Tokens) -> Int64[Tensor, "rows positions"]:
    """A number for each token of the prompt and each cell of the picture."""
    return tokens.position + (tokens.places == Place.PICTURE) * _CELLS
