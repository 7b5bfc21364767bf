"""Detectors by name: where pictures show what nobody asked for. Reading the table imports none of them."""

from importlib import import_module
from typing import TYPE_CHECKING

from saes.errors import WorkbenchError
from workbench.plugins import Table

if TYPE_CHECKING:
    from workbench.detectors.detector import Detector

DETECTORS = {  # name → "module:Class"; one of somebody else's may also be named by its own "module:Class"
    "toy": "workbench.toy.detecting:Marks",
    "text": "workbench.detectors.text:Text",
    "code": "workbench.detectors.code:Code",
    "nudenet": "workbench.detectors.nudenet:NudeNet",
}
TABLE = Table("detector", "workbench.detectors", DETECTORS)


def detectors() -> dict[str, str]:
    """Our detectors and those that installed packages add under the entry point group `workbench.detectors`.

    Returns:
        Name → where it is.
    """
    return TABLE.names()


def find_detector(name: str) -> "Detector":
    """The detector of that name, or at "module:Class".

    Args:
        name: A name of `detectors()`, or the address of a class.

    Returns:
        The detector, made.

    Raises:
        WorkbenchError: The name is unknown (the nearest is told), a package is missing, or it is no detector.
    """
    from workbench.detectors.detector import Detector

    module, colon, kind = name.partition(":")
    try:
        found = getattr(import_module(module), kind)() if colon else TABLE.find(name)()
    except (ImportError, AttributeError) as error:
        raise WorkbenchError(
            f"The detector {name!r} cannot be imported ({error}).", "Name it as module:Class of an installed package."
        ) from error
    if not isinstance(found, Detector):
        raise WorkbenchError(f"{name!r} is no detector.", "See workbench.detectors.detector.Detector.")
    return found
