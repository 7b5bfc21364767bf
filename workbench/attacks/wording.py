"""Ids as text and back: whether an adversarial prompt can be typed in."""

from typing import NamedTuple

import torch

from workbench.models import Model, TokenIds


class Worded(NamedTuple):
    """A prompt as text, and the ids that are to be given in its place; None where the text gives these ids again."""

    prompt: str
    given: TokenIds | None


def worded(model: Model, ids: TokenIds) -> Worded:
    """The text of a prompt's ids, as the first tokenizer reads them, and the ids where they do not survive it.

    Args:
        model: Its tokenizers are asked.
        ids: Of one row, padded as the model pads a single prompt.

    Returns:
        The text, without special tokens, and the ids unless every tokenizer makes the same of the text.
    """
    (text,) = model.said(ids)
    again = model.token_ids(text).ids
    same = all(torch.equal(one, two.cpu()) for one, two in zip(again, ids.ids, strict=True))
    return Worded(text, None if same else ids)
