"""Encoded prompts, computed once a model and remembered by their text."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from saes.progress import SILENT, Progress
from workbench.hooks import Role
from workbench.models import Diffusion
from workbench.models.diffusion.architecture import Reads
from workbench.models.encoding import Encoding

BATCH = 32
REMEMBERED_BYTES = 512 * 2**20

Encoded = tuple[Tensor, Tensor | None]  # embeddings [tokens, d_text], pooled [d_pooled]


class Memory:
    """Encoded prompts of one model as it was; the one that was used longest ago goes first.

    Args:
        limit: Bytes of all of them together.
        state: `Model.prompt_state` of then.
    """

    def __init__(self, limit: int, state: Any = None) -> None:
        self.rows: OrderedDict[str, Encoded] = OrderedDict()
        self.limit, self.bytes = limit, 0
        self.state = state

    def add(self, prompt: str, row: Encoded) -> None:
        """Remembers a row; what was used longest ago is forgotten while all rows together are above the limit.

        Args:
            prompt: The key.
            row: What was encoded.
        """
        self.rows[prompt] = row
        self.bytes += size_of(row)
        while self.bytes > self.limit and len(self.rows) > 1:
            self.bytes -= size_of(self.rows.popitem(last=False)[1])

    def get(self, prompt: str) -> Encoded | None:
        """Looks a row up, which counts as a use.

        Args:
            prompt: The key.

        Returns:
            The row, None if it is not remembered.
        """
        if prompt in self.rows:
            self.rows.move_to_end(prompt)
        return self.rows.get(prompt)


MEMORIES: "WeakKeyDictionary[Diffusion, Memory]" = WeakKeyDictionary()


@torch.no_grad()
def embed(model: Diffusion, prompts: Sequence[str], reads: Reads = "embeddings") -> Float[Tensor, "prompts *row"]:
    """Encoded prompts as the denoiser gets them.

    Every distinct prompt is encoded once and remembered (up to half a gigabyte a model), except inside
    `model.edited(…)`, where the text encoder may be another one.

    Args:
        model: The model.
        prompts: At least one; repeated ones cost nothing.
        reads: "embeddings" for the tokens' rows, "pooled" for what SDXL, SD3 and Flux add to the time embedding.

    Returns:
        `[prompts, tokens, d_text]`, or pooled `[prompts, d_pooled]`, in float32 or finer, on the model's device.
    """
    memory = _memory(model)
    known = {prompt: memory.get(prompt) for prompt in prompts}
    new = [prompt for prompt, row in known.items() if row is None]
    for start in range(0, len(new), BATCH):
        batch = new[start : start + BATCH]
        encoded = model.encode(batch)
        for i, prompt in enumerate(batch):
            pooled = None if encoded.pooled is None else encoded.pooled[i].clone()
            known[prompt] = (encoded.embeddings[i].clone(), pooled)
            memory.add(prompt, known[prompt])  # type: ignore[arg-type]
    stacked = torch.stack([known[prompt][reads == "pooled"] for prompt in prompts])  # type: ignore[index, misc]
    return stacked.to(torch.promote_types(stacked.dtype, torch.float32))


@torch.no_grad()
def encoded(model: Diffusion, prompts: Sequence[str], role: Role = "cond") -> Encoding:
    """Encoded prompts as `model.encode` gives them, each encoded once and remembered as those of `embed` are.

    Args:
        model: The model.
        prompts: At least one.
        role: The branch of guidance that the rows belong to: edits of activations leave "uncond" as it is.

    Returns:
        A row for each prompt, in the model's dtype.
    """
    memory = _memory(model)
    rows = []
    for prompt in prompts:
        row = memory.get(f"{role}: {prompt}")
        if row is None:
            one = model.encode(prompt, role)
            row = (one.embeddings[0].clone(), None if one.pooled is None else one.pooled[0].clone())
            memory.add(f"{role}: {prompt}", row)
        rows.append(row)
    embeddings, pooled = zip(*rows, strict=True)
    stacked = None if pooled[0] is None else torch.stack(pooled)
    return Encoding(torch.stack(embeddings), stacked, (role,) * len(rows), tuple(prompts) if role == "cond" else None)


def embed_in_batches(
    model: Diffusion, prompts: Sequence[str], reads: Reads = "embeddings", progress: Progress = SILENT
) -> Iterator[Float[Tensor, "prompts *row"]]:
    """The rows of `embed` for any number of prompts in bounded memory.

    Args:
        model: The model.
        prompts: Any number.
        reads: As for `embed`.
        progress: Shows the batches.

    Yields:
        The rows of `BATCH` prompts at a time, in their order.
    """
    for start in progress(range(0, len(prompts), BATCH), "text embeddings"):
        yield embed(model, prompts[start : start + BATCH], reads)


def _memory(model: Diffusion) -> Memory:
    """What is remembered of the model as it is now: another text encoder, adapter or vocabulary starts anew."""
    if model.is_edited:
        return Memory(REMEMBERED_BYTES)
    state = model.prompt_state()
    if model not in MEMORIES or MEMORIES[model].state != state:
        MEMORIES[model] = Memory(REMEMBERED_BYTES, state)
    return MEMORIES[model]


def size_of(row: Encoded) -> int:
    """The bytes of a row.

    Args:
        row: What was encoded.

    Returns:
        Those of its tensors together.
    """
    return sum(tensor.nbytes for tensor in row if tensor is not None)
