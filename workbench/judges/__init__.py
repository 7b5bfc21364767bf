"""Judges by name. Reading the table imports none of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.plugins import Table

if TYPE_CHECKING:
    from workbench.concepts import Concept
    from workbench.evaluation.judges import Judge

JUDGES = {  # name → "module:object", whose `load(argument)` gives a judge
    "toy": "workbench.toy.oracle:Oracle",
    "clip": "workbench.evaluation.clip:Clip",
    "vlm": "workbench.evaluation.vlm:Vlm",
    "classifier": "workbench.evaluation.classifier:Classifier",
    "nudenet": "workbench.evaluation.nudity:Nudity",
    "text": "workbench.evaluation.detected:TEXT",
    "code": "workbench.evaluation.detected:CODE",
    "toy-safety": "workbench.toy.onlooker:Onlooker",
    "toy-marks": "workbench.evaluation.detected:MARKS",
}
TABLE = Table("judge", "workbench.judges", JUDGES)


def judges() -> dict[str, str]:
    """Our judges and those that installed packages add under the entry point group `workbench.judges`."""
    return TABLE.names()


def find_judge(words: str, concepts: "Sequence[Concept]" = ()) -> "Judge":
    """The judge that is meant.

    Args:
        words: A name of `judges()`; after a colon, what its class is to load: "toy", "clip:out/clip".
        concepts: What it will be asked about: a judge of an open vocabulary is told of them.

    Returns:
        The judge, loaded.

    Raises:
        WorkbenchError: The name is unknown (the nearest is told), it cannot be imported or loaded, or what it leads to
            is no judge.
    """
    from workbench.evaluation.judges import JudgeSpec, OpenVocabulary

    name, _, argument = words.partition(":")
    judge = TABLE.find(name).load(argument)
    if isinstance(judge, OpenVocabulary):
        judge = judge.about(concepts)
    JudgeSpec.of(judge)
    return judge
