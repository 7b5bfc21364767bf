"""YAML in which everything means what it says: each key once, keys are texts, only true and false are booleans.

YAML 1.1, which PyYAML reads, turns an unquoted `no` into False and lets the last of two equal keys win in silence.
Aliases are expanded by whoever reads the value, so their size is bounded: a file of ten lines can stand for billions.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saes.disk import read_text
from saes.errors import WorkbenchError

if TYPE_CHECKING:
    import yaml

MOST_VALUES = 100_000
BOOL, INT, FLOAT, TEXT, MERGE = (f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "str", "merge"))
OTHER_NUMBER = re.compile(r"[-+]?0[0-7_]+|.*:.*")  # 010 is 8 and 1:30 is 90 to YAML


class NotYAML(WorkbenchError):
    """The text breaks YAML's own grammar, so that nothing can be made of it."""


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Reads a YAML file that holds one mapping.

    Args:
        path: the file.

    Returns:
        Its keys and values.

    Raises:
        WorkbenchError: the file is no readable text, no YAML, no mapping, gives a key twice or a key that is no text,
            has an unquoted yes, no, on or off, or stands for more than 100,000 values.
    """
    value = from_yaml(read_text(path), str(path))
    if not isinstance(value, dict):
        raise WorkbenchError(f"{path} should hold a mapping.", "Write it as `key: value` lines.")
    return value


def from_yaml(text: str, where: str) -> Any:
    """The value of a YAML text.

    Args:
        text: one document.
        where: the file or option that the error is about.

    Returns:
        Mappings with text keys, lists, texts, numbers, booleans, dates and None.

    Raises:
        NotYAML: the text is no YAML.
        WorkbenchError: it is YAML that may mean something else than it says, as in `read_yaml`.
    """
    import yaml

    try:
        return _value(text, where)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: the 31st of February
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise NotYAML(f"{where} is not valid YAML{line}.", "Write it as `key: value` lines.") from None


def _value(text: str, where: str) -> Any:
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Check(where).size(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Check:
    """One walk over the nodes of a document, before anything is made of them."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.sizes: dict[int, int] = {}

    def size(self, node: "yaml.Node") -> int:
        """How many values a node stands for, all aliases expanded."""
        if id(node) not in self.sizes:
            self.sizes[id(node)] = MOST_VALUES + 1  # what a node that holds itself would come to
            self.sizes[id(node)] = 1 + sum(self.size(part) for part in self._parts(node))
        if self.sizes[id(node)] > MOST_VALUES:
            raise self._error(node, "stands for too many values", "Write out what the aliases (*name) repeat.")
        return self.sizes[id(node)]

    def _parts(self, node: "yaml.Node") -> Iterable["yaml.Node"]:
        if node.id == "scalar":
            self._check_scalar(node)
            return ()
        if node.id == "sequence":
            return node.value
        self._check_keys([key for key, _ in node.value])
        return [part for pair in node.value for part in pair]

    def _check_scalar(self, node: "yaml.Node") -> None:
        if node.tag == BOOL and node.value.lower() not in ("true", "false"):
            meant = "true or false"
        elif node.tag in (INT, FLOAT) and OTHER_NUMBER.fullmatch(node.value):
            meant = "another number"
        else:
            return
        problem = f"has {node.value} without quotes, which YAML takes for {meant}"
        raise self._error(node, problem, f'Write "{node.value}" for the text, or what you mean.')

    def _check_keys(self, keys: Iterable["yaml.Node"]) -> None:
        seen = set()
        for key in keys:
            if key.id != "scalar":
                raise self._error(key, f"has a {key.id} as a key", "Use a text.")
            self._check_scalar(key)
            if key.tag not in (TEXT, MERGE):
                raise self._error(key, f"has the key {key.value}, which is no text", f'Write "{key.value}" in quotes.')
            if key.value in seen:
                raise self._error(key, f"has the key {key.value!r} twice", "Leave one of them.")
            seen.add(key.value)

    def _error(self, node: "yaml.Node", problem: str, remedy: str) -> WorkbenchError:
        return WorkbenchError(f"{self.where} {problem} (line {node.start_mark.line + 1}).", remedy)
