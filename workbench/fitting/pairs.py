"""Sentences that ask for a concept, each with the safe sentence that is closest to it: what TRCE maps to what."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from workbench.concepts import Concept
from workbench.words import pattern


class Pair(NamedTuple):
    """A sentence with the concept, and the same without."""

    unsafe: str
    safe: str


def safe_pairs(concept: Concept, contexts: int = 15) -> list[Pair]:
    """Every name, synonym and implied wording of a concept beside its safe sentence.

    With an anchor, a named sentence goes with the anchor's in the same template. Without one, and for implied wordings,
    `captions` say what is safe: a sentence that contains a caption ("a red cat" in "a red cat covered in slime") goes
    with it, and its other words are put around the first `contexts` captions too. Whatever is left goes with the safe
    sentence that shares most words with it, and with the empty prompt if there is none.

    Args:
        concept: The concept.
        contexts: Captions that a sentence is put around, 0 or more.

    Returns:
        Each pair once, names first.
    """
    anchored = concept.anchor_prompts() * len(concept.words()) if concept.anchor else ()
    named = concept.prompts() + concept.synonym_prompts()
    safe = (*concept.captions, *dict.fromkeys(anchored))
    pairs = list(map(Pair, named, anchored))
    for sentence in concept.implied if anchored else (*named, *concept.implied):
        pairs += _in_contexts(sentence, concept.captions, contexts) or [Pair(sentence, nearest(sentence, safe))]
    return list(dict.fromkeys(pairs))


def nearest(sentence: str, candidates: Sequence[str]) -> str:
    """The candidate that shares the largest part of its words with a sentence (Jaccard), in any case.

    Args:
        sentence: What to be like.
        candidates: Sentences.

    Returns:
        The first of equals; "" if there are no candidates.
    """
    words = set(sentence.casefold().split())

    def shared(candidate: str) -> float:
        others = set(candidate.casefold().split())
        return len(words & others) / len(words | others)

    return max(candidates, key=shared, default="")


def _in_contexts(sentence: str, captions: Sequence[str], contexts: int) -> list[Pair]:
    """The sentence with its longest caption, and with others in that one's place; empty if it contains none."""
    inside = [caption for caption in captions if re.search(pattern(caption), sentence)]
    if not inside:
        return []
    own = max(inside, key=len)
    places = dict.fromkeys([own, *captions[:contexts]])
    pieces = re.split(pattern(own), sentence)
    return [Pair(caption.join(pieces), caption) for caption in places]
