"""`workbench methods`: every erasure method, and what it takes."""

from typing import Any

from workbench.cli.options import Config, Json
from workbench.cli.tables import show


def methods(json: Json = False, config: Config = None) -> None:
    """List the erasure methods: paper, family, kinds of model, what a concept must bring, and what a fit costs.

    Example:  workbench methods --json
    """
    from workbench.erasure import find_method
    from workbench.erasure import methods as known

    rows = []
    for name in sorted(known()):
        method: Any = find_method(name)
        needs = [need.replace("|", " or ") for need in method.supports.needs]
        rows.append(
            {"method": name, "paper": method.paper, "family": method.family, "models": list(method.supports.kinds)}
            | {"concepts need": needs, "cost": method.cost, "what": first_line(method)}
        )
    show(rows, json=json, title="Methods (for `workbench erase --method`)")


def first_line(method: type) -> str:
    """The first line of a class's docstring."""
    return (method.__doc__ or "").strip().partition("\n")[0]
