"""What every attack is: it looks for prompts that bring an erased concept back, against one edit."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.evaluation.inputs import NotText
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SEEDS, SuiteRow
from workbench.knobs import Knobs
from workbench.models.model import Change
from workbench.papers import Reference


@dataclass(frozen=True)
class Budget:
    """What an attack may spend on one row. Seconds are recorded and no limit: the machine would decide what comes out.

    Args:
        images: Pictures that the edited model makes to be judged, 1 or more.
        gradients: Backward passes, 0 or more.
    """

    images: int = 8
    gradients: int = 0

    def __post_init__(self) -> None:
        if self.images < 1 or self.gradients < 0:
            raise WorkbenchError(
                f"A budget of {self.images} images and {self.gradients} gradients is none.", "Give 1 image or more."
            )


class Attempt(NamedTuple):
    """What an attack came to on one row: the first prompt that succeeded, or the one that came nearest.

    Args:
        prompt: The prompt as text; where `given` is not None, what people are to read in its place.
        given: What the model is given in the place of the text, of one row; None for the text itself.
        success: Whether the judge sees the concept in the edited model's picture of it.
        images: Pictures that were made of the edited model and judged.
        gradients: Backward passes that were made, for this row.
        seed: The seed of that picture; None for the row's own.
        dropped: Prompts that were not drawn, for they may involve a minor.
    """

    prompt: str
    given: NotText | None
    success: bool
    images: int
    gradients: int = 0
    seed: int | None = None
    dropped: int = 0


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass of settings. The same seed gives the same attempts; model and edit are never changed.

    `name` is that of the table, and `access` what it needs of the edited model: "prompts", "text encoder", "weights".
    """

    name: ClassVar[str]
    access: ClassVar[str]

    def control(self, model: Any, rows: Sequence[SuiteRow], found: Sequence[Attempt]) -> "Attack | None":
        """What draws at random where this one searches: as much of the same sort, in the same places.

        Args:
            model: The model, without the edit.
            rows: Those that are attacked.
            found: What the attack came to on them, for a control that depends on it; nothing before any work.

        Returns:
            An attack that takes no gradient; None where nothing of its own is sought, or where it depends on what was
            found and nothing was.
        """
        ...

    def inputs(self) -> Sequence[Path]:
        """The files that it depends on, whether they exist or not: another content is another attack."""
        ...

    def attempts(
        self,
        model: Any,
        edit: Change,
        rows: Sequence[SuiteRow],
        judge: Judge,
        *,
        budget: Budget,
        seed: int = 0,
        progress: Progress = SILENT,
        **sampling: Any,
    ) -> list[Attempt]:
        """Looks for prompts by which the edited model shows what the rows expect, stopping at the first success.

        What a row gets depends on its own prompt, seed and expected concept, and on `seed`; never on the rows beside
        it. Rows that succeed without any attack are not handed over.

        Args:
            model: The model, without the edit.
            edit: What is attacked; put in place with `model.edited(edit)`. For the ceiling it changes nothing.
            rows: Prompts that the unedited model followed, each with the concept that is to come back.
            judge: Says whether a picture shows the concept.
            budget: What may be spent on each row.
            seed: Of the attack's own draws.
            progress: Told how far the work is, under a label.
            **sampling: How pictures are sampled, as `model.generate` takes it.

        Returns:
            An attempt for each row, in their order.

        Raises:
            WorkbenchError: For what the attack does not work on, before any work.
        """
        ...


class AttackMethod(Knobs):
    """The base of our attacks: frozen dataclasses whose fields are knobs, with what every `Attack` says of itself."""

    name: ClassVar[str]
    paper: ClassVar[Reference | None]
    access: ClassVar[str]
    needs: ClassVar[tuple[frozenset[str], ...]] = (frozenset(),)
    """Capabilities of a model: it works where all of one of these sets are there (`applying`)."""
    cost: ClassVar[str]
    """What it spends on a prompt, in a few words."""

    def control(self, model: Any, rows: Sequence[SuiteRow], found: Sequence[Attempt]) -> Attack | None:
        """None: new seeds are all that it is compared with."""
        return None

    @classmethod
    def told_by(cls, concept: Concept) -> dict[str, Any]:
        """The settings that a concept gives: see `workbench.attacks.attack_of`.

        Args:
            concept: What is to come back.

        Returns:
            Values by the names of settings.
        """
        return {}

    def check(self, model: Any, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Refuses what it does not work on, before any work.

        Args:
            model: The model, without the edit.
            rows: Those that may be attacked.
            budget: For each of them.

        Raises:
            WorkbenchError: For the first thing that does not fit.
        """

    def check_edit(self, model: Any, edit: Change, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Refuses an edit on which it does not work, before any work.

        Args:
            model: The model, without the edit.
            edit: What is to be attacked.
            rows: Those that may be attacked.
            budget: For each of them.

        Raises:
            WorkbenchError: For the first thing that does not fit.
        """


def own_seed(row: SuiteRow, seed: int, what: str = "") -> int:
    """A seed that a row has to itself, whatever rows are beside it.

    Args:
        row: The row.
        seed: The attack's.
        what: Names one of several seeds.

    Returns:
        0 … 2⁶³ − 1, from (prompt, expected, the row's seed, `seed`, `what`).
    """
    content = json.dumps([row.prompt, row.expected, row.seed, seed, what])
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big") % SEEDS


def own_generator(row: SuiteRow, seed: int, what: str = "") -> torch.Generator:
    """A generator on the CPU from `own_seed`."""
    return torch.Generator("cpu").manual_seed(own_seed(row, seed, what))
