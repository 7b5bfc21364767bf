"""Attacks on edits: one file each. Reading the table imports none of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.plugins import Table

if TYPE_CHECKING:
    from workbench.attacks.attack import Attack
    from workbench.concepts import Concept

ATTACKS = {  # name (that of the file) → "module:Class"
    "replay": "workbench.attacks.replay:Replay",
    "ring_a_bell": "workbench.attacks.ring_a_bell:RingABell",
    "noised": "workbench.attacks.noised:Noised",
    "relearn": "workbench.attacks.relearn:Relearn",
    "unlearn_diff_atk": "workbench.attacks.unlearn_diff_atk:UnlearnDiffAtk",
    "p4d": "workbench.attacks.p4d:P4D",
    "mma": "workbench.attacks.mma:MMA",
    "cce": "workbench.attacks.cce:CCE",
    "latent": "workbench.attacks.latent:Latent",
}
TABLE = Table("attack", "workbench.attacks", ATTACKS)


def attacks() -> dict[str, str]:
    """Our attacks and those that installed packages add under the entry point group `workbench.attacks`."""
    return TABLE.names()


def find_attack(name: str) -> type:
    """The class of an attack: `find_attack("replay")(wordings=("vixen",))`. Raises `WorkbenchError` with the nearest
    name."""
    return TABLE.find(name)


def attack_of(name: str, concept: "Concept", settings: Mapping[str, Any] | None = None) -> "Attack":
    """An attack for a concept: with its synonyms, sentences and whatever else the attack can use of it.

    Args:
        name: As for `find_attack`.
        concept: What is to come back.
        settings: Win over what the concept gives.

    Returns:
        The attack.

    Raises:
        WorkbenchError: There is no such attack or setting, or a value does not fit.
    """
    from saes.settings import build

    found = find_attack(name)
    told = found.told_by(concept) if hasattr(found, "told_by") else {}
    made: Attack = build(found, {**told, **(settings or {})}, f"attack {name}")
    return made
