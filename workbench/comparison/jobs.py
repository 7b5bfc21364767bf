"""Which fits a comparison asks for, and which conditions they give: one of each method and way, beside controls."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from workbench.comparison.plan import Comparison, Way
from workbench.concepts import Concept
from workbench.edits import Edit
from workbench.evaluation.spec import Length
from workbench.evaluation.suites import Suite

Conditions = dict[str, Edit | tuple[Edit, ...] | None]
JOINTLY = ", jointly"
NAMED = 3  # concepts of an order that its name lists


class Job(NamedTuple):
    """One fit: which method erases which concepts in which way, with which seed."""

    way: Way
    method: str
    concepts: tuple[Concept, ...]
    seed: int

    @property
    def condition(self) -> str:
        """The name of the condition to which it belongs, with those of other seeds."""
        if self.way == "single":
            return self.method
        if self.way == "joint":
            return self.method + JOINTLY
        names = [concept.name for concept in self.concepts]
        listed = names if len(names) <= NAMED else [names[0], "…", names[-1]]
        return f"{self.method}: {' then '.join(listed)}"


def jobs(comparison: Comparison) -> list[Job]:
    """All fits of a comparison.

    Args:
        comparison: The comparison.

    Returns:
        Those of single concepts first, then joint ones, then those of the two orders. Fits that differ in their seed
        alone come after one another.
    """
    concepts = comparison.concepts
    groups: dict[Way, list[tuple[Concept, ...]]] = {
        "single": [(concept,) for concept in concepts],
        "joint": [concepts],
        "ordered": [concepts, concepts[::-1]],
    }
    return [
        Job(way, name, group, seed)
        for way in groups
        if way in comparison.ways
        for name, method in comparison.methods.items()
        for group in groups[way]
        for seed in (comparison.seeds if getattr(method, "seeded", True) else comparison.seeds[:1])
    ]


class Made(NamedTuple):
    """What a job gives: an edit, and where a rule chose how long it was trained, how long that was."""

    edit: Edit
    length: Length | None = None


def trials_of(comparison: Comparison, made: Mapping[Job, Made]) -> list[tuple[Suite, Conditions]]:
    """The suite of each concept with the edits of all its conditions.

    Args:
        comparison: What was compared.
        made: What its jobs gave.

    Returns:
        What `fit_all` returns.
    """
    return [(suite, dict(_conditions(comparison, concept, made))) for concept, suite, _ in comparison.subjects]


def _conditions(
    comparison: Comparison, concept: Concept, made: Mapping[Job, Made]
) -> Iterator[tuple[str, Edit | tuple[Edit, ...]]]:
    """The methods', then one edit that does nothing, and for each method its own size at random: edits whose features
    or directions are drawn, and that change as much. For single and joint edits; for edits in an order only where there
    are no others."""
    own = [job for job in made if concept in job.concepts]
    fits = {job.condition: [made[one].edit for one in own if one.condition == job.condition] for job in own}
    yield from ((name, _one_or_all(edits)) for name, edits in fits.items())
    yield "no-op", made[own[0]].edit.no_op()
    ways = [way for way in ("single", "joint") if any(job.way == way for job in own)] or ["ordered"]
    for name in dict.fromkeys(job.condition for job in own if job.way in ways):
        edits = fits[name]
        drawn = [edits[place % len(edits)].random(seed) for place, seed in enumerate(comparison.seeds)]
        yield f"{edits[0].summary().control} of {name}", _one_or_all(drawn)


def _one_or_all(edits: Iterable[Edit]) -> Edit | tuple[Edit, ...]:
    first, *others = edits
    return (first, *others) if others else first
