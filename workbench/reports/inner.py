"""What a report shows of a model's inside: the tables of `interpreting` as figures and sentences, by concept."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from scipy.stats import spearmanr

from workbench.conditions import is_method
from workbench.figures.attribution import effects_against_ablation, feature_flow
from workbench.figures.inside import attention_moved, change_by_layer, change_map, feature_fates
from workbench.figures.neighbours import neighbour_lists
from workbench.interpret.inside import untouched

Chart = Callable[[str, go.Figure], Markup]


class Method(NamedTuple):
    """One edit's inside: where activations change, and what becomes of features."""

    name: str
    untouched: str  # that nothing changes inside, where that is so: then there are no figures of it
    change_map: Markup | None
    fates: Markup | None
    words: str  # how many features died and were born, by site
    moved: Markup | None


class Inner(NamedTuple):
    """The inside of one concept; what was not collected is None."""

    neighbours: Markup | None
    effects: Markup | None
    agreement: dict[str, float]  # how → Spearman's ρ with the true effects of ablation
    edges: Markup | None
    by_layer: Markup | None
    methods: list[Method]


def inner(tables: Mapping[str, pd.DataFrame], chart: Chart) -> dict[str, Inner]:
    """What was collected of a model's inside, as figures and sentences.

    Args:
        tables: Those of `interpreting`, by name.
        chart: Makes a piece of HTML of a name and a figure.

    Returns:
        By concept, in their order.
    """
    return {
        concept: _inner(
            {name: own for name, table in tables.items() if len(own := table[table["concept"] == concept])},
            partial(_charted, chart, concept),
        )
        for concept in dict.fromkeys(concept for table in tables.values() for concept in table["concept"])
    }


def _charted(chart: Chart, concept: str, name: str, plot: go.Figure) -> Markup:
    return chart(f"inside-{concept}-{name}", plot)


def _inner(tables: Mapping[str, pd.DataFrame], chart: Chart) -> Inner:
    near, effects, change = (tables.get(name) for name in ("neighbours", "effects", "change"))
    return Inner(
        None if near is None else chart("neighbours", neighbour_lists(near)),
        None if effects is None else chart("effects", effects_against_ablation(effects)),
        {} if effects is None else {how: _rank_correlation(effects, how) for how in ("gradient", "integrated")},
        chart("edges", _flow(tables["edges"])) if len(tables.get("edges", ())) else None,
        None if change is None else chart("layers", change_by_layer(_by_condition(change))),
        [] if change is None else [_method(tables, name, chart) for name in _by_condition(change) if is_method(name)],
    )


def _flow(edges: pd.DataFrame) -> go.Figure:
    names = {side: dict(zip(edges[side], edges[f"{side}_name"], strict=True)) for side in ("source", "target")}
    return feature_flow(edges, names)


def _by_condition(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Controls first, so that they stay quiet in the figure."""
    names = sorted(dict.fromkeys(table["condition"]), key=is_method)
    return {name: table[table["condition"] == name] for name in names}


def _method(tables: Mapping[str, pd.DataFrame], name: str, chart: Chart) -> Method:
    own = {key: table[table["condition"] == name] for key, table in tables.items() if "condition" in table}
    said = untouched(own["change"])
    if said:
        return Method(name, said, None, None, "", None)
    fates = own.get("fates")  # there are none without an autoencoder
    return Method(
        name,
        "",
        chart(f"map-{name}", change_map(own["change"])),
        None if fates is None else chart(f"fates-{name}", feature_fates(fates)),
        "" if fates is None else _fates_in_words(fates),
        chart(f"moved-{name}", attention_moved(own["moved"])),
    )


def _rank_correlation(effects: pd.DataFrame, how: str) -> float:
    return float(spearmanr(effects[how], effects["ablation"]).statistic)


def _fates_in_words(fates: pd.DataFrame) -> str:
    """For instance "At text.2, 5 of 120 features die and 2 are born." """
    said = []
    for site, own in fates.groupby("site", sort=False):
        before, after = own["fires_before"] > 0, own["fires_after"] > 0
        said.append(f"At {site}, {(before & ~after).sum()} of {before.sum()} features that fire die, and "
                    f"{(after & ~before).sum()} are born.")  # fmt: skip
    return " ".join(said)
