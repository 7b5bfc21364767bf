"""What a report shows of attacks: the table, figures, and attacked pictures beside those of the same rows without."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from workbench.attacks.attempts import TABLE, read_attempts
from workbench.attacks.robustness import BESIDE, over_all, robustness
from workbench.attacks.seen import Seen, looked_up
from workbench.attacks.tables import attack_table, budget_curve, cheapest_attacks, transfer_matrix
from workbench.conditions import UNEDITED, is_method
from workbench.evaluation.results import Results
from workbench.evaluation.roles import heading
from workbench.evaluation.tables import titled
from workbench.figures.attacks import attack_bars, budget_curves, transfer_heatmap
from workbench.reports.reading import percent, signed
from workbench.reports.sheets import COLUMNS, Sheet, picture

Chart = Callable[[str, go.Figure], Markup]


class AttackRow(NamedTuple):
    """One attack on one condition, as the page prints it."""

    concept: str
    condition: str
    attack: str
    cells: list[tuple[str, str]]  # a value and its interval
    cost: str
    mark: str


class ResistingRow(NamedTuple):
    """One condition under every attack, as the page prints it."""

    condition: str
    cells: list[tuple[str, str, bool]]  # a value, its interval, and whether it is beyond what luck finds
    cheapest: str


class Attacks(NamedTuple):
    """All of it; empty where it was not asked."""

    robust: pd.DataFrame  # `robustness(…)`
    glance_headings: list[str]
    glance: list[ResistingRow]  # where there are several methods
    rows: list[AttackRow]  # over all concepts, or of the only one
    rows_of_each: list[AttackRow]  # where there are several
    cheapest: list[str]  # a sentence for each method
    bars: Markup
    curves: Markup
    transfers: dict[str, Markup]  # by attack
    sheets: dict[str, Sheet]  # by condition
    dropped: int


HEADINGS = ("pre", "post", "lift", "new seeds", "at random", "ceiling", "never known", "as text")


def without_attacks(results: Results) -> Results:
    """What was asked of every condition alike: rows of attacks have a section of their own.

    Args:
        results: Of the run.

    Returns:
        The results without rows and trials that attack; all of them where nothing was attacked, but only replayed.
    """
    adversarial = {role.name for role in results.spec.roles if role.adversarial}
    if not adversarial or not (results.run.dir / TABLE).exists():
        return results
    trials = tuple(one for one in results.spec.trials if any(row.role not in adversarial for row in one.rows))
    run = replace(results.run, spec=results.spec.model_copy(update={"trials": trials}))
    records = results.records[~results.records["role"].isin(adversarial)].reset_index(drop=True)
    return Results(run, results.judge_name, records)


def attacks(results: Results, metrics: pd.DataFrame, chart: Chart) -> Attacks | None:
    """The section of attacks.

    Args:
        results: Of the run, with the rows of attacks.
        metrics: `metrics_with_all(run)`, without them.
        chart: Makes a piece of HTML of a name and a figure.

    Returns:
        None where nothing was attacked.
    """
    if not (results.run.dir / TABLE).exists():
        return None
    seen, table = looked_up(results), attack_table(results)
    first = over_all(table)
    beside, rest = robustness(table, metrics), table.drop(first.index)
    curve, matrix = budget_curve(results), transfer_matrix(results)
    across = matrix[matrix["made_against"] != matrix["tried_on"]] if len(matrix) else matrix
    transfers = {str(name): rows for name, rows in matrix.groupby("attack", sort=False)} if len(across) else {}
    several = len(list(filter(is_method, first["condition"].unique()))) > 1
    return Attacks(
        beside,
        resisting_headings(beside),
        resisting_rows(beside) if several else [],
        [_row(one) for _, one in titled(first).iterrows()],
        [_row(one) for _, one in titled(rest).iterrows()],
        [_cheapest(one) for one in titled(cheapest_attacks(first)).to_dict("records") if is_method(one["condition"])],
        chart("attack-bars", attack_bars(first)),
        chart("attack-curves", budget_curves(over_all(curve))),
        {name: chart(f"transfer-{name}", transfer_heatmap(rows)) for name, rows in transfers.items()},
        attack_sheets(results, seen),
        int(seen.attempts["dropped"].sum()),
    )


def resisting_headings(table: pd.DataFrame) -> list[str]:
    """What the columns of `resisting_rows` are called.

    Args:
        table: `robustness(…)`.

    Returns:
        Names of rates, then of attacks.
    """
    return [*map(heading, BESIDE), *dict.fromkeys(table["attack"])]


def resisting_rows(table: pd.DataFrame) -> list[ResistingRow]:
    """What each condition removes and spares, and what each attack brings back.

    Args:
        table: `robustness(…)`.

    Returns:
        A row for each condition, the unedited model first.
    """
    rows = []
    for condition, own in table.groupby("condition", sort=False):
        one = own.iloc[0]
        post = {row["attack"]: (*_cell(row, "post"), bool(row["succeeds"])) for _, row in own.iterrows()}
        cells = [(*_cell(one, name), False) for name in BESIDE]
        cells += [post.get(name, ("–", "", False)) for name in dict.fromkeys(table["attack"])]
        rows.append(ResistingRow(str(condition), cells, "".join(own[own["cheapest"]]["attack"][:1])))
    return rows


def attacks_named(results: Results) -> list[str]:
    """The names of the attacks of a run.

    Args:
        results: Of the run.

    Returns:
        Each name once; none where nothing was attacked.
    """
    there = (results.run.dir / TABLE).exists()
    return list(dict.fromkeys(read_attempts(results.run.dir)["name"])) if there else []


def attack_sheets(results: Results, seen: Seen) -> dict[str, Sheet]:
    """Rows of the first suite under each condition: unedited, with the edit, and with the edit under each attack.

    Args:
        results: Of the run.
        seen: What its judge sees.

    Returns:
        By condition; at most `COLUMNS` rows each, evenly spaced in the suite and chosen by their places alone.
    """
    first = seen.attempts.iloc[0]
    own = seen.attempts[(seen.attempts["suite"] == first["suite"]) & (seen.attempts["control"] == "")]
    own = own[own["concept"] == first["concept"]]
    places = np.unique(np.linspace(0, own["row"].max(), COLUMNS).round().astype(int))
    chosen = own[own["row"].isin(places)]
    plain = _line(results, seen, chosen[chosen["condition"] == UNEDITED], "plain_record")
    return {
        str(condition): Sheet(
            str(condition),
            list(rows.drop_duplicates("row").sort_values("row")["plain"]),
            [(UNEDITED, plain), (str(condition), _line(results, seen, rows, "plain_record"))]
            + [(str(name), _line(results, seen, part, "record")) for name, part in rows.groupby("attack", sort=False)],
        )
        for condition, rows in chosen.groupby("condition", sort=False)
        if condition != UNEDITED
    }


def _line(results: Results, seen: Seen, rows: pd.DataFrame, which: str) -> list[Any]:
    each = rows.drop_duplicates("row").sort_values("row")
    return [picture(results, seen.records.iloc[place]) for place in each[which]]


def _row(one: pd.Series) -> AttackRow:
    spent = [f"{one['images']:.1f} images"]
    spent += [f"{one['gradients']:.0f} gradients"] if one["gradients"] else []
    return AttackRow(
        one["concept"], one["condition"], one["attack"], [_cell(one, name) for name in HEADINGS],
        ", ".join([*spent, f"{one['seconds']:.2g} s"]), one["mark"],
    )  # fmt: skip


def _cell(one: pd.Series, name: str) -> tuple[str, str]:
    if pd.isna(one[name]):
        return "–", ""
    said = signed if name == "lift" else percent
    low, high = one.get(f"{name}_low", np.nan), one.get(f"{name}_high", np.nan)
    return said(one[name]), "" if pd.isna(low) else f"{said(low)} to {said(high)}"


def _cheapest(one: dict[str, Any]) -> str:
    about = f"{one['condition']}, {one['concept']}"
    if not one["attack"]:
        return f"{about}: no attack finds more than chance does."
    cost = f"{one['images']:.1f} images and {one['gradients']:.0f} gradients a row"
    return f"{about}: {one['attack']}, from {percent(one['pre'])} to {percent(one['post'])} for {cost}."
