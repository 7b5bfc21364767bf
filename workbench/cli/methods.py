"""`workbench methods`: every erasure method, and what it takes; or the settings of one."""

from typing import Annotated, Any

import typer

from workbench.cli.memory import TITLE, memory_rows
from workbench.cli.options import Config, Json
from workbench.cli.tables import show
from workbench.progress import progress_bars

MEASURED = "Measured on the toy, at its settings (`workbench methods NAME`): per cent of images with 95 % intervals"
UNMEASURED = (
    "No method was measured on the toy's present weights yet: `workbench compare --all --out out/all` does it in hours "
    "and can be interrupted."
)
ATTACKED = (
    "post-ASR: rows that show the concept after the attack that brings most back, on six of the concepts; --json has "
    "all attacks (docs/design/attacks.md). n/a: not attacked."
)
UNATTACKED = (
    "post-ASR is n/a: nothing was attacked yet. `workbench compare --all --attacks toy --out out/all-attacked` does "
    "it, in hours."
)

ABOUT_SETTINGS = (
    "default: for Stable Diffusion, as published where the paper or its code says. "
    "toy: what `workbench compare --all` has in its place for the embedded model."
)


def methods(
    method: Annotated[
        str | None, typer.Argument(help="A method whose settings to explain; all methods if left out.")
    ] = None,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Show instead what trainings take on a GPU, by arithmetic: minutes."),
    ] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """List the erasure methods: paper, family, kinds of model, what a concept must bring, what a fit costs, and what
    each was measured to do on the toy (by `workbench compare --all`, at the toy's settings). Of one method: its
    settings, with their defaults, which are the published ones for Stable Diffusion, and those of the toy.

    Example:  workbench methods --json

    Another:  workbench methods esd

    Memory:  workbench methods esd --memory
    """
    from workbench.erasure import methods as known

    if memory:
        with progress_bars() as progress:
            rows = memory_rows([method] if method else sorted(known()), progress)
        show(rows, json=json, title=TITLE)
        return
    if method is not None:
        show_settings(method, json=json)
        return
    rows, found = [row_of(name) for name in sorted(known())], measurements()
    if json:
        rows = [{**row, "measured": [one for one in found if one["method"] == row["method"]]} for row in rows]
    else:
        rows = [in_short(row) for row in rows]
    show(
        rows,
        json=json,
        title="Methods (for `workbench erase --method`); cost: of the defaults, which are for Stable Diffusion",
    )
    if found and not json:
        show(rates_of(found), json=False, title=MEASURED)
        typer.echo(UNATTACKED if not any(one.get("post_asr") for one in found) else ATTACKED)
    elif not json:
        typer.echo(UNMEASURED)


def row_of(name: str) -> dict[str, Any]:
    """A method as a row of the table."""
    from workbench.erasure import find_method, reconstruction

    method: Any = find_method(name)
    needs = [need.replace("|", " or ") for need in method.supports.needs]
    return {
        "method": name, "paper": method.paper.short if method.paper else "none", "family": method.family,
        "models": list(method.supports.kinds), "concepts need": needs, "cost": method.cost,
        "what": first_line(method), "reconstructed": reconstruction(name),
    }  # fmt: skip


def in_short(row: dict[str, Any]) -> dict[str, Any]:
    """For people: a reconstruction is marked, and its reason left to `workbench methods NAME`."""
    from workbench.conditions import marked

    paper = marked(row["paper"]) if row["reconstructed"] else row["paper"]
    return {name: value for name, value in {**row, "paper": paper}.items() if name != "reconstructed"}


def measurements() -> list[dict[str, Any]]:
    """What was measured of each method on the embedded model, controls included."""
    from workbench import toy
    from workbench.comparison.measured import read_measured

    return read_measured(toy.path().parent)["rows"]


def rates_of(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The measured conditions as rows of the table; a rate that none of them has is no column."""
    from workbench.comparison.measured import RATES
    from workbench.erasure import shown
    from workbench.evaluation.roles import heading

    asked = [name for name in RATES if any(one.get(name) for one in measured)]
    return [
        {"condition": one["condition"], "method": shown(one["method"]) or None}
        | {heading(name): per_cent(one.get(name)) for name in asked}
        | {"post-ASR": strongest(one.get("post_asr"))}
        | ({"settings chosen on": one["chosen_on"]} if one.get("chosen_on") else {})
        for one in measured
    ]


def strongest(attacks: dict[str, dict[str, Any]] | None) -> str:
    """What the attack that brings most back comes to, of those that find more than luck does if there are any; "n/a"
    where nothing was attacked."""
    if not attacks:
        return "n/a"
    best = max(attacks, key=lambda name: (attacks[name]["succeeds"], attacks[name]["value"]))
    found = f"{per_cent(attacks[best])} by {best}"
    return found if attacks[best]["succeeds"] else f"{found}, no more than luck"


def per_cent(rate: dict[str, float] | None) -> str | None:
    """A rate with its interval."""
    if rate is None:
        return None
    return f"{100 * rate['value']:.0f} ({100 * rate['low']:.0f}–{100 * rate['high']:.0f})"


def show_settings(name: str, *, json: bool) -> None:
    """Prints each setting of a method: name, type, default, what the toy has in its place, and a line about it."""
    from workbench.erasure import find_method, reconstruction
    from workbench.knobs import knobs

    toy, why = toy_settings(name), reconstruction(name)
    rows = [
        {"setting": knob.setting, "type": knob.type, "default": knob.default, "toy": toy.get(knob.setting),
         "what": knob.what}
        for knob in knobs(find_method(name))
    ]  # fmt: skip
    show(rows, json=json, title=f"Settings of {name} (for --set name=value, in YAML: null is none)")
    if not json:
        typer.echo(ABOUT_SETTINGS)
        typer.echo(f"{name} is a reconstruction: {why}.\n" if why else "")


def toy_settings(name: str) -> dict[str, str]:
    """The settings of a method's first condition in the comparison of the embedded model that are not the defaults."""
    from workbench.comparison.plan import read_comparison
    from workbench.knobs import knobs, yaml_of
    from workbench.toy import all_methods

    entries = read_comparison(all_methods()).methods.items()
    made = next((entry.made(f"method {title}") for title, entry in entries if entry.method == name), None)
    if made is None:
        return {}
    given = {knob: yaml_of(getattr(made, knob.setting)) for knob in knobs(type(made)) if knob.default != "its own"}
    return {knob.setting: value for knob, value in given.items() if value != knob.default}


def first_line(method: type) -> str:
    """The first line of a class's docstring."""
    return (method.__doc__ or "").strip().partition("\n")[0]
