"""Judges by name. Reading the table imports none of them."""

from typing import TYPE_CHECKING

from workbench.plugins import Table

if TYPE_CHECKING:
    from workbench.evaluation.judges import Judge

JUDGES = {"toy": "workbench.toy.oracle:Oracle"}  # name → "module:Class", whose `load(argument)` gives a judge
TABLE = Table("judge", "workbench.judges", JUDGES)


def judges() -> dict[str, str]:
    """Our judges and those that installed packages add under the entry point group `workbench.judges`."""
    return TABLE.names()


def find_judge(words: str) -> "Judge":
    """The judge that is meant.

    Args:
        words: A name of `judges()`; after a colon, what its class is to load: "toy", "toy:out/toy/oracle".

    Returns:
        The judge, loaded.

    Raises:
        WorkbenchError: The name is unknown (the nearest is told), it cannot be imported or loaded, or what it leads to
            is no judge.
    """
    from workbench.evaluation.judges import JudgeSpec

    name, _, argument = words.partition(":")
    judge = TABLE.find(name).load(argument)
    JudgeSpec.of(judge)
    return judge
