"""The prompts of a study: sentences that hold a word, with that word and with others in its place."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from saes.errors import WorkbenchError
from workbench.models import Model
from workbench.words import pattern


class Variant(NamedTuple):
    """One picture to make: the sentence that it belongs to, the word in it, the prompt, and the seed."""

    context: int
    word: str
    prompt: str
    seed: int


def swapped(prompt: str, word: str, other: str) -> str:
    """The prompt with `other` in the place of `word`, "a" and "an" following suit.

    Raises `WorkbenchError` unless the word stands in it exactly once.
    """
    named = re.compile(rf"(?:\b(an?) )?{pattern(word)}", re.IGNORECASE)
    found = named.findall(prompt)
    if len(found) != 1:
        raise WorkbenchError(
            f"The prompt {prompt!r} names {word!r} {len(found) or 'not'}{' times' if found else ''}.",
            "A study's prompts name the concept once, for another word to take its place.",
        )

    def replacement(match: re.Match[str]) -> str:
        if not match[1]:
            return other
        return f"{match[1][0]}{'n' if other[0].lower() in 'aeiou' else ''} {other}"

    return named.sub(replacement, prompt)


def with_word(prompts: Sequence[str], word: str, others: Sequence[str]) -> list[str]:
    """Prompt i with word i of `others`, going round: as many prompts without the word."""
    return [swapped(prompt, word, others[i % len(others)]) for i, prompt in enumerate(prompts)]


def rows(prompts: Sequence[str], word: str, words: Sequence[str], seeds: int, seed: int) -> list[Variant]:
    """Every prompt with every one of `words` in the place of `word`, at the same `seeds` seeds for all of them."""
    return [
        Variant(context, other, swapped(prompt, word, other), 1000 * seed + seeds * context + number)
        for other in words
        for context, prompt in enumerate(prompts)
        for number in range(seeds)
    ]


def check_readings(model: Model, sentences: Sequence[Sequence[str]]) -> None:
    """Raises `WorkbenchError` if two of these sentences, given by word, are the same tokens to the model.

    Capitals and spaces make no other sentence, and nor does what lies beyond the token limit.
    """
    known: dict[tuple[int, ...], str] = {}
    every = [prompt for own in sentences for prompt in own]
    for prompt, row in zip(every, model.tokens(every), strict=True):
        if row.ids in known:
            raise WorkbenchError(
                f"The model reads {prompt!r} as it reads {known[row.ids]!r}.",
                "Choose other words or prompts, within the token limit.",
            )
        known[row.ids] = prompt


def check_lengths(model: Model, named: Sequence[str], others: Sequence[Sequence[str]]) -> None:
    """Raises `WorkbenchError` unless each sentence has as many tokens with every other word."""
    expected = [len(row.ids) for row in model.tokens(named)]
    for own in others:
        for prompt, row, length in zip(own, model.tokens(own), expected, strict=True):
            if len(row.ids) != length:
                raise WorkbenchError(
                    f"{prompt!r} has {len(row.ids)} tokens where the concept's own prompt has {length}.",
                    "Spare words of as many tokens as the concept, so that positions correspond.",
                )
