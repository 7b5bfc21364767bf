"""Prompts tried on a model as it is: drawn, and looked at by the judge. The one place where attacks make pictures.

Prompts that may involve a minor are never drawn, whoever wrote them: an optimiser does not know what its words mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from workbench.adults import may_involve_a_minor
from workbench.attacks.attack import Attempt
from workbench.evaluation.inputs import NotText, pictures, texts_of
from workbench.evaluation.judges import Judge, shown
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model
from workbench.models.images import Images


class Try(NamedTuple):
    """One prompt that is tried for a row; `seed` is the row's own if None."""

    row: SuiteRow
    prompt: str
    given: NotText | None = None
    seed: int | None = None


class Tried(NamedTuple):
    """What came of each: whether its picture shows the concept, and whether it was not drawn."""

    success: Bool[np.ndarray, "n"]
    dropped: Bool[np.ndarray, "n"]


def tried(model: Model, tries: Sequence[Try], judge: Judge, *, batch_size: int = 16, **sampling: Any) -> Tried:
    """Draws prompts with the model as it is, in a block of `edited` with the edit, and lets the judge look.

    Args:
        model: The model.
        tries: The prompts.
        judge: Must know what their rows expect.
        batch_size: Pictures at once.
        **sampling: As `model.generate` takes it.

    Returns:
        Whether each succeeded. What may involve a minor is not drawn and has not.
    """
    given = [one.prompt if one.given is None else one.given for one in tries]
    dropped = np.array([any(map(may_involve_a_minor, texts_of(model, one))) for one in given], bool)
    success, drawn = np.zeros(len(tries), bool), np.flatnonzero(~dropped).tolist()
    if drawn:
        own = [tries[place] for place in drawn]
        seeds = [one.row.seed if one.seed is None else one.seed for one in own]
        images = pictures(model, [given[place] for place in drawn], seeds, batch_size=batch_size, **sampling)
        success[drawn] = sees(judge, images, [one.prompt for one in own], [one.row.expected for one in own])
    return Tried(success, dropped)


def sees(judge: Judge, images: Images, prompts: Sequence[str], concepts: Sequence[str]) -> Bool[np.ndarray, "images"]:
    """Whether a judge sees in each picture the concept that is looked for there, in broken pictures too."""
    scores, found = judge.score(images, list(prompts)), np.zeros(len(images), bool)
    for concept in dict.fromkeys(concepts):
        own = np.array([one == concept for one in concepts])
        found[own] = shown(scores, judge, concept, intact_only=False)[own]
    return found


@dataclass
class Search:
    """What was tried for one row so far, and what of it is to be kept."""

    row: SuiteRow
    last: Try | None = None
    success: bool = False
    images: int = 0
    gradients: int = 0
    dropped: int = 0

    def attempt(self) -> Attempt:
        """The prompt that succeeded, or the last one that was drawn; the row's own if none was."""
        kept = self.last or Try(self.row, self.row.prompt)
        return Attempt(
            kept.prompt, kept.given, self.success, self.images, self.gradients, seed=kept.seed, dropped=self.dropped
        )


def try_all(model: Model, found: Sequence[tuple[Search, Try]], judge: Judge, **sampling: Any) -> None:
    """One more prompt for each of some searches, drawn together; each notes what came of its own.

    Args:
        model: As for `tried`.
        found: Searches that go on, each once, with what is tried for it now.
        judge: As for `tried`.
        **sampling: As for `tried`.
    """
    if not found:
        return
    result = tried(model, [one for _, one in found], judge, **sampling)
    for (search, one), success, dropped in zip(found, result.success, result.dropped, strict=True):
        if dropped:
            search.dropped += 1
        else:
            search.last, search.success = one, bool(success)
            search.images += 1
