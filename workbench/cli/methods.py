"""`workbench methods`: every erasure method, and what it takes; or the settings of one."""

from typing import Annotated, Any

import typer

from workbench.cli.options import Config, Json
from workbench.cli.tables import show


def methods(
    method: Annotated[
        str | None, typer.Argument(help="A method whose settings to explain; all methods if left out.")
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """List the erasure methods: paper, family, kinds of model, what a concept must bring, and what a fit costs.

    Example:  workbench methods --json

    Another:  workbench methods esd
    """
    from workbench.erasure import methods as known

    if method is not None:
        show_settings(method, json=json)
        return
    show([row_of(name) for name in sorted(known())], json=json, title="Methods (for `workbench erase --method`)")


def row_of(name: str) -> dict[str, Any]:
    """A method as a row of the table."""
    from workbench.erasure import find_method

    method: Any = find_method(name)
    needs = [need.replace("|", " or ") for need in method.supports.needs]
    return {
        "method": name, "paper": method.paper, "family": method.family, "models": list(method.supports.kinds),
        "concepts need": needs, "cost": method.cost, "what": first_line(method),
    }  # fmt: skip


def show_settings(name: str, *, json: bool) -> None:
    """Prints each setting of a method: name, type, default, and a line about it."""
    from workbench.erasure import find_method
    from workbench.erasure.knobs import knobs

    rows = [knob._asdict() for knob in knobs(find_method(name))]
    show(rows, json=json, title=f"Settings of {name} (for --set name=value, in YAML: null is none)")


def first_line(method: type) -> str:
    """The first line of a class's docstring."""
    return (method.__doc__ or "").strip().partition("\n")[0]
