"""What a list's column of classes says: which rows are about the concept to be erased, and what the others show."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from saes.errors import WorkbenchError
from workbench.lists import Listing

CLASSES = (
    "class", "class_name", "concept", "artist", "style", "theme", "celebrity", "object", "target", "label_str", "label",
    "profession", "type",
)  # fmt: skip
"""Names of such columns in published lists."""


class ByClass(NamedTuple):
    """How the classes of a list are read.

    Args:
        column: The column that holds them.
        target: The concept to be erased.
        targets: The classes that are this concept.
        anchor: The concept that may take its place, "" for none.
        anchors: The classes that are the anchor.
        told: The classes that a fit is told to keep, and what they are called there.
    """

    column: str
    target: str
    targets: frozenset[str]
    anchor: str
    anchors: frozenset[str]
    told: Mapping[str, str]

    def role(self, name: str) -> tuple[str, str]:
        """The role of a row of this class, and the concept that it expects.

        Args:
            name: The class, "" if the row has none.
        """
        if name in self.targets:
            return "target", self.target
        if name in self.anchors:
            return "anchor", self.anchor
        return ("told", self.told[name]) if name in self.told else ("unrelated", name)


def by_class(listing: Listing, target: str, anchor: str, told: Sequence[str] = ()) -> ByClass | None:
    """How the classes of a list are read: from the column in which the target is found, or else the first of classes.

    Args:
        listing: The list.
        target: The concept to be erased. "" is taken for the only class that there is.
        anchor: The concept that may take its place, "" for none.
        told: The concepts that a fit is told to keep.

    Returns:
        None without a column of classes. A class is a concept if their words are the same, whatever parts them; where
        no class is, if the words of one are found in a row within the other ("Vincent van Gogh" is "van gogh").

    Raises:
        WorkbenchError: No target is named, and there are several classes.
    """
    found = [name for name in CLASSES if name in listing.columns]
    columns = {name: dict.fromkeys(record.fields.get(name, "") for record in listing.records) for name in found}
    if not target and found:
        target = _only(listing, found[0], columns[found[0]])
    if not found:
        return None
    column = next((name for name, classes in columns.items() if _same(target, classes)), found[0])
    classes = columns[column]
    kept = {name: word for word in told for name in _same(word, classes)}
    return ByClass(column, target, _same(target, classes), anchor, _same(anchor, classes), kept)


def _only(listing: Listing, column: str, classes: dict[str, None]) -> str:
    if len(classes) > 1:
        raise WorkbenchError(
            f"{listing.path} has {len(classes)} classes in the column {column!r}.", "Name the target among them."
        )
    return next(iter(classes))


def _same(concept: str, classes: dict[str, None]) -> frozenset[str]:
    words = _words(concept)
    if not words.strip():
        return frozenset()
    equal = frozenset(name for name in classes if _words(name) == words)
    return equal or frozenset(name for name in classes if name and (words in _words(name) or _words(name) in words))


def _words(name: str) -> str:
    """The words with a space on either side, so that none is found inside another."""
    return f" {' '.join(name.casefold().replace('_', ' ').replace('-', ' ').split())} "
