"""Soft prefixes: vectors in the place of tokens before a prompt, and the search for one that lowers a loss.

With δ `[k, d]` the prefix and ℓ the attack's loss, which may draw other latents each time:
    (1)  [δ; c] = begin, δ, the tokens of c, end, padding      as many positions as the model reads
    (2)  δ ← Adam(δ, ∇ℓ), n times                              "pgd", without a projection
    (3)  δ = δ₀ − α sign ∇ℓ(δ₀)                                "fast"
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.models import Diffusion, TokenEmbeddings, TokenIds

Prefix = Float[Tensor, "k d"]
Kind = Literal["pgd", "fast"]


def prefixed(model: Diffusion, text: str, prefix: Prefix) -> TokenEmbeddings:
    """(1), for a model with one text encoder. Gradients reach the prefix.

    Args:
        model: The model, or a handle on it: what its token table looks up stands for the text.
        text: The prompt.
        prefix: δ, at least one row; on any device.

    Returns:
        One prompt of the full length. Its ids name the text's first token where the prefix stands, which is none.

    Raises:
        WorkbenchError: Prefix and text together are too long.
    """
    k = len(prefix)
    check_room(model, [text], k)
    (ids,) = model.token_ids([text]).ids
    longer = torch.cat([ids[:, :1], ids[:, 1:2].expand(-1, k), ids[:, 1 : ids.shape[1] - k]], dim=1)
    told = model.token_embeddings(TokenIds((longer,)))
    (rows,) = told.embeddings
    return TokenEmbeddings(told.ids, (torch.cat([rows[:, :1], prefix[None].to(rows), rows[:, 1 + k :]], dim=1),))  # (1)


def check_room(model: Diffusion, texts: Sequence[str], k: int) -> None:
    """For those who want to know before they begin.

    Args:
        model: The model; of several tokenizers the first counts.
        texts: The prompts.
        k: Rows of the prefix.

    Raises:
        WorkbenchError: A prompt has no room for so many; the first is named.
    """
    part = model.architecture.segments()[0]
    for text in texts:
        taken = len(part.tokenizer(text, truncation=False, verbose=False).input_ids)
        if taken + k > part.length:
            raise WorkbenchError(
                f"{text!r} takes {taken} of the {part.length} positions that {model.name} reads: "
                f"a prefix of {k} does not fit.",
                "Shorten the prompt or the prefix.",
            )


def random_prefix(model: Diffusion, k: int, generator: torch.Generator) -> Prefix:
    """Rows of the token table.

    Args:
        model: The model; of several text encoders the first counts.
        k: How many.
        generator: Draws them, with replacement.

    Returns:
        A copy, in the table's dtype, on its device.
    """
    table = model.architecture.token_tables[0].weight
    return table[torch.randint(len(table), (k,), generator=generator).to(table.device)].detach().clone()  # type: ignore[index, arg-type, operator]


def attacked(
    loss: Callable[[Prefix], Float[Tensor, ""]], start: Prefix, *, kind: Kind, steps: int, lr: float,
    official: bool = False,
) -> Prefix:  # fmt: skip
    """A prefix that lowers a loss, by (2) or (3). Asks for no gradient but the prefix's.

    `official` replays AdvUnlearn's code (1c3f2b7): gradients are never zeroed, so that each step follows the sum of all
    so far; "fast" is (2) too, where the sum is replaced by its signs each time, so that later gradients, small beside
    ±1, hardly count; and the prefix that is handed over is the one before the last step.

    Args:
        loss: ℓ.
        start: δ₀.
        kind: (2) or (3).
        steps: n of (2), 1 or more; (3) is one step.
        lr: Of Adam, or α.
        official: Replays the slips.

    Returns:
        δ, without a graph.
    """
    if kind == "fast" and not official:
        return start - lr * _gradient(loss, start).sign()  # (3)
    prefix = start.detach().clone()
    optimiser, total = torch.optim.Adam([prefix], lr=lr), torch.zeros_like(prefix)
    before = prefix.clone()
    for _ in range(steps):
        before = prefix.clone()
        found = _gradient(loss, prefix)
        if official:
            total += found
            found = total.sign_() if kind == "fast" else total
        prefix.grad = found
        optimiser.step()  # (2)
    return before if official else prefix


def _gradient(loss: Callable[[Prefix], Tensor], prefix: Prefix) -> Prefix:
    with torch.enable_grad():
        asked = prefix.detach().clone().requires_grad_()
        return torch.autograd.grad(loss(asked), asked)[0]
