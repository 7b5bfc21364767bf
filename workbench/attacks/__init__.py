"""Attacks on edits: one file each. Reading the table imports none of them."""

from workbench.plugins import Table

ATTACKS = {  # name (that of the file) → "module:Class"
    "replay": "workbench.attacks.replay:Replay",
    "noised": "workbench.attacks.noised:Noised",
    "relearn": "workbench.attacks.relearn:Relearn",
}
TABLE = Table("attack", "workbench.attacks", ATTACKS)


def attacks() -> dict[str, str]:
    """Our attacks and those that installed packages add under the entry point group `workbench.attacks`."""
    return TABLE.names()


def find_attack(name: str) -> type:
    """The class of an attack: `find_attack("replay")(wordings=["vixen"])`. Raises `WorkbenchError` with the nearest
    name."""
    return TABLE.find(name)
