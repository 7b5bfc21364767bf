"""Prompts of an anchor, and how each is worded so that it asks for the concept instead."""

import re
from dataclasses import replace
from typing import Literal

import torch

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.fitting.contents import CONTENTS
from workbench.words import pattern

Wording = Literal["by kind", "replace"]

AROUND = {  # kind → sentences that put the concept T beside a prompt c; one is drawn, all with the same chance
    "style": ("{c}, in the style of {T}", "in {T}'s style, {c}", "in {T}'s style, {c}"),
    "unsafe": ("{T}, {c}", "in {T} style, {c}", "{c}, {T}"),
}


def anchor_prompts(concept: Concept, wording: Wording) -> tuple[str, ...]:
    """The prompts that a concept's own ones are to be answered like.

    Where the concept is put beside a prompt, its captions; where it replaces the anchor, its captions that name the
    anchor. Without any, "by kind" gives ordinary scenes of the kind (`CONTENTS`), with the anchor in the concept's own
    templates and in theirs where it is to be replaced; "replace" gives the anchor in the concept's own templates alone.

    Args:
        concept: The concept, with an anchor where one is to be replaced.
        wording: "by kind" puts a style, or what is unsafe, beside a prompt; "replace" always replaces the anchor.

    Returns:
        Prompts, each once.
    """
    named = whole(concept.anchor)
    beside = wording == "by kind" and concept.kind in AROUND
    captions = tuple(one for one in concept.captions if beside or named.search(one))
    if captions or beside:
        return captions or CONTENTS[concept.kind]
    scenes = CONTENTS[concept.kind] if wording == "by kind" else ()
    return tuple(dict.fromkeys(replace(concept, templates=(*(concept.templates or ()), *scenes)).anchor_prompts()))


def target_prompt(prompt: str, concept: Concept, wording: Wording, generator: torch.Generator) -> str:
    """An anchor prompt as one for the concept.

    Args:
        prompt: One of `anchor_prompts`.
        concept: The concept.
        wording: "by kind" puts a style, or what is unsafe, beside the prompt. Else, and always for "replace", the
            concept's name takes the anchor's place.
        generator: Draws how it is put beside the prompt.

    Returns:
        The prompt.

    Raises:
        WorkbenchError: The anchor is to be replaced and is not in the prompt.
    """
    sentences = AROUND.get(concept.kind) if wording == "by kind" else None
    if sentences is None:
        return replaced(prompt, concept.anchor, concept.name)
    drawn = sentences[int(torch.randint(len(sentences), (), generator=generator))]
    return drawn.format(c=prompt, T=concept.name)


def replaced(prompt: str, word: str, by: str) -> str:
    """The prompt with another word wherever it has the whole word, in any case, "a" or "an" before it as it should be.

    Args:
        prompt: The prompt.
        word: What is replaced.
        by: What takes its place.

    Returns:
        The new prompt.

    Raises:
        WorkbenchError: The prompt does not have the word: it would be taught to be answered as before.
    """

    def put(found: re.Match) -> str:
        article = found["article"]
        if article is None:
            return by
        return article[0] + ("n " if by[0].lower() in "aeiou" else " ") + by

    new, count = whole(word).subn(put, prompt)
    if not count:
        raise WorkbenchError(
            f"The prompt {prompt!r} does not have the word {word!r}, so nothing in it can be replaced.",
            "Give prompts that name the anchor.",
        )
    return new


def whole(word: str) -> re.Pattern:
    """A pattern that finds a word where it is no part of a longer one.

    Args:
        word: The word, or several.

    Returns:
        A pattern in any case, whose group "article" is the "a" or "an" before the word, if there is one.
    """
    return re.compile(rf"(?:\b(?P<article>an?) )?{pattern(word)}", re.IGNORECASE)
