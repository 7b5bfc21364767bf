"""The conditions of a study: its subject and every control at every dose, and an edit that does nothing."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from workbench.conditions import UNEDITED
from workbench.edits import ComposedEdit, Edit
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.models import Model
from workbench.studies.choosing import Chosen
from workbench.studies.contexts import rows
from workbench.studies.hypothesis import Study
from workbench.studies.observing import Observer
from workbench.studies.parts import move
from workbench.studies.targets import target

NO_OP = "no-op"


class Condition(NamedTuple):
    """Whose parts are changed and by how much; `draw` counts random draws from 1, 0 where nothing is drawn."""

    whose: Literal["unedited", "no-op", "subject", "random"]
    dose: float
    draw: int = 0

    @property
    def name(self) -> str:
        """Its name in the run: "dose 1", "random 2, dose 1", …"""
        if self.whose in (UNEDITED, NO_OP):
            return self.whose
        return f"random {self.draw}, dose {self.dose:g}" if self.whose == "random" else f"dose {self.dose:g}"


def conditions(study: Study, n_controls: int) -> list[Condition]:
    """All conditions, in the order in which reports show them."""
    found = [Condition("unedited", 0.0), Condition("no-op", 0.0)]
    found += [Condition("subject", dose) for dose in study.all_doses]
    return found + [Condition("random", dose, draw + 1) for draw in range(n_controls) for dose in study.all_doses]


def edits(
    model: Model, study: Study, subject: Chosen, controls: Sequence[Chosen], observer: Observer
) -> dict[str, Edit | None]:
    """The edit of each condition by its name, without the unedited one."""
    targets = {
        id(part): target(part, study, observer) for chosen in (subject, *controls) for part in chosen.parts
    }  # the same for all doses

    def edit(chosen: Chosen, dose: float, method: str) -> Edit:
        moved = [
            move(
                model, part, targets[id(part)], dose=dose, scale=chosen.scale, method=method, concept=study.concept.name
            )
            for part in chosen.parts
        ]
        return moved[0] if len(moved) == 1 else ComposedEdit(moved)

    found: dict[str, Edit | None] = {}
    for condition in conditions(study, len(controls)):
        if condition.whose == "subject":
            found[condition.name] = edit(subject, condition.dose, study.claim)
        elif condition.whose == "random":
            found[condition.name] = edit(controls[condition.draw - 1], condition.dose, f"random like {study.claim}")
        elif condition.whose == "no-op":
            found[condition.name] = edit(subject, study.dose, study.claim).no_op()
    return found


def words_shown(study: Study) -> tuple[str, ...]:
    """The words that take their place in the sentences under every condition."""
    own: Mapping[str, tuple[str, ...]] = {
        "necessary": (study.concept.name,),
        "sufficient": tuple(study.sparing),
        "specific": (study.concept.name, *study.sparing),
    }
    return own[study.claim]


def suite(study: Study) -> Suite:
    """The pictures that every condition makes: every sentence with every word, at the same seeds."""
    name = study.concept.name
    made = rows(study.prompts, name, words_shown(study), study.seeds, study.seed)
    listed = [SuiteRow(row.prompt, "target" if row.word == name else "neighbour", row.word, row.seed) for row in made]
    return Suite(name, tuple(listed), study.sparing[0])
