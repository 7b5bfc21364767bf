"""Words that a model did not have: its tokenizer and its token table, wider for a while."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AddedToken

from saes.errors import WorkbenchError
from workbench.models.diffusion.model import Diffusion


def widened(tokenizer: Any, tokens: Sequence[str]) -> Any:
    """A copy of a tokenizer that knows more tokens, each one id wherever it stands.

    Args:
        tokenizer: It stays as it is.
        tokens: Their texts, such as "<mark_0_1>"; blanks around one in a prompt belong to it.

    Returns:
        The copy; the ids of the tokens follow the last one before, in their order.

    Raises:
        WorkbenchError: The tokenizer knows one already.
    """
    for token in tokens:
        if token in tokenizer.get_vocab():
            raise WorkbenchError(
                f"The token {token!r} is there already.", "Leave out the edit that adds it too, or fit under one name."
            )
    wider = deepcopy(tokenizer)
    new = [AddedToken(token, special=True, normalized=False, lstrip=True, rstrip=True) for token in tokens]
    wider.add_tokens(new, special_tokens=True)
    return wider


@contextmanager
def with_tokens(model: Diffusion, tokens: Sequence[str], rows: Float[Tensor, "tokens d"]) -> Iterator[None]:
    """In the body, the (first) text encoder of the model knows more tokens; the table's own rows stay as they are, bit
    for bit.

    Args:
        model: Afterwards it is exactly as before.
        tokens: Their texts.
        rows: What the table has for each.

    Raises:
        WorkbenchError: A token is known already, or the table has other rows than the tokenizer has ids.
    """
    name = model.architecture.tokenizers[0]
    table, before = token_table(model), getattr(model.pipe, name)
    old = table.data
    check_ids(model)
    wider = widened(before, tokens)
    try:
        vars(model.pipe)[name] = wider  # past the pipeline's own `__setattr__`, which would note it
        table.data = torch.cat([old, rows.to(old)])
        yield
    finally:
        vars(model.pipe)[name] = before
        table.data = old


def token_table(model: Diffusion) -> nn.Parameter:
    """What the (first) text encoder looks tokens up in.

    Args:
        model: The model.

    Returns:
        A row for each token, `[tokens, d]`.
    """
    weight: Any = model.architecture.token_tables[0].weight
    return weight


def check_ids(model: Diffusion) -> None:
    """Refuses a model in which the next id is not the next row.

    Args:
        model: The model.

    Raises:
        WorkbenchError: Its first token table has more or fewer rows than its tokenizer has ids.
    """
    ids = len(getattr(model.pipe, model.architecture.tokenizers[0]))
    rows = len(token_table(model))
    if rows != ids:
        raise WorkbenchError(
            f"The token table of {model.name} has {rows} rows and its tokenizer {ids} tokens, so that no token can be "
            "added.",
            "Use another model.",
        )
