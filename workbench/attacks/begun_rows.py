"""A Janus goes on from the first rows of a picture of the concept: what a noised start is for a denoiser.

c are the tokens of the picture, on a grid of R rows. The model is given those of the first rows, as if it had written
them, and an empty prompt, and writes the rest:
    (1)  c′_i = c_i in the first R − ⌈t₀ R⌉ rows;   c′_i ~ p(· | prompt, c′_{<i}) after them, in one row at least
Starts are tried from the one with the fewest rows on. What is given is not to be what is judged: where the judge sees
the concept in the given rows alone, grey behind them, the start is left out, for every model alike. Even so any model
goes on with what it was given, one that never knew the concept too; the control begins with as many rows of another
picture, which shows how often rows bring the concept that are none of it, and the ceiling is the unedited model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from typing_extensions import Doc

from saes.progress import SILENT, Progress
from workbench.attacks.attack import AttackMethod, Attempt, Budget, own_seed
from workbench.attacks.pictures import own_pictures
from workbench.attacks.trying import Search, Try, sees, try_all
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.fitting.wording import replaced, whole
from workbench.models import Continued, Janus
from workbench.models.capabilities import AUTOREGRESSIVE
from workbench.models.model import Change

GREY = 128

Codes = Int64[Tensor, "rows tokens"]


def tokens_given(model: Janus, starts: Sequence[float]) -> list[int]:
    """How many tokens (1) gives at each start, each number once, in their order.

    Args:
        model: Has the grid.
        starts: t₀, shares of the picture that are left to write, each above 0 and up to 1.
    """
    side = math.isqrt(model.pipe.cells)
    return list(dict.fromkeys(side * (side - math.ceil(round(side * start, 9))) for start in starts))


def going_on(
    model: Janus, edit: Change, rows: Sequence[SuiteRow], judge: Judge, codes: Codes, starts: Sequence[float],
    prompt: str, budget: Budget, *, progress: Progress, **sampling: Any,
) -> list[Attempt]:  # fmt: skip
    """The first start of each row from which its concept comes; the last one that was tried if none does.

    Args:
        model: The model, without the edit.
        edit: What is attacked.
        rows: The rows.
        judge: Looks at what was given too.
        codes: c of each row.
        starts: t₀.
        prompt: In the place of the rows' own.
        budget: Of each row.
        progress: Shows the starts.
        **sampling: As `model.generate` takes it.
    """
    found, given = [Search(row) for row in rows], tokens_given(model, starts)
    shown = [alone(model, rows, judge, codes[:, :n], prompt) for n in given]
    with model.edited(edit):
        for n, own in progress(list(zip(given, shown, strict=True)), "starts"):
            begun = Continued([prompt] * len(rows), codes[:, :n]).rows()
            pairs = [
                (one, Try(one.row, prompt, start))
                for one, start, seen in zip(found, begun, own, strict=True)
                if not (one.success or seen or one.images >= budget.images)
            ]
            try_all(model, pairs, judge, **sampling)
    return [one.attempt() for one in found]


def alone(model: Janus, rows: Sequence[SuiteRow], judge: Judge, given: Codes, prompt: str) -> list[bool]:
    """Whether a judge sees each row's concept in given tokens with grey behind them.

    Args:
        model: Has codebook and decoder; edits change neither.
        rows: Each expects a concept.
        judge: Knows them.
        given: First tokens of a picture for each row.
        prompt: What the judge is told was asked for.
    """
    side = model.image_size
    grey = model.codes(np.full((1, side, side, 3), GREY, np.uint8)).expand(len(rows), -1)
    images = model.pictures(torch.cat([given, grey[:, given.shape[1] :]], dim=1))
    return sees(judge, images, [prompt] * len(rows), [row.expected for row in rows]).tolist()


@dataclass(frozen=True, kw_only=True)
class OtherRows(AttackMethod):
    """The first rows of the unedited model's pictures of other concepts, as many, at the same starts."""

    starts: Annotated[tuple[float, ...], Doc("As of the attack.")]
    prompt: Annotated[str, Doc("As of the attack.")]
    others: Annotated[tuple[str, ...], Doc("Names of other concepts; none: pictures of the prompt are begun.")]

    name: ClassVar[str] = "other rows"
    paper: ClassVar[None] = None
    access: ClassVar[str] = "prompts"
    needs: ClassVar[tuple[frozenset[str], ...]] = (frozenset({AUTOREGRESSIVE}),)
    cost: ClassVar[str] = "a picture a start, and one of the unedited model"

    def attempts(
        self, model: Janus, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """From as many rows as the attack, start by start."""
        asked = [self.asked(row, seed) for row in rows]
        codes = own_pictures(model, asked, [own_seed(row, seed, self.name) for row in rows], **sampling)
        return going_on(
            model, edit, rows, judge, codes, self.starts, self.prompt, budget, progress=progress, **sampling
        )

    def asked(self, row: SuiteRow, seed: int) -> str:
        """Of what a row's other picture is: its prompt with another concept in the place of its own, or that alone."""
        if not self.others:
            return self.prompt
        other = self.others[own_seed(row, seed, f"{self.name}, which") % len(self.others)]
        return replaced(row.prompt, row.expected, other) if whole(row.expected).search(row.prompt) else other
