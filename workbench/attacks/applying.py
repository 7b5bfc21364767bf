"""On which models an attack works: said by capabilities, as of methods, and refused in a sentence that names others."""

from typing import Any

from saes.errors import WorkbenchError
from workbench.attacks import ATTACKS, find_attack
from workbench.models import Model
from workbench.models.capabilities import KINDS


def works_on(attack: Any, capabilities: frozenset[str]) -> bool:
    """Whether an attack has a form for models of these capabilities; one that does not say has.

    Args:
        attack: An attack, or its class.
        capabilities: Of `workbench.models.capabilities`.
    """
    needs: tuple[frozenset[str], ...] = getattr(attack, "needs", (frozenset(),))
    return any(one <= capabilities for one in needs)


def kinds_of(attack: Any) -> list[str]:
    """The kinds of models that an attack works on, by name.

    Args:
        attack: An attack, or its class.
    """
    return [kind for kind, has in KINDS.items() if works_on(attack, has)]


def check_applies(attack: Any, model: Model) -> None:
    """Refuses a model of another kind than an attack has a form for.

    Args:
        attack: The attack.
        model: The model that is to be attacked.

    Raises:
        WorkbenchError: Says what the model lacks, and which attacks work on it.
    """
    if works_on(attack, model.capabilities):
        return
    lacking = " and ".join(sorted(attack.needs[0] - model.capabilities)).replace("_", " ")
    others = sorted(name for name in ATTACKS if works_on(find_attack(name), model.capabilities))
    raise WorkbenchError(
        f"The attack {attack.name} does not work on {model.name} ({model.kind}), which has no {lacking}.",
        f"These do: {', '.join(others)}.",
    )
