"""What commands print: a table for people, or the same rows as JSON for programs."""

import json as json_format
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

    from workbench.reports.advice import Advice

WIDTH_IN_FILES = 200  # columns where there is no terminal: a pipe or a file


def show(rows: Sequence[Mapping[str, Any]], *, json: bool, title: str = "", markdown: bool = False) -> None:
    """Prints rows with equal keys. JSON is a list of objects, unrounded; the table rounds to four digits.

    NaN, which JSON does not know, is null there and a dash in the table. With `markdown` the table is one of Markdown.
    """
    rows = [{name: None if value != value else value for name, value in row.items()} for row in rows]
    if json:
        typer.echo(json_format.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False, default=str))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if markdown:
        typer.echo(_markdown(rows, title))
        return
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0] if rows else ():
        numbers = all(isinstance(row[name], int | float | None) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console = Console(width=None if sys.stdout.isatty() else WIDTH_IN_FILES)
    console.print(table if rows else f"{title or 'Rows'}: none.", markup=False)


def show_metrics(rows: Sequence[Mapping[str, Any]], *, json: bool, title: str = "") -> None:
    """Prints `metrics(run)`: all of it as JSON; for people a column for each condition, with the 95 % intervals.

    Rows that say which judge's they are stand under each other, metric by metric.
    """
    if json:
        show(rows, json=True)
        return
    table: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        about = {name: row[name] for name in ("concept", "metric", "judge") if name in row}
        line = table.setdefault(tuple(about.values()), about)
        figure = f"{row['value']:.3f} ({row['low']:.2f} to {row['high']:.2f})" if row["value"] == row["value"] else "–"
        line[row["condition"]] = f"{figure} {row['mark']}".rstrip()
    names = dict.fromkeys(name for line in table.values() for name in line)
    places = {key[:2]: place for place, key in reversed(list(enumerate(table)))}
    lines = [table[key] for key in sorted(table, key=lambda key: places[key[:2]])]
    show([{name: line.get(name) for name in names} for line in lines], json=False, title=title)


def show_comparison(
    table: "pd.DataFrame", best: "pd.DataFrame", chosen: "pd.DataFrame", attacks: "pd.DataFrame | None", *, json: bool,
    markdown: bool = False,
) -> None:  # fmt: skip
    """Prints `metrics_with_all(run)`, `best_methods(run)`, `choices(run)` and `robustness(…)` if edits were attacked:
    all of them as JSON; for people a row for each condition, a column for each rate in per cent with its 95 % interval,
    a star where it cannot be told from the best, how long it was trained, and on what its settings were chosen."""
    from workbench.evaluation.roles import heading
    from workbench.reports.costs import length

    best, chosen = (one.drop(columns="suite") for one in (best, chosen))
    joined = table.merge(best, on=["concept", "condition", "metric"], how="left")
    joined = joined.merge(chosen, on=["concept", "condition"], how="left")
    if json:
        found = joined.astype(object).where(joined.notna(), None).to_dict("records")
        show([*found, *([] if attacks is None else attacks.to_dict("records"))], json=True)
        return
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for row in joined[~joined["metric"].str.endswith("drift")].itertuples():
        line = lines.setdefault((row.concept, row.condition), {"concept": row.concept, "condition": row.condition})
        shares = [f"{100 * share:.0f}" for share in (row.value, row.low, row.high) if share == share]
        number = f"{shares[0]} ({shares[1]}–{shares[2]})" if shares else row.mark
        line[heading(row.metric)] = f"{number}{' *' if row.among_best is True else ''}"
        if row.mark == "damaged":
            line["condition"] = f"{row.condition} (damaged)"
    for _, row in chosen.iterrows():
        about = {"trained, of the full length": length(row), "settings chosen on": row["chosen_on"]}
        lines[row["concept"], row["condition"]] |= {name: text for name, text in about.items() if text}
    names = dict.fromkeys(name for line in lines.values() for name in line)
    title = "Per cent of images with 95 % intervals; * cannot be told from the best"
    rows = [{name: line.get(name) for name in names} for line in lines.values()]
    show(rows, json=False, title=title, markdown=markdown)
    if attacks is not None:
        show_robustness(attacks, markdown=markdown)


def show_attacks(table: "pd.DataFrame", *, json: bool, title: str = "") -> None:
    """Prints `attack_table(run)`: all of it as JSON; for people shares in per cent with their 95 % intervals."""
    from workbench.evaluation.tables import titled

    if json:
        show(table.to_dict("records"), json=True)
        return
    shares = ("pre", "post", "new seeds", "at random")
    rows = [
        {
            "concept": row["concept"], "condition": row["condition"], "attack": row["attack"],
            **{name: _percent(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in shares},
            "ceiling": _percent(row["ceiling"]), "never known": _percent(row["never known"]),
            "as text": _typed(row),
            "images": row["images"], "gradients": row["gradients"], "seconds": row["seconds"], "mark": row["mark"],
        }
        for _, row in titled(table).iterrows()
    ]  # fmt: skip
    optional = ("at random", "never known", "as text", "mark")
    empty = [name for name in optional if all(row[name] in ("–", "") for row in rows)]
    said = f"{title}: per cent of prompts that show it before (pre) and after (post) an attack, with 95 % intervals"
    show([{name: one for name, one in row.items() if name not in empty} for row in rows], json=False, title=said)


def show_robustness(table: "pd.DataFrame", *, markdown: bool = False) -> None:
    """Prints `robustness(…)` for people: a row for each condition, a column for each attack, shares in per cent with
    their 95 % intervals, a star where an attack finds more than luck does."""
    from workbench.attacks.robustness import BESIDE
    from workbench.evaluation.roles import heading

    lines: dict[str, dict[str, Any]] = {}
    for _, row in table.iterrows():
        beside = {heading(name): _percent(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in BESIDE}
        line = lines.setdefault(row["condition"], {"condition": row["condition"], **beside})
        line[row["attack"]] = _percent(row["post"], row["post_low"], row["post_high"]) + " *" * row["succeeds"]
        if row["cheapest"]:
            line["cheapest"] = row["attack"]
    names = [*dict.fromkeys(name for line in lines.values() for name in line if name != "cheapest"), "cheapest"]
    title = "Attacked: per cent of rows that show the concept afterwards; * more than before and than new seeds find"
    rows = [{name: line.get(name) for name in names} for line in lines.values()]
    show(rows, json=False, title=title, markdown=markdown)


def show_advice(lines: "Sequence[Advice]", *, markdown: bool = False) -> None:
    """Prints `advice(…)`, if there is any: a row for each task, the method to use, its equals, and its figures."""
    from workbench.reports.advice import advice_headings

    rows = [
        {
            "task": f"{line.task} ({line.about})" if line.about else line.task, "use": line.use,
            "or, not told from it": line.others or "none",
            **{name: _bracketed(*cell) for name, cell in zip(advice_headings(), line.cells, strict=True)},
            "most after an attack": _bracketed(*line.attacked), "fit": line.fit,
        }
        for line in lines
    ]  # fmt: skip
    if rows:
        show(rows, json=False, title="What to use when: per cent of images with 95 % intervals", markdown=markdown)


def _bracketed(value: str, interval: str) -> str:
    return f"{value} ({interval})" if interval else value


def show_published(table: "pd.DataFrame") -> None:
    """Prints `check_published(run)` for people: a row for each claim that the run measured, if there are any."""
    from workbench.evaluation.roles import heading

    rows = [
        {
            "claim": f"{row.better} above {row.than}, {heading(row.metric)}", "source": row.source,
            "here, %": " and ".join(map(_share, (row.better_value, row.than_value))),
            "difference, points": _change(row.difference, row.low, row.high), "verdict": row.verdict,
        }
        for row in table.itertuples()
    ]  # fmt: skip
    if rows:
        show(rows, json=False, title="What publications say, each by itself, with 95 % intervals paired by prompt")


def show_agreement(table: "pd.DataFrame", *, json: bool) -> None:
    """Prints `judge_agreement(run)`: all of it as JSON; for people the rate in per cent and kappa with their 95 %
    intervals."""
    if json:
        show(table.to_dict("records"), json=True)
        return
    rows = [
        {
            "judges": f"{row.first_judge}, {row.second_judge}", "condition": row.condition, "wanted": row.wanted,
            "pictures": row.n, "prompts": row.prompts, "alike, %": _percent(row.rate, row.rate_low, row.rate_high),
            "kappa": _signed(row.kappa, row.kappa_low, row.kappa_high),
            "each finds it in, %": f"{100 * row.first:.0f}, {100 * row.second:.0f}",
        }
        for row in table.itertuples()
    ]  # fmt: skip
    show(rows, json=False, title="How often two judges say the same of a picture, with 95 % intervals")


def _typed(row: "pd.Series") -> str:
    """What succeeds if prompts that a tokenizer reads otherwise in their text are typed in, and how many these are."""
    if not row["altered"]:
        return "–"
    return f"{_percent(row['as text'], row['as text_low'], row['as text_high'])}, {row['altered']} altered"


def _share(value: float) -> str:
    return f"{100 * value:.0f}" if value == value else "–"


def _change(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.0f} ({100 * low:+.0f} to {100 * high:+.0f})" if value == value else "–"


def _percent(value: float, low: float | None = None, high: float | None = None) -> str:
    if value != value:
        return "–"
    return f"{100 * value:.0f}" + ("" if low is None or high is None else f" ({100 * low:.0f}–{100 * high:.0f})")


def _signed(value: float, low: float, high: float) -> str:
    return f"{value:.2f} ({low:.2f} to {high:.2f})" if value == value else "–"


def _markdown(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    lines = [[name.replace("_", " ") for name in rows[0]], ["---"] * len(rows[0])] if rows else []
    lines += [[_cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "\n".join([*([title, ""] if title else []), *(f"| {' | '.join(line)} |" for line in lines), ""])


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
