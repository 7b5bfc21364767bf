"""A comparison as data: which methods erase which concepts, how often and in which ways. Read strictly from YAML."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from pydantic import ConfigDict, Field

from saes.config import Seed, StrictConfig
from saes.errors import WorkbenchError, unknown_name
from saes.settings import build
from saes.strict_yaml import read_yaml
from workbench.comparison.attacking import AttackPlan
from workbench.comparison.stopping import VALIDATION_SEED, Stopping
from workbench.comparison.subjects import Subject
from workbench.concepts import Concept
from workbench.conditions import CONTROLS, UNEDITED, marked
from workbench.erasure import find_method
from workbench.erasure.method import Method
from workbench.evaluation.suites import Suite
from workbench.settings import Setting

ALL_TOLD = "Here every fit is told to keep all others of the concept's kind but its relative."
Way = Literal["single", "joint", "ordered"]
"""single: an edit for each concept. joint: one edit for all concepts at once. ordered: the concepts one after another,
each fitted on the model without those before it, and the same backwards."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Methods by the names of their conditions, on concepts with their suites. Reconstructions are marked in theirs.

    Methods that draw at random are fitted with `fit_seeds` seeds, `seed` and those after it, the others once. Each fit
    makes its share of the prompts, so that three fits take no more pictures than one. That is the best use of them:
    every picture is of another prompt, and their mean varies by τ²/fits + σ²/pictures (τ between fits, σ between
    pictures), where all fits on fewer common prompts would leave more of what is due to prompts.

    With `stop`, the trainings of single concepts are as long as that rule says on the subjects' validation suites.
    `chosen_on` says of a condition on what its settings were chosen, such as "published" or other concepts. With
    `attacks`, every edit of a concept is attacked after the fits.

    With the ways "joint" and "ordered", prompts of one concept that ask for another erased one count for no metric and
    are left out of the suites, under all conditions alike. Raises `WorkbenchError` without methods or concepts, for a
    name that reads as a control, a concept given twice, several concepts where one is too few for a way, a suite whose
    roles deny what its concept tells (`Subject.check`), and fewer prompts of a role than fits.
    """

    methods: Mapping[str, Method]
    subjects: Sequence[Subject]
    ways: Sequence[Way] = ("single",)
    seed: int = 0
    fit_seeds: int = 1
    question: str = ""
    stop: Stopping | None = None
    chosen_on: Mapping[str, str] = field(default_factory=dict)
    attacks: AttackPlan | None = None

    def __post_init__(self) -> None:
        named = {condition_of(name, type(method)): method for name, method in self.methods.items()}
        chosen = {condition_of(name, type(self.methods[name])): on for name, on in self.chosen_on.items()}
        object.__setattr__(self, "methods", named)
        object.__setattr__(self, "chosen_on", chosen)
        object.__setattr__(self, "subjects", tuple(self.subjects))
        object.__setattr__(self, "ways", tuple(dict.fromkeys(self.ways)))
        self._check()
        if len(self.ways) > self.ways.count("single"):
            object.__setattr__(self, "subjects", _without_each_other(self.subjects))

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The concepts, in the order of the subjects."""
        return tuple(subject.concept for subject in self.subjects)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those of the fits of a method that draws at random, and of every method's random control."""
        return tuple(range(self.seed, self.seed + self.fit_seeds))

    def _check(self) -> None:
        for what, given in {"method": self.methods, "concept": self.subjects, "way to erase": self.ways}.items():
            if not given:
                raise WorkbenchError(f"The comparison has no {what}.", "Give at least one.")
        for name in self.methods:
            if name == UNEDITED or name.startswith(CONTROLS):
                raise WorkbenchError(f"A method called {name!r} would be read as a control.", "Give it another name.")
        for way in self.ways:
            if way not in get_args(Way):
                raise unknown_name("way to erase", way, get_args(Way))
        names = [concept.name for concept in self.concepts]
        if len(set(names)) < len(names):
            raise WorkbenchError(f"A concept is given twice ({', '.join(names)}).", "Name each once.")
        if len(names) < 2 and set(self.ways) != {"single"}:
            raise WorkbenchError("One concept cannot be erased jointly or in an order.", "Give at least two.")
        if self.attacks:
            self.attacks.check(self.subjects, self.fit_seeds)
        for subject in self.subjects:
            subject.check()
            self._check_shares(subject.suite)
            if self.stop and subject.validation is None:
                raise WorkbenchError(
                    f"There are no validation prompts about {subject.concept.name!r} to choose lengths on.",
                    "Give its `Subject` a suite for it, or leave `stop` out.",
                )

    def _check_shares(self, suite: Suite) -> None:
        if self.fit_seeds < 1:
            raise WorkbenchError("A method cannot be fitted with no seed.", "Set fit_seeds to 1 or more.")
        for role in dict.fromkeys(row.role for row in suite.rows):
            if (n := len({row.prompt for row in suite.rows if row.role == role})) < self.fit_seeds:
                raise WorkbenchError(
                    f"The suite {suite.name!r} has {n} {role} prompts for {self.fit_seeds} fits to share.",
                    "Ask for more prompts a role, or for fewer fit_seeds.",
                )


def condition_of(name: str, method: type) -> str:
    """The name of a method's condition: as it was given, marked if the method is a reconstruction.

    Args:
        name: What it was called.
        method: The method's class.

    Returns:
        The name in tables.
    """
    return marked(name) if getattr(method, "reconstructed", "") else name


class MethodEntry(StrictConfig):
    """A method of the file: its name in METHODS, on what its settings were chosen, and beside them its settings."""

    model_config = ConfigDict(extra="allow")  # the settings, which the method itself checks

    method: str
    chosen_on: str = ""

    def made(self, where: str) -> Method:
        """The method with these settings.

        Args:
            where: The entry of the file, to blame.

        Returns:
            An instance of the method.

        Raises:
            WorkbenchError: The method or a setting is unknown, or a value does not fit.
        """
        return build(find_method(self.method), self.__pydantic_extra__ or {}, where)


class ComparisonFile(StrictConfig):
    """What a file says: a `Comparison` in words. `per_role` prompts of each role are made for every concept.

    `told` is how many others of a concept's kind every fit is told to keep, in the toy's world: a few, or all but its
    relative, which the question then says. `sampling` is how pictures are sampled: settings of `model.generate` such as
    `{steps: 8}`; what is left out has the model's defaults. `attacks` says by what the edits are attacked.
    """

    question: str
    model: str
    concepts: tuple[str, ...]
    methods: dict[str, MethodEntry]
    ways: tuple[Way, ...] = ("single",)
    per_role: int = Field(default=16, ge=1)
    seed: Seed = 0
    fit_seeds: int = Field(default=1, ge=1)
    told: Literal["few", "all"] = "few"
    sampling: dict[str, Setting] = Field(default_factory=dict)
    stop: Stopping | None = None
    attacks: AttackPlan | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """The names of the methods' conditions, and the method of each."""
        found = {name: (entry.method, find_method(entry.method)) for name, entry in self.methods.items()}
        return {condition_of(name, kind): method for name, (method, kind) in found.items()}

    def comparison(
        self, concepts: Callable[[list[str]], Sequence[Concept]], suite: Callable[[Concept, int, int], Suite]
    ) -> Comparison:
        """The comparison that the file says.

        Args:
            concepts: Finds concepts by their words.
            suite: (concept, per_role, seed) → its prompts.

        Returns:
            The comparison, its methods made and its suites drawn.

        Raises:
            WorkbenchError: A method, a setting or a concept is unknown, or they do not make a comparison.
        """
        found = concepts(list(self.concepts))
        return Comparison(
            methods={name: entry.made(f"method {name}") for name, entry in self.methods.items()},
            subjects=[
                Subject(
                    concept, suite(concept, self.per_role, self.seed),
                    suite(concept, self.stop.prompts, self.seed + VALIDATION_SEED) if self.stop else None,
                )
                for concept in found
            ],
            ways=self.ways, seed=self.seed, fit_seeds=self.fit_seeds, stop=self.stop,
            question=self.question if self.told == "few" else f"{self.question} {ALL_TOLD}",
            chosen_on={name: entry.chosen_on for name, entry in self.methods.items() if entry.chosen_on},
            attacks=self.attacks,
        )  # fmt: skip


def read_comparison(path: Path | str) -> ComparisonFile:
    """Reads a comparison file.

    Args:
        path: YAML with the keys of `ComparisonFile`; `methods` maps names to `{method: rece, epochs: 3}`.

    Returns:
        What it says.

    Raises:
        WorkbenchError: A key is unknown (the nearest is named) or missing, or a value is of another type.
    """
    return build(ComparisonFile, read_yaml(path), str(path))


def _without_each_other(subjects: Sequence[Subject]) -> tuple[Subject, ...]:
    """The subjects with suites that ask for no erased concept but their own."""
    erased = {subject.suite.target for subject in subjects}
    return tuple(one._replace(suite=_without(one.suite, erased - {one.suite.target})) for one in subjects)


def _without(suite: Suite, erased: set[str]) -> Suite:
    kept = tuple(row for row in suite.rows if row.expected not in erased)
    return Suite(suite.name, kept, suite.anchor, suite.dropped)
