"""Studies whose pictures nobody made: a table says what each shows, so that every effect can be counted by hand."""

from collections.abc import Callable, Mapping

import pandas as pd

from workbench.concepts import Concept
from workbench.evaluation.records import SCORE
from workbench.studies.conditions import conditions, suite
from workbench.studies.effects import Outcomes
from workbench.studies.hypothesis import Study
from workbench.studies.subjects import Subject
from workbench.studies.verdict import Verdict, judge_study

RED = Concept("red", kind="colour", retain=["green"], templates=["a {} disc"])
COLOURS = ("red", "orange", "green")
Paint = Callable[[str, str], str]  # prompt and word of a picture → the colour it shows, "nothing", or "noise"


def study(claim: str = "necessary", prompts: int = 24, **more: object) -> Study:
    """About red discs, sparing orange and green ones, with two random draws."""
    asked = {
        "claim": claim, "concept": RED, "subject": Subject(layers=("text.0",)), "sparing": ("orange", "green"),
        "prompts": [f"a {'large ' * n}red disc" for n in range(1, prompts + 1)], "controls": 2, **more,
    }  # fmt: skip
    return Study(**asked)


def keep(prompt: str, word: str) -> str:
    """What the unedited model paints."""
    return word


def painted(asked: Study, subject: Paint, random: Mapping[int, Paint] | Paint = keep) -> Outcomes:
    """The outcomes if the subject paints so at every dose, and the random draws so."""
    rows = []
    for condition in conditions(asked, asked.controls):
        other = random[condition.draw] if isinstance(random, dict) and condition.draw else random
        paint = {"subject": subject, "random": other}.get(condition.whose, keep)
        for row in suite(asked).rows:
            shown = paint(row.prompt, row.expected)
            scores = {SCORE + colour: float(shown == colour) for colour in COLOURS}
            rows.append((condition.name, row.prompt, row.seed, shown != "noise", *scores.values()))
    columns = ["condition", "prompt", "seed", "intact", *(SCORE + colour for colour in COLOURS)]
    return Outcomes(asked, pd.DataFrame(rows, columns=columns), dict.fromkeys(COLOURS, 0.5))


def verdict(asked: Study, subject: Paint, random: Mapping[int, Paint] | Paint = keep) -> Verdict:
    """The verdict on them."""
    return judge_study(painted(asked, subject, random), asked.controls, "layer text.0")
