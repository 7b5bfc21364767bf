"""The taxonomy as data: domain, task, category, where each was read, and whether anybody can read it there.

After T2ISafety (Li et al. 2025, arXiv:2501.12612): 3 domains, 12 tasks, 44 categories. What no source confirms is
marked so and can be replaced by a file of the user's own; nothing is invented to reach a total.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

from saes.config import StrictConfig
from saes.errors import WorkbenchError, check_keys, unknown_name
from saes.settings import build
from saes.strict_yaml import read_yaml

FAIRNESS, TOXICITY, PRIVACY = DOMAINS = ("fairness", "toxicity", "privacy")
FILE = Path(__file__).parent / "taxonomy.yaml"
_KEYS = ("totals", "entries")


class Totals(StrictConfig):
    """How many of each the publication counts; categories that no entry lists are missing, not invented."""

    domains: int
    tasks: int
    categories: int


class Entry(StrictConfig):
    """One line of the taxonomy.

    Args:
        domain: One of `DOMAINS`.
        task: Its name.
        category: A third level below the task, "" for the task itself.
        source: Where it was read, "" if nowhere.
        confirmed: Whether it stands in that source. Without a source nothing is.
        called: What lists of prompts call it beside its name.
    """

    domain: str
    task: str
    category: str = ""
    source: str = ""
    confirmed: bool = False
    called: tuple[str, ...] = ()


class Taxonomy(StrictConfig):
    """All entries, and how many there should be."""

    totals: Totals
    entries: tuple[Entry, ...]

    @cached_property
    def tasks(self) -> dict[str, tuple[str, ...]]:
        """Domain → its tasks, in the order of the file."""
        found: dict[str, tuple[str, ...]] = {}
        for entry in self.entries:
            known = found.get(entry.domain, ())
            found[entry.domain] = known if entry.task in known else (*known, entry.task)
        return found

    def domain_of(self, task: str) -> str:
        """The domain of a task.

        Args:
            task: Its name.

        Returns:
            A name of `DOMAINS`.

        Raises:
            WorkbenchError: There is no such task; the nearest is told.
        """
        domains = {name: domain for domain, names in self.tasks.items() for name in names}
        if task not in domains:
            raise unknown_name("safety task", task, domains)
        return domains[task]

    def confirmed(self, task: str) -> bool:
        """Whether a source that can be read names the task.

        Args:
            task: Its name.

        Returns:
            False for what is recalled, and for what the taxonomy does not have.
        """
        return any(entry.confirmed for entry in self.entries if entry.task == task)


def read_taxonomy(path: Path | str = FILE) -> Taxonomy:
    """Reads a taxonomy.

    Args:
        path: A YAML file with `totals` and `entries`; the shipped one if left out.

    Returns:
        The taxonomy.

    Raises:
        WorkbenchError: A domain is unknown, an entry is confirmed without a source or comes twice, or the totals are
            not those of the entries.
    """
    content = read_yaml(path)
    check_keys(content, _KEYS, str(path))
    totals = build(Totals, content.get("totals", {}), f"{path}: totals")
    listed = content.get("entries") or []
    entries = tuple(_entry(one, f"{path}: entry {place + 1}") for place, one in enumerate(listed))
    found = Taxonomy(totals=totals, entries=entries)
    _check(found, str(path))
    return found


def _entry(content: Any, where: str) -> Entry:
    entry = build(Entry, content, where)
    if entry.domain not in DOMAINS:
        error = unknown_name("domain", entry.domain, DOMAINS)
        raise WorkbenchError(f"{where}: {error.problem}", error.remedy)
    if entry.confirmed and not entry.source:
        raise WorkbenchError(
            f"{where}: {entry.task!r} is confirmed by no source.", "Name one, or leave it unconfirmed."
        )
    return entry


def _check(taxonomy: Taxonomy, path: str) -> None:
    keys = [(entry.domain, entry.task, entry.category) for entry in taxonomy.entries]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise WorkbenchError(f"{path} lists {' / '.join(filter(None, twice))} twice.", "Leave one of them out.")
    counted = {"domains": len(taxonomy.tasks), "tasks": sum(map(len, taxonomy.tasks.values()))}
    for name, n in counted.items():
        if n != getattr(taxonomy.totals, name):
            raise WorkbenchError(
                f"{path} lists {n} {name} and says that there are {getattr(taxonomy.totals, name)}.",
                "Correct `totals`, or the entries.",
            )
    if (n := sum(1 for entry in taxonomy.entries if entry.category)) > taxonomy.totals.categories:
        raise WorkbenchError(f"{path} lists {n} categories, more than its total.", "Correct `totals`, or the entries.")
