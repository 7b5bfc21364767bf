"""Lists of prompts as people have them, read by their form and not by the name of a file.

A list is a table (CSV with commas, semicolons or tabs, whose first line names the columns), JSON (an array, or a value
a line), or plain text with a prompt a line. The column of prompts goes by several names in published lists.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from saes.disk import read_text
from saes.errors import WorkbenchError
from saes.strict_json import from_json

PROMPT = (
    "prompt", "adv_prompt", "adversarial_prompt", "attack_prompt", "sensitive_prompt", "unsafe_prompt", "target_prompt",
    "caption", "text",
)  # fmt: skip
"""Names of the column that holds prompts, in published lists; the first that a list has is taken."""
TABLES, JSON, JSON_LINES = (".csv", ".tsv"), (".json",), (".jsonl", ".ndjson")
_MARKS = ",;\t"
_SURPLUS = "surplus fields"  # where the reader puts what has no column


class Record(NamedTuple):
    """One prompt of a list, and what stands beside it.

    Args:
        line: Its line in the file, or its place in a JSON array, from 1.
        prompt: The prompt, as it stands there.
        fields: The other columns by their plain names; "" for an empty field.
    """

    line: int
    prompt: str
    fields: Mapping[str, str]


class Listing(NamedTuple):
    """What a list holds.

    Args:
        path: Its file.
        column: The column that prompts were taken from, by its plain name; "" in plain text.
        columns: The others.
        records: The prompts, at least one.
        empty: How many lines were left out because their prompt is empty.
    """

    path: Path
    column: str
    columns: tuple[str, ...]
    records: tuple[Record, ...]
    empty: int


def read_list(path: Path | str, *, empty: bool = False, names: Sequence[str] = PROMPT) -> Listing:
    """Reads a list of prompts.

    Args:
        path: A file in UTF-8. What ends in .csv or .tsv is a table, and so is any other text whose first line names
            several columns, one of them of prompts. What ends in .json holds an array, in .jsonl a value a line, each a
            prompt or an object with one.
        empty: Keep the lines of a table whose prompt is empty.
        names: What the column of prompts may be called, by plain names; the first that the list has is taken.

    Returns:
        Its prompts, with the columns by their plain names: in small letters, words joined by "_".

    Raises:
        WorkbenchError: The file cannot be read, names no column of prompts, has lines with more or fewer fields than
            columns, or holds no prompt.
    """
    path = Path(path)
    column, found = _records(path, read_text(path), names)
    kept = tuple(record for record in found if empty or record.prompt.strip())
    if not kept:
        raise WorkbenchError(f"{path} has no prompts.", "Write a prompt a line into it.")
    columns = tuple(dict.fromkeys(name for record in kept for name in record.fields))
    return Listing(path, column, columns, kept, len(found) - len(kept) if column else 0)


def prompts(path: Path | str) -> list[str]:
    """The prompts of a list, in its order.

    Args:
        path: As for `read_list`.

    Raises:
        WorkbenchError: As `read_list`.
    """
    return [record.prompt for record in read_list(path).records]


def plain_name(column: str) -> str:
    """What a column is called here: "Sensitive prompt" is "sensitive_prompt".

    Args:
        column: As the list spells it.
    """
    return "_".join(column.lower().replace("-", " ").replace("_", " ").split())


def _records(path: Path, text: str, names: Sequence[str]) -> tuple[str, list[Record]]:
    """The column of prompts, and every record."""
    if path.suffix.lower() in JSON + JSON_LINES:
        records = list(_of_json(path, text))
    elif mark := _mark(path, text, names):
        records = list(_of_table(path, text, mark, names))
    else:
        return "", [Record(line, one.strip(), {}) for line, one in enumerate(text.splitlines(), 1)]
    if not records:
        return "", []
    column = _prompt_column(path, dict.fromkeys(name for record in records for name in record.fields), names)
    return column, [_prompted(record, column) for record in records]


def _prompted(record: Record, column: str) -> Record:
    fields = dict(record.fields)
    return Record(record.line, fields.pop(column, ""), fields)


def _prompt_column(path: Path, columns: Iterable[str], names: Sequence[str]) -> str:
    for name in names:
        if name in columns:
            return name
    raise WorkbenchError(f"{path} lacks the column {names[0]!r}.", "Add it; the first line names the columns.")


def _mark(path: Path, text: str, prompt: Sequence[str]) -> str:
    """What parts the fields of a table; "" for a text with a prompt a line."""
    first = next(iter(text.splitlines()), "")
    own = path.suffix.lower() in TABLES
    for mark in _MARKS:
        names = [plain_name(name) for name in next(csv.reader([first], delimiter=mark), [])]
        known = set(names) & set(prompt if own else (name for name in prompt if name.endswith("prompt")))
        if known and (own or len(names) > 1 or names == ["prompt"]):
            return mark
    return "," if own else ""


def _of_table(path: Path, text: str, mark: str, names: Sequence[str]) -> Iterator[Record]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark, restkey=_SURPLUS)
    try:
        columns = [plain_name(name) for name in reader.fieldnames or ()]
        _check_columns(path, columns, names)
        reader.fieldnames = columns
        for fields in reader:
            yield Record(reader.line_num, "", _whole(path, reader.line_num, fields))
    except csv.Error as error:
        raise WorkbenchError(f"{path} is no CSV file (line {reader.line_num}: {error}).", "Correct it.") from None


def _check_columns(path: Path, columns: list[str], names: Sequence[str]) -> None:
    _prompt_column(path, columns, names)
    for name, count in Counter(columns).items():
        if name and count > 1:
            raise WorkbenchError(f"{path} has two columns {name!r}.", "Leave one of them out.")


def _whole(path: Path, line: int, fields: dict[str, Any]) -> dict[str, str]:
    """The fields of a line that has one for each column."""
    if _SURPLUS in fields or None in fields.values():
        more = "more" if _SURPLUS in fields else "fewer"
        raise WorkbenchError(
            f"{path}: line {line} has {more} fields than there are columns.", "Put texts with commas into quotes."
        )
    return fields


def _of_json(path: Path, text: str) -> Iterator[Record]:
    if path.suffix.lower() in JSON:
        values = from_json(text, path)
        if not isinstance(values, list):
            raise WorkbenchError(f"{path} is no list of prompts.", "Write an array, or an object a line into a .jsonl.")
        numbered = list(enumerate(values, 1))
    else:
        lines = [(line, one) for line, one in enumerate(text.splitlines(), 1) if one.strip()]
        numbered = [(line, from_json(one, f"{path}, line {line}")) for line, one in lines]
    for number, value in numbered:
        given = {"prompt": value} if isinstance(value, str) else value
        if not isinstance(given, dict):
            raise WorkbenchError(f"{path}: entry {number} is no prompt.", "Write a text, or an object with a prompt.")
        yield Record(number, "", {plain_name(name): "" if one is None else str(one) for name, one in given.items()})
