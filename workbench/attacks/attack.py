"""What every attack is: it looks for a prompt that brings an erased concept back, against one edit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.edits import Edit
from workbench.evaluation.inputs import input_hash
from workbench.evaluation.judges import Judge, shown
from workbench.evaluation.roles import Role
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.models import Model, TokenEmbeddings, TokenIds
from workbench.models.images import Images

ATTACKED = Role(
    name="attacked", metric="attacked_efficacy", wanted="absent", label="attacks the edit",
    pictures="whose prompt attacks the edit", in_mean=False, named=False,
)  # fmt: skip


@dataclass(frozen=True)
class Budget:
    """What an attack may spend on one row.

    Args:
        images: Pictures that the edited model makes, 1 or more.
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
    """The most successful prompt of an attack on one row.

    Args:
        prompt: The prompt as text; where `given` is not None, what people are to read in its place.
        given: Ids or embeddings of one row, for a prompt that is no text.
        success: Whether the judge sees the concept in the edited model's picture of it.
        images: Pictures that were made.
        gradients: Backward passes that were made.
    """

    prompt: str
    given: TokenIds | TokenEmbeddings | None
    success: bool
    images: int
    gradients: int = 0


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass of settings. The same seed gives the same attempt; model and edit are never changed."""

    name: ClassVar[str]

    def attempt(self, model: Any, edit: Edit, row: SuiteRow, judge: Judge, *, budget: Budget, seed: int = 0) -> Attempt:
        """Looks for a prompt by which the edited model shows what the row expects, at the row's seed.

        Args:
            model: The model, without the edit.
            edit: What is attacked; put in place with `model.edited(edit)`.
            row: What the model showed before it was edited.
            judge: Says whether a picture shows the concept.
            budget: What may be spent.
            seed: Of the attack's own draws.
        """
        ...


def attacked(
    attack: Attack,
    model: Model,
    edits: dict[str, Edit],
    suite: Suite,
    judge: Judge,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Suite:
    """The suite of the prompts by which an attack met each edit: evaluated as any other, on these edits or on more.

    Args:
        attack: The attack.
        model: The model, without an edit.
        edits: By the names of their conditions. Each is attacked by itself, and its prompts belong to its condition.
        suite: Its rows about the target are attacked, at their own seeds.
        judge: Who says whether an attempt succeeds.
        budget: What may be spent on a row and edit.
        seed: Of the attack's own draws.
        progress: Shows the rows.

    Raises:
        WorkbenchError: The suite has no row about its target, or there is no edit.
    """
    model.check_unedited("An attack")
    rows = [row for row in suite.rows if suite.known_roles[row.role].wanted == "absent"]
    if not rows or not edits:
        raise WorkbenchError("There is nothing to attack.", "Give a suite with rows about its target, and an edit.")
    found, inputs = [], {}
    for name, row in progress([(name, row) for name in edits for row in rows], attack.name):
        attempt = attack.attempt(model, edits[name], row, judge, budget=budget or Budget(), seed=seed)
        known = "" if attempt.given is None else input_hash(attempt.given)
        if attempt.given is not None:
            inputs[known] = attempt.given
        found.append(replace(row, prompt=attempt.prompt, role=ATTACKED.name, condition=name, input=known))
    name = f"{suite.name}, {attack.name}"
    return Suite(name, tuple(dict.fromkeys(found)), suite.anchor, roles=(ATTACKED,), inputs=inputs)


def sees(judge: Judge, images: Images, prompts: Sequence[str], concept: str) -> list[bool]:
    """Whether a judge sees a concept in each picture, broken ones included."""
    return shown(judge.score(images, prompts), judge, concept, intact_only=False).tolist()
