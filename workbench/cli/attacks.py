"""`workbench attacks`: every attack, and what it takes; or the settings of one."""

from typing import Annotated, Any

import typer

from workbench.cli.methods import first_line
from workbench.cli.options import Config, Json
from workbench.cli.tables import show


def attacks(
    attack: Annotated[
        str | None, typer.Argument(help="An attack whose settings to explain; all attacks if left out.")
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """List the attacks: paper, what each needs to see of the edited model, on which models it works, and what it
    spends. Of one attack: its settings, with their defaults.

    Example:  workbench attacks --json

    Another:  workbench attacks ring_a_bell
    """
    from workbench.attacks import attacks as known
    from workbench.attacks import find_attack
    from workbench.knobs import knobs

    if attack is None:
        show([row_of(name) for name in sorted(known())], json=json, title="Attacks (for `workbench attack --attack`)")
        return
    rows = [
        {"setting": knob.setting, "type": knob.type, "default": knob.default, "what": knob.what}
        for knob in knobs(find_attack(attack))
    ]
    title = f"Settings of {attack} (for --set {attack}.name=value); what is needed, a concept can give"
    show(rows, json=json, title=title)


def row_of(name: str) -> dict[str, Any]:
    """An attack as a row of the table."""
    from workbench.attacks import find_attack
    from workbench.attacks.applying import kinds_of
    from workbench.models.capabilities import KINDS

    found: Any = find_attack(name)
    paper, cost, kinds = getattr(found, "paper", None), getattr(found, "cost", ""), kinds_of(found)
    return {
        "attack": name, "paper": paper.short if paper else "none", "needs": found.access,
        "models": "all" if len(kinds) == len(KINDS) else ", ".join(kinds), "cost": cost,
        "what": first_line(found),
    }  # fmt: skip
