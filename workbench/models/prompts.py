"""Prompts as a model takes them: texts, token ids, or token embeddings. Attacks and soft prompts are not text."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import BatchEncoding

from saes.errors import WorkbenchError


@dataclass(frozen=True, eq=False)
class TokenIds:
    """Prompts as token ids, padded to the full length, begin and end tokens included.

    Args:
        ids: One tensor `[rows, tokens]` for each tokenizer of the model, in their order, each of its own length;
            `model.token_ids(texts)` makes them.
    """

    ids: tuple[Int64[Tensor, "rows _"], ...]

    def __len__(self) -> int:
        return len(self.ids[0])

    def rows(self) -> list["TokenIds"]:
        """Each prompt alone."""
        return [TokenIds(tuple(one[row : row + 1] for one in self.ids)) for row in range(len(self))]

    def same(self, other: "TokenIds") -> bool:
        """Whether both are the same ids, wherever they lie."""
        return len(self.ids) == len(other.ids) and all(
            torch.equal(one.cpu(), its.cpu()) for one, its in zip(self.ids, other.ids, strict=True)
        )


@dataclass(frozen=True, eq=False)
class TokenEmbeddings:
    """Prompts as what the text encoders look up for tokens, before positions are added. Gradients reach them.

    Args:
        ids: As in `TokenIds`. They say where a prompt begins and ends; what stands there is `embeddings`.
        embeddings: One tensor `[rows, tokens, d]` for each text encoder, in their order;
            `model.token_embeddings(prompts)` makes them.
    """

    ids: tuple[Int64[Tensor, "rows _"], ...]
    embeddings: tuple[Float[Tensor, "rows _ _"], ...]

    def __len__(self) -> int:
        return len(self.ids[0])

    def rows(self) -> list["TokenEmbeddings"]:
        """Each prompt alone."""
        parts = [slice(row, row + 1) for row in range(len(self))]
        return [
            TokenEmbeddings(tuple(one[part] for one in self.ids), tuple(one[part] for one in self.embeddings))
            for part in parts
        ]


SHOWN = 80  # characters of what is no prompt
Prompts = list[str] | TokenIds | TokenEmbeddings
# what callers may hand over; what is no prompt, as what only a denoiser reads (`Encoding`, `Begun`), is refused in a
# sentence
Given = str | Sequence[object] | TokenIds | TokenEmbeddings | Sized


def as_prompts(given: object) -> Prompts:
    """The prompts as a list of texts, or as they are. Raises `WorkbenchError` for none, and for what is no prompt."""
    prompts = [given] if isinstance(given, str) else given
    if not isinstance(prompts, TokenIds | TokenEmbeddings):
        if not isinstance(prompts, Iterable):
            raise WorkbenchError(
                f"{type(prompts).__name__} is no prompt that this model reads.",
                "Give text, TokenIds or TokenEmbeddings.",
            )
        return _texts(list(prompts))
    if not len(prompts):
        raise WorkbenchError("There are no prompts.", "Give at least one.")
    return prompts


def _texts(prompts: Sequence[object]) -> list[str]:
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    for prompt in prompts:
        if not isinstance(prompt, str):
            said = repr(prompt) if len(repr(prompt)) < SHOWN else f"An object of type {type(prompt).__name__}"
            raise WorkbenchError(f"{said} is no prompt.", "Give text, TokenIds or TokenEmbeddings.")
    if not texts:
        raise WorkbenchError("There are no prompts.", "Give at least one.")
    return texts


def one_by_one(prompts: Prompts) -> list[Any]:
    """Each prompt alone: a text, or ids or embeddings of one row."""
    return prompts.rows() if isinstance(prompts, TokenIds | TokenEmbeddings) else prompts


def joined(prompts: Sequence[Any]) -> Prompts:
    """What `one_by_one` took apart."""
    if isinstance(prompts[0], str):
        return list(prompts)
    ids = tuple(torch.cat(parts) for parts in zip(*(one.ids for one in prompts), strict=True))
    if isinstance(prompts[0], TokenIds):
        return TokenIds(ids)
    return TokenEmbeddings(
        ids, tuple(torch.cat(parts) for parts in zip(*(one.embeddings for one in prompts), strict=True))
    )


def check_ids(tokenizers: dict[str, Any], prompts: TokenIds | TokenEmbeddings) -> None:
    """Raises `WorkbenchError` for ids for another number of tokenizers, and ids that one does not have."""
    if len(tokenizers) != len(prompts.ids):
        raise WorkbenchError(
            f"The model has {len(tokenizers)} tokenizers, and ids are given for {len(prompts.ids)}.",
            "Start from model.token_ids(texts), which gives them for all.",
        )
    for (name, tokenizer), ids in zip(tokenizers.items(), prompts.ids, strict=True):
        if ids.numel() and (int(ids.max()) >= len(tokenizer) or int(ids.min()) < 0):
            raise WorkbenchError(
                f"The {name} has the ids 0 to {len(tokenizer) - 1}; {int(ids.min())} to {int(ids.max())} were given.",
                "Choose among these.",
            )


@contextmanager
def tokenized(holder: Any, names: Sequence[str], prompts: TokenIds | TokenEmbeddings) -> Iterator[None]:
    """In the body, the tokenizers of `holder` answer any text with the ids of the prompts.

    Args:
        holder: The pipeline.
        names: Its attributes that are tokenizers, in the order of `prompts.ids`.
        prompts: What they are to say.

    Raises:
        WorkbenchError: For another number of tokenizers, ids of another length, and ids beyond the vocabulary.
    """
    before = {name: getattr(holder, name) for name in names}
    check_ids(before, prompts)
    told = {name: _Told(before[name], ids) for name, ids in zip(names, prompts.ids, strict=True)}
    vars(holder).update(told)  # past the pipeline's own `__setattr__`, which would note it in its configuration
    try:
        yield
    finally:
        vars(holder).update(before)


@contextmanager
def embedded(tables: Sequence[nn.Module], prompts: TokenEmbeddings) -> Iterator[None]:
    """In the body, the token tables hand over the embeddings of the prompts, before any site sees them."""
    if len(tables) != len(prompts.embeddings):
        raise WorkbenchError(
            f"The model has {len(tables)} text encoders, and embeddings are given for {len(prompts.embeddings)}.",
            "Start from model.token_embeddings(prompts).",
        )
    hooks = [
        table.register_forward_hook(lambda module, args, out, given=given: _of(given, out), prepend=True)
        for table, given in zip(tables, prompts.embeddings, strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Told:
    """A tokenizer that answers with given ids, and is the real one in all else."""

    def __init__(self, real: Any, ids: Tensor) -> None:
        self._real, self._ids = real, ids

    def __call__(self, *_: Any, **__: Any) -> BatchEncoding:
        mask = (self._ids != self._real.pad_token_id).long()
        return BatchEncoding({"input_ids": self._ids, "attention_mask": mask})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _of(given: Tensor, looked_up: Tensor) -> Tensor:
    if given.shape != looked_up.shape:
        raise WorkbenchError(
            f"Token embeddings of shape {tuple(given.shape)} were given where the encoder looks up "
            f"{tuple(looked_up.shape)}.",
            "Start from model.token_embeddings(prompts), which pads to the full length.",
        )
    return given.to(looked_up.device, looked_up.dtype)
