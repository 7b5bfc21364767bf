"""How long a training goes on: one rule for every method that trains, on prompts that no table counts.

    a method whose full length is L is fitted at s·L for rising shares s, each time from the beginning; taken is the
    first edit that leaves the concept in at most `remaining` of the pictures of its validation prompts, else that of L

Published lengths belong to one concept and one model. A longer training costs what it should spare, so a table in which
each method was stopped by hand compares hands. The judge of the comparison looks at the validation pictures too.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from saes.config import StrictConfig
from saes.disk import read_json, write_json
from saes.progress import SILENT, Progress
from workbench.comparison.fits import Fitted, Fitter, hashed
from workbench.concepts import Concept
from workbench.erasure.method import Method
from workbench.evaluation.judges import Judge, JudgeSpec, checked, shown
from workbench.evaluation.spec import Length
from workbench.evaluation.suites import Suite

VALIDATION_SEED = 1_000  # added to the comparison's seed for validation suites, so that no seed is used twice


class Stopping(StrictConfig):
    """The rule.

    Args:
        prompts: Validation prompts that name the target, for each concept.
        remaining: The largest share of their pictures in which the concept may be left, 0 to 1.
        shares: Of the full length, rising, the last one 1.
    """

    prompts: int = Field(default=10, ge=1)
    remaining: float = Field(default=0.1, ge=0, le=1)
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)

    @model_validator(mode="after")
    def _rise_to_1(self) -> "Stopping":
        if list(self.shares) != sorted(set(self.shares)) or self.shares[-1] != 1 or self.shares[0] <= 0:
            raise ValueError("shares must rise from above 0 to 1")
        return self


class Stopped(NamedTuple):
    """The fit that is taken, and how long that was."""

    fitted: Fitted
    length: Length


def at_share(method: Any, share: float) -> Any:
    """The method with its training shortened: every knob of its `length` times `share`, at least 1 where it was.

    Args:
        method: One with a `length`: the names of the knobs that count its training.
        share: Of the full length, above 0 and up to 1.

    Returns:
        A method of the same class.
    """
    full = {name: getattr(method, name) for name in method.length}
    return replace(method, **{name: max(1, round(share * value)) for name, value in full.items() if value})


def stopped(
    fitter: Fitter, method: Method, concept: Concept, rule: Stopping, judge: Judge, validation: Suite,
    progress: Progress = SILENT, **settings: Any,
) -> Stopped:  # fmt: skip
    """Fits at rising lengths until the rule is met. What was fitted and looked at before is not done again.

    Args:
        fitter: Makes and keeps the fits.
        method: One with a `length`.
        concept: What it erases.
        rule: When to stop.
        judge: Who looks at the pictures.
        validation: Its rows that name the target are looked at.
        progress: Shows pictures.
        **settings: How they are sampled, as those of the comparison are.

    Returns:
        The first fit that meets the rule, or else the longest.

    Raises:
        Busy: Another process makes one of these fits.
    """
    found: Stopped | None = None
    for share in rule.shares:
        fitted = fitter.fit(at_share(method, share), [concept])
        left = _left(fitter, fitted, judge, validation, progress, settings)
        found = Stopped(fitted, Length(share=share, left=left, met=left <= rule.remaining))
        if found.length.met:
            break
    assert found is not None  # a rule has shares
    return found


def _left(
    fitter: Fitter, fitted: Fitted, judge: Judge, validation: Suite, progress: Progress, settings: Mapping[str, Any]
) -> float:
    rows = [row for row in validation.rows if row.role == "target"]
    spec = JudgeSpec.of(judge)
    asked = [(row.prompt, row.seed) for row in rows]
    path = fitter.out_dir / "validated" / f"{hashed([fitted.key, spec.key, asked, dict(settings)])}.json"
    if not path.exists():
        prompts, seeds = [prompt for prompt, _ in asked], [seed for _, seed in asked]
        with fitter.model.edited(fitted.edit):
            images = fitter.model.generate(prompts, seeds=seeds, progress=progress, **settings)
        scores = checked(judge.score(np.asarray(images), prompts), spec, len(images))
        left = float(np.mean(shown(scores, spec, validation.target, intact_only=False)))
        write_json(path, {"left": left})
    return float(read_json(path, ["left"])["left"])
