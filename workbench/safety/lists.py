"""Lists of prompts as publications hold them, from a user's own copies: none comes with the workbench.

    .json   T2ISafety: records with base_category (the domain), text_category (the task), caption, real
    .csv    I2P and its kin: prompt; task or categories (several, by commas); evaluation_seed or sd_seed
    .csv, .txt   prompts alone, of a task that is named beside them

Records of real pictures are passed over: their captions were written for no model. A category is a task of the
taxonomy, or what an entry says that lists call it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from saes.errors import WorkbenchError
from workbench.lists import Record, plain_name
from workbench.lists import read_list as read_records
from workbench.safety.asking import PEOPLE, Line, Task, of_adults
from workbench.safety.taxonomy import FAIRNESS, Taxonomy

_FIELDS = ("base_category", "text_category", "caption")
_SEEDS = ("evaluation_seed", "sd_seed", "seed")


class Listed(NamedTuple):
    """The tasks of a list, and how many of its prompts belong to none, by what it calls their category."""

    tasks: tuple[Task, ...]
    elsewhere: Mapping[str, int]


def read_list(
    path: Path | str,
    taxonomy: Taxonomy,
    *,
    task: str = "",
    benign: tuple[Line, ...] = (),
    people: Task | None = None,
) -> Listed:
    """Reads a list.

    Args:
        path: The file; its name ends in .json, .csv or .txt.
        taxonomy: Which has the tasks.
        task: The task of all its prompts; left out, the file says it.
        benign: What judges must stay silent on.
        people: Whose classes, and prompts that check a judge, prompts of fairness take; without, they cannot be asked.

    Returns:
        The tasks, without prompts that may involve a minor.

    Raises:
        WorkbenchError: The file is of another form, no prompt of it belongs to a task, or a task has none left.
    """
    path = Path(path)
    if task and task != PEOPLE:
        taxonomy.domain_of(task)
    found: dict[str, list[Line]] = {}
    elsewhere: Counter[str] = Counter()
    for category, line in _records(path, task):
        name = task or _task_of(category, taxonomy)
        if name:
            found.setdefault(name, []).append(line)
        else:
            elsewhere[category or "no category"] += 1
    if not found:
        raise WorkbenchError(
            f"No prompt of {path} belongs to a task of the taxonomy.",
            f"Name the task before it, as in TASK={path}, or give a taxonomy with --taxonomy.",
        )
    tasks = [_made(name, lines, path, taxonomy, benign, people) for name, lines in found.items()]
    return Listed(tuple(of_adults(one) for one in tasks), elsewhere)


def _made(
    name: str,
    lines: list[Line],
    path: Path,
    taxonomy: Taxonomy,
    benign: tuple[Line, ...],
    people: Task | None,
) -> Task:
    if name == PEOPLE:
        if people is None:
            raise WorkbenchError(f"Nobody says by which classes the people of {path} are judged.", "Give a set too.")
        return replace(people, source=path.name, asks=tuple(lines), dropped=())
    return Task(taxonomy.domain_of(name), name, path.name, tuple(lines), benign, shows=name)


def _task_of(category: str, taxonomy: Taxonomy) -> str:
    """The task that a list means, `PEOPLE` for any of fairness, "" for none."""
    word = plain_name(category).replace("_", " ")
    for entry in taxonomy.entries:
        if word in (entry.task, *entry.called):
            return PEOPLE if entry.domain == FAIRNESS else entry.task
    return PEOPLE if word == FAIRNESS else ""


def _records(path: Path, task: str) -> Iterator[tuple[str, Line]]:
    """Each prompt with the category that its record names, once for each of several categories."""
    kind = path.suffix.lower()
    if kind not in (".json", ".csv", ".txt"):
        raise WorkbenchError(f"{path} is no list of prompts.", "Give a .json, .csv or .txt file.")
    found = read_records(path, empty=kind == ".csv")
    if kind == ".json":
        yield from _of_json(path, found.records)
    elif kind == ".csv":
        yield from _of_csv(path, found.records, task)
    else:
        yield from (("", Line(one.prompt.strip(), None, f"{path.name}, line {one.line}")) for one in found.records)


def _of_json(path: Path, records: Iterable[Record]) -> Iterator[tuple[str, Line]]:
    for number, one in enumerate(records, 1):
        said = {**one.fields, "caption": one.prompt}
        if lacking := [name for name in _FIELDS if not said.get(name)]:
            raise WorkbenchError(f"{path}: record {number} lacks {lacking[0]!r}.", "Records need " + ", ".join(_FIELDS))
        if said.get("real") != "True":
            domain = said["base_category"].lower()
            category = domain if domain == FAIRNESS else said["text_category"].lower().removeprefix("unsafe ")
            yield category, Line(one.prompt, None, f"{path.name}, record {said.get('id') or one.line}")


def _of_csv(path: Path, records: Sequence[Record], task: str) -> Iterator[tuple[str, Line]]:
    category = next((name for name in ("task", "categories") if name in records[0].fields), "")
    if not task and not category:
        raise WorkbenchError(
            f"{path} does not say what its prompts ask for.",
            f"Name the task before it, as in violence={path}, or add a column 'task'.",
        )
    for one in records:
        if not one.prompt.strip():
            raise WorkbenchError(f"{path}: line {one.line} has no prompt.", "Leave the line out.")
        line = Line(one.prompt, _seed(one.fields, path), f"{path.name}, line {one.line}")
        for name in ("",) if task else one.fields[category].split(","):
            yield name.strip(), line


def _seed(fields: Mapping[str, str], path: Path) -> int | None:
    given = next((fields[name] for name in _SEEDS if fields.get(name)), None)
    try:
        return None if given is None else int(given)
    except ValueError:
        raise WorkbenchError(f"{path}: {given!r} is no seed.", "Use whole numbers.") from None
