"""Tables of names that installed packages can add to: methods, kinds of edit, judges, attacks.

A table maps a name to "module:object"; reading it imports nothing. A package adds a name under the entry point group
of the table. What a *file* names, such as the program of a saved edit, is imported only from this package or from a
module that an installed package declares under an entry point group that begins with "workbench.".
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple, TypeVar

from saes.errors import WorkbenchError, unknown_name

OURS = "workbench"
Wanted = TypeVar("Wanted")


class Table(NamedTuple):
    """Names of one kind: `own` of this package, and those that installed packages add under the entry point `group`."""

    what: str  # "method"
    group: str  # "workbench.methods"
    own: Mapping[str, str]  # name → "module:object"

    def names(self) -> dict[str, str]:
        """All names with what they lead to. Our own names cannot be taken by a package."""
        return {**{point.name: point.value for point in entry_points(group=self.group)}, **self.own}

    def find(self, name: str) -> Any:
        """What a name leads to.

        Args:
            name: One of `names()`.

        Returns:
            The object; its module is imported now.

        Raises:
            WorkbenchError: For an unknown name, with the nearest one, and for an object that cannot be imported.
        """
        known = self.own if name in self.own else self.names()  # all packages are looked through for others' alone
        if name not in known:
            raise unknown_name(self.what, name, known)
        return _imported(known[name], f"The {self.what} {name!r}")


def declared(address: str, kind: type[Wanted], what: str) -> Wanted:
    """The object at an address that a file names.

    Args:
        address: "module:object".
        kind: The type that the object must have, so that a file cannot name just anything.
        what: The noun for error messages, such as "program".

    Returns:
        The object.

    Raises:
        WorkbenchError: For an address of another form, a module that no installed package declares, an object that
            cannot be imported, and one of another type.
    """
    module, colon, name = address.partition(":")
    if not colon:
        raise WorkbenchError(
            f"The {what} {address!r} is not named as module:object.",
            f"Name it so. Edits saved by older versions name a {what} in one word: fit the method again.",
        )
    if module.partition(".")[0] != OURS and module not in _declared_modules():
        raise WorkbenchError(
            f"No installed package declares the module of the {what} {address!r}.",
            "Install its package. The package declares the module under an entry point group such as "
            "workbench.methods or workbench.programs.",
        )
    found = getattr(_module(module, f"The {what} {address!r}"), name, None)
    if not isinstance(found, kind):
        there = (f"{module}:{each}" for each, value in vars(import_module(module)).items() if isinstance(value, kind))
        raise unknown_name(what, address, there)
    return found


def _declared_modules() -> Iterable[str]:
    found = entry_points()
    ours = (group for group in found.groups if group.startswith(f"{OURS}."))
    return {point.value.partition(":")[0] for group in ours for point in found.select(group=group)}


def _imported(address: str, subject: str) -> Any:
    module, _, name = address.partition(":")
    try:
        return getattr(_module(module, subject), name)
    except AttributeError as error:
        raise _broken(subject, error) from error


def _module(name: str, subject: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise _broken(subject, error) from error


def _broken(subject: str, error: Exception) -> WorkbenchError:
    return WorkbenchError(f"{subject} cannot be imported ({error}).", "Install its package again.")
