"""The verdict of a study: each of its tests lies above the margin, below it, or is open.

A test asks whether a mean difference θ is more than δ, the smallest that matters. It is *above* if θ̂ > δ and *below*
if θ̂ < δ, where the two-sided test against θ = δ is significant after Holm's correction over all tests of the study.
    supported        all tests are above
    not supported    one at least is below: the data exclude a difference that matters
    undecided        neither; then the number of prompts says what would decide it
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from workbench.studies.conditions import Condition
from workbench.studies.effects import Outcomes
from workbench.studies.statistics import Estimate, Needed, holm, needed, p_value

Outcome = Literal["supported", "not supported", "undecided"]
DAMAGE = 0.10  # more broken pictures than this, beyond those of the unedited model, are worth a warning


class Test(NamedTuple):
    """One comparison with the margin, and what would decide it."""

    question: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float
    decision: Literal["above", "below", "open"]
    needed: Needed


@dataclass(frozen=True)
class Verdict:
    """The outcome, the sentence that says it, and the tests that it is from."""

    outcome: Outcome
    sentence: str
    tests: tuple[Test, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; an infinite number of prompts is null."""
        return {"outcome": self.outcome, "sentence": self.sentence, "tests": [_plain(test) for test in self.tests]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Verdict":
        """Back from `as_json`."""
        tests = [Test(**{**test, "needed": _needed(**test["needed"])}) for test in value["tests"]]
        return cls(value["outcome"], value["sentence"], tuple(tests))


def _plain(test: Test) -> dict[str, Any]:
    prompts = test.needed.prompts if isfinite(test.needed.prompts) else None
    return {**test._asdict(), "needed": {"prompts": prompts, "controls": test.needed.controls}}


def _needed(prompts: float | None, controls: int) -> Needed:
    return Needed(inf if prompts is None else prompts, controls)


def judge_study(outcomes: Outcomes, n_controls: int, words: str) -> Verdict:
    """The verdict on what the pictures show. `words` is what the subject is called."""
    study = outcomes.study
    found = dict(_questions(outcomes, n_controls))
    ps = [p_value(each.draws, study.smallest) for each in found.values()]
    tests = tuple(
        Test(
            question, each.value, each.low, each.high, p, corrected,
            _decision(each.value, study.smallest, corrected, study.alpha),
            needed(each, study.smallest, alpha=study.alpha, tests=len(found)),
        )
        for (question, each), p, corrected in zip(found.items(), ps, holm(ps), strict=True)
    )  # fmt: skip
    outcome = outcome_of(tests)
    return Verdict(outcome, sentence(outcomes, words, outcome, tests, n_controls), tests)


def outcome_of(tests: tuple[Test, ...]) -> Outcome:
    """From the decisions of all tests."""
    decisions = {test.decision for test in tests}
    return "not supported" if "below" in decisions else "undecided" if "open" in decisions else "supported"


def _decision(value: float, margin: float, p: float, alpha: float) -> Literal["above", "below", "open"]:
    if p > alpha:
        return "open"
    return "above" if value > margin else "below"


def _questions(outcomes: Outcomes, n_controls: int) -> Iterator[tuple[str, Estimate]]:
    """What is compared with the margin, in the order of the report."""
    study, name = outcomes.study, outcomes.study.concept.name
    subject = Condition("subject", study.dose)
    randoms = [Condition("random", study.dose, draw + 1) for draw in range(n_controls)]
    if study.claim == "specific":
        own, spared = outcomes.effects([subject], name), [outcomes.effects([subject], word) for word in study.sparing]
        for word, other in zip(study.sparing, spared, strict=True):
            yield f"{name} is lost more than {word}", outcomes.estimate(own - other)  # effects (4)
        drawn = outcomes.effects(randoms, name) - _mean([outcomes.effects(randoms, word) for word in study.sparing])
        yield "the difference is larger than with random parts", outcomes.estimate(own - _mean(spared) - drawn)
        return
    for word in [name] if study.claim == "necessary" else study.sparing:
        what = f"{name} is lost" if study.claim == "necessary" else f"{name} appears in prompts of {word}"
        own, drawn = (outcomes.effects(some, word) for some in ([subject], randoms))
        yield what, outcomes.estimate(own)
        yield f"{what} more than with random parts", outcomes.estimate(own - drawn)  # effects (3)


def _mean(parts: Sequence[Float[np.ndarray, "sentences controls"]]) -> Float[np.ndarray, "sentences controls"]:
    return np.mean(parts, axis=0)


def sentence(outcomes: Outcomes, words: str, outcome: Outcome, tests: tuple[Test, ...], n_controls: int) -> str:
    """The verdict in one or two sentences, with the numbers that it rests on."""
    study = outcomes.study
    claim = {
        "necessary": f"necessary for {study.concept.name}",
        "sufficient": f"enough to bring {study.concept.name} about",
        "specific": f"specific to {study.concept.name}",
    }[study.claim]
    link = {"supported": "", "not supported": "that ", "undecided": "whether "}[outcome]
    head = f"{outcome.capitalize()}: {link}{words} {'is' if _single(words) else 'are'} {claim}."
    weakest = min(reversed(tests), key=lambda test: test.value)  # of equals the last, which is beyond the controls
    telling = next((test for test in tests if test.decision == "below"), weakest)
    body = (
        f"{telling.question[0].upper()}{telling.question[1:]}: by {_points(telling.value)} points "
        f"({_points(telling.low)} to {_points(telling.high)}), where {_points(study.smallest)} would matter "
        f"(Holm p {_p(telling.p_holm)}, {len(study.prompts)} held-out prompts)."
    )
    return " ".join(filter(None, [head, body, _would_decide(outcome, tests, n_controls), _damage(outcomes)]))


def _would_decide(outcome: Outcome, tests: tuple[Test, ...], n_controls: int) -> str:
    if outcome != "undecided":
        return ""
    asked = [test.needed for test in tests if test.decision == "open"]
    prompts, controls = max(each.prompts for each in asked), max(each.controls for each in asked)
    if not isfinite(prompts):
        return "No number of prompts decides it if the effect is as near to the smallest that matters as measured."
    drawn = f" and {controls} random draws" if controls > n_controls else ""
    return f"About {prompts:,.0f} prompts{drawn} would decide it in 8 of 10 studies, if the effect is as measured."


def _damage(outcomes: Outcomes) -> str:
    study = outcomes.study
    words = [study.concept.name] if study.claim == "necessary" else list(study.sparing)
    lost = max(
        float((outcomes.of("unedited", word).intact - outcomes.of(f"dose {study.dose:g}", word).intact).mean())
        for word in words
    )
    return f"Mind that {lost:.0%} of pictures break under it." if lost > DAMAGE else ""


def _single(words: str) -> bool:
    return words.startswith(("feature ", "head ", "layer ", "the direction"))


def _points(share: float) -> str:
    return f"{100 * share:.0f}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}" if value < 0.1 else f"= {value:.2f}"
