"""What a task asks: its prompts, without those that may involve a minor, and the suite that is drawn from them.

A task of toxicity or privacy has prompts that ask for what should not be shown. The tasks of fairness share one list,
"people": prompts that leave open who is shown. Others tell whether a judge can be believed: benign ones, on which it
must stay silent, and for fairness prompts that say an attribute.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from saes.errors import WorkbenchError
from workbench.adults import may_involve_a_minor
from workbench.concepts import TEMPLATES, Concept
from workbench.evaluation.roles import Role
from workbench.evaluation.suites import SEEDS, Suite, SuiteRow
from workbench.safety.taxonomy import FAIRNESS, PRIVACY, TOXICITY

PEOPLE = "people"
KINDS = {TOXICITY: "unsafe", PRIVACY: "private"}  # domain → the kind of the concepts that should not be shown
ASKS, BENIGN, DEPICTED, ATTRIBUTE = "asks", "benign", "depicted", "attribute"
ROLES = (
    Role(name=ASKS, metric="safe", wanted="absent", label="asks for it", pictures="whose prompt asks for it"),
    Role(name=BENIGN, metric="quiet", wanted="absent", label="benign", pictures="of benign prompts", named=False),
    Role(name=DEPICTED, metric=DEPICTED, wanted="absent", label="leaves open who is shown", named=False),
    Role(name=ATTRIBUTE, metric="attribute_shown", wanted="present", label="says an attribute"),
)
FEWEST = 8  # benign prompts, and prompts of an attribute
_STRIDE = 1_000_000  # seeds between two runs that differ in their seed alone


class Line(NamedTuple):
    """A prompt, the seed that its list gives it (None: any), where it stands, and the class that it says, if any."""

    prompt: str
    seed: int | None = None
    where: str = ""
    expected: str = ""


@dataclass(frozen=True)
class Task:
    """The prompts of one task.

    Args:
        domain: A name of `DOMAINS`.
        name: The task's name in the taxonomy; `PEOPLE` for those of fairness.
        source: Where the prompts are from.
        asks: Those that ask for what should not be shown, or leave open who is shown.
        others: Benign ones, and of fairness those that say an attribute, with its class in `expected`.
        shows: The concept that a judge is asked about; "" for fairness.
        classes: Of fairness: attribute → its classes, all of adults.
        dropped: Where the prompts stand that were left out because they may involve a minor.
    """

    domain: str
    name: str
    source: str
    asks: tuple[Line, ...]
    others: tuple[Line, ...] = ()
    shows: str = ""
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """What a judge of the task has to know."""
        if self.domain == FAIRNESS:
            kinds = {name: attribute for attribute, names in self.classes.items() for name in names}
            return tuple(Concept(name, kind=kind if kind in TEMPLATES else "object") for name, kind in kinds.items())
        return (Concept(self.shows, kind=KINDS[self.domain]),)

    def suite(self, n: int, pictures: int, seed: int) -> Suite:
        """The suite of the task.

        Args:
            n: Prompts that ask; half as many, but `FEWEST` or more, are benign, and as many say each attribute. All
                where there are fewer.
            pictures: Of each prompt that leaves open who is shown; of the others one.
            seed: Draws the prompts, and gives seeds to those that their list gives none.

        Returns:
            A suite that is named after the task.
        """
        rng = np.random.default_rng(seed)
        about, each = (DEPICTED, pictures) if self.domain == FAIRNESS else (ASKS, 1)
        rows = [
            self._row(line, about, place * each + picture, picture, seed)
            for place, line in enumerate(drawn(self.asks, n, rng))
            for picture in range(each)
        ]
        for role, some, most in self._others(n):
            rows += [
                self._row(line, role, len(rows) + place, 0, seed) for place, line in enumerate(drawn(some, most, rng))
            ]
        return Suite(self.name, tuple(rows), dropped=len(self.dropped), roles=ROLES)

    def _others(self, n: int) -> list[tuple[str, list[Line], int]]:
        """Benign lines, and those of each attribute, with their roles and how many are drawn."""
        silent = [line for line in self.others if not line.expected]
        said = {of: [line for line in self.others if line.expected in names] for of, names in self.classes.items()}
        most = max(n // 2, FEWEST)
        return [(BENIGN, silent, most), *((ATTRIBUTE, own, most) for own in said.values())]

    def _row(self, line: Line, role: str, place: int, picture: int, seed: int) -> SuiteRow:
        given = place + seed * _STRIDE if line.seed is None else line.seed + picture
        return SuiteRow(line.prompt, role, line.expected or self.shows, given % SEEDS)


def drawn(lines: Sequence[Line], n: int, rng: np.random.Generator) -> list[Line]:
    """Some of the lines, as many of each expected class as of any other.

    Args:
        lines: All.
        n: How many; all where there are fewer.
        rng: Draws them.

    Returns:
        In their order.
    """
    shuffled = rng.permutation(len(lines)).tolist()
    turns: dict[str, int] = {}
    order = {}
    for place in shuffled:
        order[place] = turns[lines[place].expected] = turns.get(lines[place].expected, -1) + 1
    chosen = sorted(shuffled, key=lambda place: order[place])[:n]  # a stable sort: within a turn as shuffled
    return [lines[place] for place in sorted(chosen)]


def of_adults(task: Task) -> Task:
    """The task without prompts that may involve a minor, and without repeated ones.

    Args:
        task: As its list has it.

    Returns:
        The task, with the places of what was left out in `dropped`.

    Raises:
        WorkbenchError: No prompt that asks is left, or there was none.
    """
    asks, others = adults(task.asks), adults(task.others)
    if not task.asks:
        raise WorkbenchError(f"The task {task.name!r} has no prompts ({task.source}).", "Give it some.")
    if not asks.kept:
        raise WorkbenchError(
            f"All {len(task.asks)} prompts of {task.name!r} may involve a minor and are left out ({task.source}).",
            "Give it others.",
        )
    dropped = (*task.dropped, *asks.dropped, *others.dropped)
    return replace(task, asks=asks.kept, others=others.kept, dropped=dropped)


class Adults(NamedTuple):
    """Lines that are kept, and where the others stand."""

    kept: tuple[Line, ...]
    dropped: tuple[str, ...]


def adults(lines: Iterable[Line]) -> Adults:
    """Lines that cannot be about a minor, each prompt and seed once. In doubt a line is left out.

    Args:
        lines: Any.

    Returns:
        Both sorts.
    """
    listed = list(dict.fromkeys(lines))
    once = {(line.prompt, line.seed, line.expected): line for line in reversed(listed)}
    kept = [line for line in reversed(once.values()) if not may_involve_a_minor(line.prompt)]
    return Adults(tuple(kept), tuple(line.where for line in listed if may_involve_a_minor(line.prompt)))
