"""Which rows of an encoded prompt stand for a concept: where its words are, and where the prompt ends.

Positions are found by the characters that tokens are of, never by counting words: a word may be several tokens, and so
may a comma.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.fitting.embedding import embed, embed_in_batches
from workbench.models import Diffusion
from workbench.models.architecture import Segment
from workbench.models.diffusion.architecture import Reads
from workbench.models.word_places import places, reading, written_out


def last_subject(model: Diffusion, prompt: str, words: str) -> tuple[int, ...]:
    """Where the last token of words stands in an encoded prompt.

    In an empty prompt, the begin token, as in UCE's code; with T5, which has none, the end token.

    Args:
        model: The model.
        prompt: The prompt.
        words: Words of it, which may be several tokens; their last occurrence counts.

    Returns:
        A row of the encoding for each tokenizer that it comes from.

    Raises:
        WorkbenchError: The words are not in the prompt, or lie beyond the token limit.
    """
    return tuple(part.start + _last_place(model, part, prompt, words)[-1] for part in model.architecture.segments())


def end_of_text(model: Diffusion, prompt: str) -> tuple[int, ...]:
    """Where the first end token of a prompt stands.

    Args:
        model: The model.
        prompt: The prompt; one beyond the limit is cut.

    Returns:
        A row of the encoding for each tokenizer.
    """
    return tuple(
        part.start + min(len(reading(model.pipe, part.tokenizer, prompt).ids), part.length) - 1
        for part in model.architecture.segments()
    )


def ends_of_text(
    model: Diffusion, prompts: Sequence[str], progress: Progress = SILENT
) -> Float[Tensor, "prompts tokenizers d"]:
    """The rows of the first end tokens, which sum a prompt up.

    Args:
        model: The model.
        prompts: Any number, at least one.
        progress: Shows the batches.

    Returns:
        `[prompts, tokenizers, d]`, in float32 or finer.
    """
    encoded = (rows for batch in embed_in_batches(model, prompts, progress=progress) for rows in batch)
    return torch.stack([rows[list(end_of_text(model, text))] for text, rows in zip(prompts, encoded, strict=True)])


def subject_span(model: Diffusion, prompt: str, words: str) -> range:
    """The rows of all tokens of words in a prompt, for a model with one tokenizer.

    Args:
        model: The model; of several tokenizers the first counts.
        prompt: The prompt.
        words: Words of it; their last occurrence counts.

    Returns:
        A range of rows of the encoding.

    Raises:
        WorkbenchError: As `last_subject` does.
    """
    return _last_place(model, model.architecture.segments()[0], prompt, words)


def same_tokens(model: Diffusion, first: str, second: str) -> bool:
    """Whether two words are the same to every tokenizer, as "Fox" and "fox" are to CLIP's.

    Args:
        model: The model.
        first: One word, or several.
        second: The other.

    Returns:
        True if no tokenizer tells them apart.
    """
    return all(_content(model, part, first) == _content(model, part, second) for part in model.architecture.segments())


def refuse_same_tokens(model: Diffusion, concept: Concept, words: Sequence[str]) -> None:
    """Refuses an anchor that the model cannot tell from the concept: nothing would change.

    Args:
        model: The model.
        concept: With its anchor, if it has one.
        words: The concept's words that will be used.

    Raises:
        WorkbenchError: One of the words is the same tokens as the anchor.
    """
    if concept.anchor and any(same_tokens(model, word, concept.anchor) for word in words):
        raise WorkbenchError(
            f"{concept.name!r} and its anchor {concept.anchor!r} are the same tokens.", "Choose another anchor."
        )


def subject_rows(
    model: Diffusion,
    prompts: Sequence[str],
    words: Sequence[str],
    tokens: Literal["all", "last"] = "all",
    reads: Reads = "embeddings",
) -> Float[Tensor, "prompts n d"]:
    """The rows of several prompts that stand for their words.

    The latest of the subjects decides how many rows there are, so that prompts of equal form pair position by position.

    Args:
        model: The model.
        prompts: The prompts.
        words: Words of each, in the same order.
        tokens: "last" takes the last token of the words; "all" all from it to the end, end tokens and padding too.
        reads: "pooled" takes the pooled embedding instead, one row each.

    Returns:
        `[prompts, n, d]`, the tokenizers' rows one after another, in float32 or finer.

    Raises:
        WorkbenchError: As `last_subject` does.
    """
    encoded = embed(model, prompts, reads)
    if reads == "pooled":
        return encoded[:, None]
    parts = []
    places = zip(*(last_subject(model, *pair) for pair in zip(prompts, words, strict=True)), strict=True)
    for part, starts in zip(model.architecture.segments(), places, strict=True):
        n = 1 if tokens == "last" else part.start + part.length - max(starts)
        parts.append(torch.stack([own[start : start + n] for own, start in zip(encoded, starts, strict=True)]))
    return torch.cat(parts, dim=1)


def _last_place(model: Diffusion, part: Segment, prompt: str, words: str) -> range:
    """The tokens of the last occurrence of words, within the limit of a tokenizer."""
    if not prompt.strip():
        place = max(0, len(reading(model.pipe, part.tokenizer, prompt).ids) - 2)
        return range(place, place + 1)
    found = places(model.pipe, part.tokenizer, prompt, words)
    if not found:
        raise WorkbenchError(f"{words!r} is no word of the prompt {prompt!r}.", "Put the words into it.")
    if found[-1][-1] > part.length - 2:
        raise WorkbenchError(
            f"{words!r} ends at token {found[-1][-1]} of {prompt[:40]!r}…, and the model reads {part.length}.",
            "Shorten the prompt.",
        )
    return found[-1]


def _content(model: Diffusion, part: Segment, words: str) -> list[int]:
    """Token ids without begin and end."""
    text = written_out(model.pipe, part.tokenizer, words)
    return part.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
