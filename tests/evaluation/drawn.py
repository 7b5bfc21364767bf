"""A run whose pictures are drawn, not sampled: discs of four colours on grey, and a judge that looks at their colour.

What each condition does to each picture is decided here, so that every number in a table can be counted by hand.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.conditions import UNEDITED
from workbench.evaluation.judges import Scores
from workbench.evaluation.judging import judge
from workbench.evaluation.results import Results
from workbench.evaluation.roles import joined_roles
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import EditSpec, ModelSpec, Row, RunSpec, Trial
from workbench.evaluation.suites import Suite, SuiteRow

COLOURS = {"red": (220, 40, 40), "orange": (240, 150, 30), "green": (40, 160, 70), "blue": (40, 80, 220)}
MODEL = ModelSpec(name="drawn", kind="sd1", fingerprint="f" * 16, parts={})
Paint = Callable[[Row], str]  # what a condition paints for a row: a colour, "nothing", or "noise"


@dataclass(frozen=True)
class ColourJudge:
    """Says how near the middle of a picture is to each colour; noise is not intact."""

    threshold: float = 0.5
    name: str = "colour of the middle"
    version: str = "1"
    validated: str = "by construction"

    @property
    def concepts(self) -> Mapping[str, str]:
        return dict.fromkeys(COLOURS, "colour")

    @property
    def thresholds(self) -> Mapping[str, float]:
        return dict.fromkeys(COLOURS, self.threshold)

    def score(self, images: np.ndarray, prompts: Sequence[str]) -> Scores:
        pixels = images.astype(np.float32) / 255
        h, w = images.shape[1:3]
        middle = pixels[:, h // 3 : -h // 3, w // 3 : -w // 3].mean(axis=(1, 2))
        palette = np.array(list(COLOURS.values()), dtype=np.float32) / 255
        distance = np.linalg.norm(middle[:, None] - palette, axis=-1)
        roughness = np.abs(np.diff(pixels, axis=1)).mean(axis=(1, 2, 3))
        return Scores(np.exp(-((distance / 0.15) ** 2)).astype(np.float32), roughness < 0.15, middle)


def picture(paint: str, seed: int, size: int = 24) -> np.ndarray:
    """A disc in the colour `paint`, at a place that depends on the seed; "nothing" is no disc, "noise" is noise."""
    rng = np.random.default_rng(seed)
    if paint == "noise":
        return rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    canvas = np.full((size, size, 3), 200, np.uint8) + rng.integers(0, 20, 3, dtype=np.uint8)
    if paint != "nothing":
        y, x = np.mgrid[:size, :size] - size / 2 - rng.uniform(-1, 1, 2)[:, None, None]
        canvas[np.hypot(y, x) < size * 0.4] = COLOURS[paint]
    return canvas


def suite(target: str = "red", neighbour: str = "orange", n: int = 4) -> Suite:
    """`n` prompts a role with two seeds each: target, synonym, neighbour, unrelated (green and blue)."""
    named = [
        *((f"a {target} disc, {number}", "target", target) for number in range(n)),
        *((f"a disc like {target} paint, {number}", "synonym", target) for number in range(n)),
        *((f"a {neighbour} disc, {number}", "neighbour", neighbour) for number in range(n)),
        *((f"a {colour} disc, {number}", "unrelated", colour) for number in range(n) for colour in ("green", "blue")),
    ]
    rows = tuple(SuiteRow(prompt, role, expected, seed) for prompt, role, expected in named for seed in (1, 2))
    return Suite(target, rows, anchor="orange")


def drawn_run(
    dir: Path,
    paints: Mapping[str, Paint | Sequence[Paint]],
    *suites: Suite,
    size: int = 24,
    model: ModelSpec = MODEL,
) -> Run:
    """A finished run. `paints` says what each condition, or each of its fits, paints for a row; the unedited model
    paints what it should."""
    fits = {name: [paint] if callable(paint) else list(paint) for name, paint in paints.items()}
    edits = {
        name: tuple(
            EditSpec(
                hash=f"{name}-hash{seed or ''}",
                kind="activation",
                method=name,
                concepts=("red",),
                settings={},
                seed=seed,
            )
            for seed in range(len(own))
        )
        for name, own in fits.items()
    }
    run = Run.begin(dir, spec(edits, *(suites or (suite(),))).model_copy(update={"model": model}))
    for trial in run.spec.trials:
        for name in trial.conditions:
            for place, edit in trial.edits_of(name).items():
                row = trial.rows[place]
                paint = fits[name][edit.seed](row) if edit else row.expected
                run.write_image(run.spec.cell(edit, row), picture(paint, row.seed, size), seconds=0.25)
    return judge(run, ColourJudge())


def altered(run: Run, records: pd.DataFrame) -> Results:
    """The results of a run as if its only judge had said what these records hold."""
    return Results(run, next(iter(run.judges)), records)


def spec(edits: Mapping[str, EditSpec | tuple[EditSpec, ...]], *suites: Suite) -> RunSpec:
    """The specification of a run of these suites, each under "unedited" and all the edits, some with several fits."""
    fits = {name: own if isinstance(own, tuple) else (own,) for name, own in edits.items()}
    trials = tuple(
        Trial(
            suite=one.name,
            concept=one.target,
            anchor=one.anchor,
            dropped=one.dropped,
            rows=tuple(Row(**asdict(row)) for row in one.rows),
            conditions={UNEDITED: None, **{name: own[0] for name, own in fits.items()}},
            refits={name: own[1:] for name, own in fits.items() if own[1:]},
        )
        for one in suites
    )
    roles = joined_roles(one.known_roles[row.role] for one in suites for row in one.rows)
    return RunSpec(
        model=MODEL, settings={"steps": 10, "guidance_scale": 3.0}, roles=tuple(roles.values()), trials=trials,
        environment={"python": "3.11", "torch": "2.13"}, command="pytest", started="2026-01-01",
    )  # fmt: skip
