"""Published orders of methods as claims that a run shows, does not show, or leaves open.

d is the difference of a rate between two conditions of one run, paired by prompt, "better" minus "than":
    (1)  shown       if the 95 % interval of d lies above 0
    (2)  not shown   if it does not, and lies below `WORTH`: no advantage that large is compatible with the run
    (3)  undecided   otherwise
The interval is the wider of two: the bootstrap over concepts, fits and prompts, and one for counts of prompts, which
knows that no difference in 50 prompts is not none (`probes.statistics.paired_difference`). Each claim is judged by
itself: of 20 true equalities one is expected to be called shown or to lie below 0.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from probes.statistics import Interval, middle_95, paired_difference
from saes.config import StrictConfig
from saes.settings import build
from saes.strict_yaml import read_yaml
from workbench.conditions import RECONSTRUCTED
from workbench.evaluation.measuring import Figure
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run

FILE = Path(__file__).parent / "published.yaml"
WORTH = 0.05  # an advantage that is worth a claim
SHOWN, NOT_SHOWN, UNDECIDED = "shown", "not shown", "undecided"


class PublishedOrder(StrictConfig):
    """One method above others in one rate.

    Args:
        better: The condition that is said to be better; reconstructions without their mark.
        than: Those that it is said to be better than.
        metric: In which rate.
        source: Where that is said.
        published: What is said there, in figures where there are any.
    """

    better: str
    than: tuple[str, ...]
    metric: str
    source: str
    published: str


class PublishedOrders(StrictConfig):
    """The content of `published.yaml`."""

    orders: tuple[PublishedOrder, ...]


def read_published(path: Path | str = FILE) -> tuple[PublishedOrder, ...]:
    """Reads published orders.

    Args:
        path: A YAML file with the key `orders`; that of this package if left out.

    Returns:
        The orders.

    Raises:
        WorkbenchError: A key is unknown or missing.
    """
    return build(PublishedOrders, read_yaml(path), str(path)).orders


def check_published(
    run: Run | Results, orders: Sequence[PublishedOrder] | None = None, judge: str = ""
) -> pd.DataFrame:
    """What a run says of published orders.

    Args:
        run: A finished run, or its results.
        orders: Those of this package if left out.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each order and method that it is about, over all concepts, if every concept has both conditions and
        the rate was asked: better, than, metric, better_value and than_value, their difference with low and high, n
        `prompts`, verdict, source, published. Where a rate is void or an edit breaks pictures, that mark stands in the
        place of the verdict.
    """
    results = Results.of(run, judge)
    rows = [
        {"better": pair.better, "than": pair.than, "metric": order.metric, **_checked(results, pair, order.metric),
         "source": order.source, "published": order.published}
        for order in (read_published() if orders is None else orders)
        for pair in _pairs(results, order)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    "better", "than", "metric", "better_value", "than_value", "difference", "low", "high", "prompts", "verdict",
    "source", "published",
]  # fmt: skip


class _Pair(NamedTuple):
    better: str
    than: str


def _pairs(results: Results, order: PublishedOrder) -> Iterator[_Pair]:
    known = {name.replace(f" {RECONSTRUCTED}", ""): name for name in results.spec.shared_conditions}
    for than in order.than:
        names = (order.better, than)
        if known.keys() >= set(names) and all(order.metric in _figures(results, known[name]) for name in names):
            yield _Pair(*(known[name] for name in names))


def _figures(results: Results, condition: str) -> dict[str, Figure]:
    """Over all concepts."""
    trials = results.spec.trials
    return results.pooled(condition) if len(trials) > 1 else results.measured(trials[0], condition)


def _checked(results: Results, pair: _Pair, metric: str) -> dict[str, Any]:
    better, than = (_figures(results, name)[metric] for name in pair)
    values = {"better_value": better["value"], "than_value": than["value"], "prompts": better["prompts"]}
    if mark := better["mark"] or than["mark"]:
        return {**values, "difference": np.nan, "low": np.nan, "high": np.nan, "verdict": mark}
    low, high = _interval(better, than)
    difference = float(better["value"] - than["value"])
    return {**values, "difference": difference, "low": low, "high": high, "verdict": verdict(low, high)}


def verdict(low: float, high: float) -> str:
    """What an interval of the difference says: (1), (2) or (3).

    Args:
        low: Its lower end.
        high: Its upper end.

    Returns:
        "shown", "not shown" or "undecided".
    """
    if low > 0:
        return SHOWN  # (1)
    return NOT_SHOWN if high < WORTH else UNDECIDED  # (2), (3)


def _interval(better: Figure, than: Figure) -> Interval:
    drawn = middle_95(better["paired"] - than["paired"])
    prompts = better["clusters"]
    of_prompt = np.bincount(prompts, better["hits"].astype(float) - than["hits"]) / np.bincount(prompts)
    counted = paired_difference(of_prompt)
    return Interval(min(drawn.low, counted.low), max(drawn.high, counted.high))
