"""What the positions of an activation stand for: the tokens of a prompt, the padding behind them, or the picture.

A tokenizer frames a prompt and pads it to one length. CLIP's gives begin token, words, end token, padding; T5's has no
begin token. The padding repeats the end token (Stable Diffusion 1) or does not (Stable Diffusion 2).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.hooks import Clock, Place, Places, Site
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE
from workbench.models.encoding import token_row
from workbench.models.word_places import written_out

KEPT: dict[str, tuple[Place, ...]] = {  # which places are kept, by a name
    "all": tuple(place for place in Place if place != Place.ABSENT),
    "prompt": (Place.BEGIN, Place.TEMPLATE, Place.WORD, Place.END, Place.PICTURE),
    "content": (Place.WORD, Place.END, Place.PICTURE),
}


class Part(NamedTuple):
    """What some positions of a site have in common.

    Args:
        name: "prompt" or "picture" where a site has but one of them; where both are one sequence, a value of
            `PARTS_OF_A_LINE`.
        step: The call; of a picture that is written token by token, the row of its grid, from 0.
    """

    name: str
    step: int


PARTS_OF_A_LINE = {
    Place.WORD: "text", Place.TEMPLATE: "template", Place.END: "begin of image", Place.PICTURE: "picture",
}  # fmt: skip


class Frame(NamedTuple):
    """How a tokenizer frames a prompt.

    Args:
        end: Id of the token that ends a prompt; None if it is not known, and then no position is end or padding.
        begins: Whether position 0 is a begin token.
    """

    end: int | None = None
    begins: bool = True


def token_places(token_ids: Int[Tensor, "rows positions"], frame: Frame) -> Places:
    """The `Place` of each token of padded prompts."""
    is_end = token_ids == (-1 if frame.end is None else frame.end)
    ended = is_end.int().cumsum(dim=1) - is_end.int()  # end tokens before this position
    found = torch.full_like(token_ids, Place.WORD, dtype=torch.int8)
    found[is_end] = Place.END
    found[ended > 0] = Place.PADDING
    if frame.begins:
        found[:, 0] = Place.BEGIN
    return found


def places(clock: Clock, positions: int, frame: Frame) -> Places:
    """The `Place` of each position of one call, for all its rows, on the device of the call.

    Args:
        clock: The clock of the call.
        positions: How many positions the site has in this call.
        frame: How the site's tokenizer frames prompts; of no account in calls of the picture's side.

    Returns:
        `[rows, positions]`. Where a transformer of SD3 or Flux reads prompt and picture jointly, all is `PICTURE`.
    """
    if clock.tokens is not None:
        return clock.tokens.places
    if clock.token_ids is not None:
        return token_places(clock.token_ids, frame)
    rows = (len(clock.roles), positions)
    if clock.component == "image":
        return torch.full(rows, Place.PICTURE, dtype=torch.int8, device=clock.device)
    return token_places(torch.zeros(rows, dtype=torch.int64, device=clock.device), Frame(None, frame.begins))


def marked(found: Places, kept: str = "content") -> Bool[Tensor, "rows positions"]:
    """True where a position is kept: "content" is the words, the end token and all of a picture; "prompt" also the
    begin token and a chat template; "all" the padding too."""
    return torch.isin(found, torch.tensor(KEPT[kept], dtype=torch.int8, device=found.device))


def of_prompt(found: Places) -> Bool[Tensor, "rows positions"]:
    """True where a prompt can make a difference: from its first word on, padding and what a chat template puts behind
    the words too. What stands before them is equal in every prompt; a picture behind them is no part of it."""
    told = ((found == Place.WORD) | (found == Place.END)).cumsum(dim=1) > 0
    return told & (found != Place.PICTURE) & (found != Place.ABSENT)


def begin_columns(found: Places) -> int:
    """How many of the first positions are begin tokens in every row: 1 or 0."""
    return int(bool((found[:, :1] == Place.BEGIN).all()) and found.shape[1] > 0)


def tokenizer_of(model: Model, site: Site) -> Any:
    """The tokenizer of the text encoder that the site is in; of a language model that writes pictures, its own."""
    part = site.path.split(".")[0]
    return getattr(model.pipe, part.replace("text_encoder", "tokenizer") if site.component == "prompt" else "tokenizer")


def frame_of(model: Model, site: Site) -> Frame:
    """How prompts are framed at this site. A site on the picture's side has no tokenizer, and the frame is empty."""
    if site.component == "image":
        return Frame()
    tokenizer = tokenizer_of(model, site)
    return Frame(tokenizer.eos_token_id, tokenizer.bos_token_id is not None)


def words_at(model: Model, site: Site, prompts: Sequence[str]) -> list[tuple[str, ...]]:
    """The text of each prompt's tokens as this site's own encoder has them, from the start to the end token.

    Args:
        model: The model.
        site: One that prompts pass.
        prompts: Texts.

    Returns:
        A tuple for each prompt; a T5 encoder's has no start token.
    """
    if AUTOREGRESSIVE in model.capabilities:
        return [row.words for row in model.tokens(prompts)]
    tokenizer = tokenizer_of(model, site)
    return [token_row(tokenizer, written_out(model.pipe, tokenizer, prompt)).words for prompt in prompts]


def end_token(model: Model, site: Site) -> int | None:
    """The id of the token that ends a prompt for this site's encoder, for edits, which take position 0 for the begin.

    Returns:
        None where each call says itself what its positions hold (Janus).

    Raises:
        WorkbenchError: The encoder has no begin token (T5).
    """
    if AUTOREGRESSIVE in model.capabilities:
        return None
    frame = frame_of(model, site)
    if frame.end is None or not frame.begins:
        raise WorkbenchError(
            f"Prompts of {site.alias!r} have no begin token, and edits of words leave the first position alone.",
            "Choose a site of a CLIP text encoder.",
        )
    return frame.end
