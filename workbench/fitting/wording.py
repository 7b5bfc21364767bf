"""Prompts of an anchor, and how each is worded so that it asks for the concept instead."""

import re
from dataclasses import replace
from typing import Literal

import torch

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.fitting.contents import CONTENTS

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
    """
    named = whole(concept.anchor)
    beside = wording == "by kind" and concept.kind in AROUND
    captions = tuple(one for one in concept.captions if beside or named.search(one))
    if captions or beside:
        return captions or CONTENTS[concept.kind]
    scenes = CONTENTS[concept.kind] if wording == "by kind" else ()
    return tuple(dict.fromkeys(replace(concept, templates=(*(concept.templates or ()), *scenes)).anchor_prompts()))


def target_prompt(prompt: str, concept: Concept, wording: Wording, generator: torch.Generator) -> str:
    """An anchor prompt as one for the concept: with the concept beside it for a style or what is unsafe, else (and for
    "replace" always) with the concept's name in the anchor's place."""
    sentences = AROUND.get(concept.kind) if wording == "by kind" else None
    if sentences is None:
        return replaced(prompt, concept.anchor, concept.name)
    drawn = sentences[int(torch.randint(len(sentences), (), generator=generator))]
    return drawn.format(c=prompt, T=concept.name)


def replaced(prompt: str, word: str, by: str) -> str:
    """The prompt with `by` wherever it has the whole word, in any case, "a" or "an" before it as it should be.

    Raises `WorkbenchError` for a prompt without it: it would be taught to be answered as before.
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
    """Finds the word with the article before it, in any case, where it is no part of a longer one."""
    return re.compile(rf"(?<!\w)(?:(?P<article>an?) )?{re.escape(word)}(?!\w)", re.IGNORECASE)
