"""What to use when: for each task that a comparison can speak of, the method that does it best, and its equals.

Best is the highest harmonic mean of what is erased and what is spared. Equals are those that cannot be told from it, by
the rule of `evaluation.differences`. Nothing here is chosen by hand: a line is as good as its intervals.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from probes.statistics import harmonic_mean
from workbench.conditions import is_method
from workbench.erasure import find_method, named_in
from workbench.evaluation.differences import gaps
from workbench.evaluation.measuring import Figure
from workbench.evaluation.results import Results
from workbench.evaluation.roles import heading
from workbench.evaluation.spec import Trial
from workbench.reports.costs import Cost
from workbench.reports.reading import listed, percent

SCORE = "harmonic_mean"
SHOWN = (SCORE, "efficacy", "generality", "neighbour_specificity", "unrelated_specificity")
TRAINED = "fine-tuning"
NONE = "none: all score 0"
NEAREST = 3  # equals that are named
RIVALS = 3  # methods that must compete before one of them is advised
Figures = Mapping[str, Mapping[str, Figure]]  # condition → metric → figure


class Advice(NamedTuple):
    """One line: for a task, the method to `use` of `n`, its figures with their intervals, what the strongest attack
    brings back ("" where nothing was attacked), what a fit takes, and the `equals` that cannot be told from it. `link`
    is the part of the page that shows them."""

    task: str
    about: str
    use: str
    cells: list[tuple[str, str]]
    attacked: tuple[str, str]
    fit: str
    equals: list[str]
    n: int
    link: str

    @property
    def others(self) -> str:
        """The nearest of its equals, and how many more there are; "" if all others are behind."""
        more = len(self.equals) - NEAREST
        return ", ".join(self.equals[:NEAREST]) + (f" and {more} more" if more > 0 else "")


def advice(results: Results, costs: Sequence[Cost], robust: pd.DataFrame | None) -> list[Advice]:
    """What to use when, by a comparison.

    Args:
        results: Of a run with several methods, without what attacks it.
        costs: Of its methods.
        robust: `robustness(…)` if they were attacked.

    Returns:
        A line for each kind of concept, for all of them together, with and without training, for several concepts in
        one edit, and under attack. Tasks for which fewer than `RIVALS` methods compete have none.
    """
    trials, fits = results.spec.trials, {cost.condition: cost.fit for cost in costs}
    worst = {} if robust is None else _strongest(robust)
    single, several = _conditions(trials)
    together = _figures(results, single, trials)
    lines = [
        _best(f"erase {_a(kind)}", _named(own), _figures(results, single, own), fits, {})
        for kind, own in _by_kind(results).items()
    ]
    trained = {name for name in single if _family(trials, name) == TRAINED}
    for task, names in {"without training": set(single) - trained, "by training": trained}.items():
        own = {name: figures for name, figures in together.items() if name in names}
        lines.append(_best(task, _named(trials), own, fits, worst))
    lines.append(_best("erase several in one edit", "", _figures(results, several, trials), fits, {}))
    lines.append(_best("any of them", _named(trials), together, fits, worst))
    lines.append(_resisting(_named(trials), together, fits, worst))
    return [line for line in lines if line]


def advice_headings() -> list[str]:
    """The headings of the cells of a line.

    Returns:
        As tables of metrics have them.
    """
    return [heading(metric) for metric in SHOWN]


def _conditions(trials: Sequence[Trial]) -> tuple[list[str], list[str]]:
    """Methods that every suite has: those whose edits erase one concept, and those whose edits erase several."""
    names = filter(is_method, trials[0].conditions)
    shared = [name for name in names if all(name in one.conditions for one in trials)]
    several = [name for name in shared if any(len(one.conditions[name].concepts) > 1 for one in trials)]  # type: ignore[union-attr]
    return [name for name in shared if name not in several], several


def _by_kind(results: Results) -> dict[str, list[Trial]]:
    """The suites of each kind of concept, if there is more than one kind."""
    found: dict[str, list[Trial]] = {}
    for trial in results.spec.trials:
        found.setdefault(results.judge.concepts.get(trial.concept, ""), []).append(trial)
    return found if len(found) > 1 and "" not in found else {}


def _family(trials: Sequence[Trial], condition: str) -> str:
    """The family of a condition's method: training if any of what is joined in it is trained."""
    methods = named_in(edit.method for trial in trials if (edit := trial.conditions[condition]))
    families = [find_method(name).family for name in methods]  # type: ignore[attr-defined]
    return TRAINED if TRAINED in families else next(iter(families), "")


def _figures(results: Results, conditions: Sequence[str], trials: Sequence[Trial]) -> Figures:
    return {name: results.pooled(name, trials) for name in conditions}


def _best(
    task: str, about: str, figures: Figures, fits: Mapping[str, str], worst: Mapping[str, pd.Series]
) -> Advice | None:  # fmt: skip
    """The line of a task; None where too few methods compete."""
    ranked = sorted(gaps({name: own[SCORE] for name, own in figures.items()}, SCORE), key=lambda row: row["gap"])
    if len(ranked) < RIVALS:
        return None
    use, *equals = [row["condition"] for row in ranked if row["among_best"]]
    if not figures[use][SCORE]["value"]:
        return Advice(task, about, NONE, [("–", "")] * len(SHOWN), ("", ""), "", [], len(ranked), "trade")
    return _line(task, about, use, equals, len(ranked), figures, fits, worst, "trade")


def _resisting(
    about: str, figures: Figures, fits: Mapping[str, str], worst: Mapping[str, pd.Series]
) -> Advice | None:  # fmt: skip
    """The best by the harmonic mean of the score and of what the strongest attack does not bring back. Its equals are
    those that may reach it with both at the good ends of their intervals, which is more than a paired test would
    leave."""
    scores = {name: own[SCORE] for name, own in figures.items() if name in worst and not own[SCORE]["mark"]}
    if len(scores) < RIVALS:
        return None
    value = {name: _both(own["value"], worst[name]["post"]) for name, own in scores.items()}
    high = {name: _both(own["high"], worst[name]["post_low"]) for name, own in scores.items()}
    use, *others = sorted(value, key=lambda name: -value[name])
    equals = [name for name in others if high[name] >= value[use]]
    return _line("under attack", about, use, equals, len(value), figures, fits, worst, "attacks")


def _both(score: float, back: float) -> float:
    return float(harmonic_mean([score, 1 - back]))


def _line(
    task: str, about: str, use: str, equals: list[str], n: int, figures: Figures, fits: Mapping[str, str],
    worst: Mapping[str, pd.Series], link: str,
) -> Advice:  # fmt: skip
    cells = [_cell(figures[use].get(metric)) for metric in SHOWN]
    return Advice(task, about, use, cells, _attacked(worst.get(use)), fits.get(use, ""), equals, n, link)


def _strongest(robust: pd.DataFrame) -> dict[str, pd.Series]:
    """Condition → its row of the attack after which it shows the concept most."""
    return {str(name): own.loc[own["post"].idxmax()] for name, own in robust.groupby("condition")}


def _cell(figure: Figure | None) -> tuple[str, str]:
    if figure is None or figure["mark"]:
        return "–", ""
    return percent(figure["value"]), f"{100 * figure['low']:.0f}–{100 * figure['high']:.0f}"


def _attacked(row: pd.Series | None) -> tuple[str, str]:
    if row is None:
        return "", ""
    return f"{percent(row['post'])} by {row['attack']}", f"{100 * row['post_low']:.0f}–{100 * row['post_high']:.0f}"


def _named(trials: Sequence[Trial]) -> str:
    return listed([trial.concept for trial in trials])


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
