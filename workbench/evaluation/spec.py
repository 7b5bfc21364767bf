"""What a run asks for: the content of run.json, and the images that follow from it.

A *cell* is one image to make: (model, edit, prompt, seed, settings). Its key is the hash of these five, so trials and
conditions share the cells on which they agree.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from saes.config import StrictConfig
from workbench.evaluation.roles import Role
from workbench.evaluation.shares import shares_of
from workbench.identity import Identity
from workbench.settings import Setting

if TYPE_CHECKING:
    from workbench.models import Model

FORMAT: Literal["erasure-workbench run 2"] = "erasure-workbench run 2"
Settings = Mapping[str, Any]  # each a Setting


class ModelSpec(StrictConfig):
    """Which model, as it was.

    Args:
        name: What it was called.
        kind: Its architecture.
        fingerprint: Identifies the weights.
        parts: Identify all else that decides a picture: see `workbench.identity.Identity`.
    """

    name: str
    kind: str
    fingerprint: str
    parts: dict[str, str]

    @classmethod
    def of(cls, model: "Model") -> "ModelSpec":
        """That of a model as it is now."""
        identity = model.identity
        return cls(name=model.name, kind=model.kind, fingerprint=identity.fingerprint, parts=dict(identity.parts))

    @property
    def identity(self) -> Identity:
        """All of it, to compare with a model's."""
        return Identity(self.fingerprint, self.parts)


class Row(StrictConfig):
    """One row of a suite in a run.

    Args:
        prompt: The prompt.
        role: A name among the roles of the run.
        expected: The concept that the unedited model should show, "" for none known.
        seed: The seed of the image.
        condition: The only condition that makes this row beside the unedited model, such as the edit that the prompt
            attacks. "" for a row of all conditions.
        input: What the model is given in the place of the text, by its hash (`evaluation.inputs`): what an attack or a
            soft prompt is made of. "" where it is given the text.
        share: The share of the prompts to which it belongs, where it attacks one of several fits; None where it is
            dealt out as `Trial.shares` says.
        guidance_scale: That of this image, None for that of the run.
        steps: The same of the denoising steps.
        size: Width and height that its list says, which are the model's own; None where it says none.
    """

    prompt: str
    role: str
    expected: str
    seed: int
    condition: str = ""
    input: str = ""
    share: int | None = None
    guidance_scale: float | None = None
    steps: int | None = None
    size: tuple[int, int] | None = None

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling settings of its own."""
        own = {"guidance_scale": self.guidance_scale, "steps": self.steps}
        return {name: value for name, value in own.items() if value is not None}


class EditSpec(StrictConfig):
    """Which edit: `hash` is the hash of its saved files and the name of its folder under `edits/`."""

    hash: str
    kind: str
    method: str
    concepts: tuple[str, ...]
    settings: dict[str, Any]
    seed: int

    @field_validator("settings")
    @classmethod
    def _as_read(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """As they are once they were read from run.json: an edit that was just fitted is that which was loaded."""
        return json.loads(json.dumps(settings))


class Length(StrictConfig):
    """How long a training was let go on, by a rule on validation pictures.

    Args:
        share: Of the method's full length, above 0 and up to 1.
        left: The share of validation pictures that show the concept after it, 0 to 1.
        met: Whether that is little enough by the rule; if not, the full length was taken.
    """

    share: float
    left: float
    met: bool


class Trial(StrictConfig):
    """One suite under several conditions; None is the unedited model, which is always among them.

    Args:
        suite: The name of the suite. With `concept` it is the key of the trial in every table.
        concept: The one to be erased.
        anchor: What may take its place, "" for none.
        dropped: How many prompts were left out of the suite because they may involve a minor.
        rows: All rows, in the order of the suite; a row is known by its place.
        conditions: The edits by the names of their conditions.
        refits: Further fits of a condition's edit with other seeds, where it has some. Each fit then makes its share of
            the prompts: see `shares`.
    """

    suite: str
    concept: str
    anchor: str
    dropped: int
    rows: tuple[Row, ...]
    conditions: dict[str, EditSpec | None]
    refits: dict[str, tuple[EditSpec, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _refits_belong(self) -> "Trial":
        if any(self.conditions.get(name) is None for name in self.refits):
            raise ValueError(f"there are refits of what is no edit of {self.suite!r}")
        if len({len(refits) for refits in self.refits.values()}) > 1:
            raise ValueError(f"conditions of {self.suite!r} have unequally many fits")
        return self

    @model_validator(mode="after")
    def _rows_belong(self) -> "Trial":
        for row in self.rows:
            if row.condition and row.condition not in self.conditions:
                raise ValueError(f"a row belongs to {row.condition!r}, which is no condition of {self.suite!r}")
            if row.share is not None and not 0 <= row.share < self.n_shares:
                raise ValueError(f"a row belongs to share {row.share} of {self.n_shares} in {self.suite!r}")
        for name in self.conditions:
            if not self.rows_of(name):
                raise ValueError(f"the condition {name!r} has no rows in {self.suite!r}")
        return self

    def rows_of(self, condition: str) -> dict[int, Row]:
        """The rows that a condition makes, by their places. The unedited model makes all, to be compared with."""
        return {
            place: row
            for place, row in enumerate(self.rows)
            if row.condition in ("", condition) or self.conditions[condition] is None
        }

    def fits(self, condition: str) -> tuple[EditSpec, ...]:
        """The edits of a condition: one, or one a seed; none of the unedited model."""
        edit = self.conditions[condition]
        return () if edit is None else (edit, *self.refits.get(condition, ()))

    def edits_of(self, condition: str) -> dict[int, EditSpec | None]:
        """Which edit makes each of a condition's rows, by their places."""
        fits = self.fits(condition) or (None,)
        shares = self.shares
        return {place: fits[shares[place] % len(fits)] for place in self.rows_of(condition)}

    @property
    def n_shares(self) -> int:
        """Into how many shares the prompts are dealt out: as many as there are fits of a condition."""
        return 1 + max(map(len, self.refits.values()), default=0)

    @property
    def shares(self) -> tuple[int, ...]:
        """The share of the prompts to which each row belongs, from 0: see `shares_of`."""
        return shares_of(self.rows, self.n_shares)


class RunSpec(StrictConfig):
    """The content of run.json.

    Args:
        model: The model.
        settings: How every image is sampled: further arguments of `model.generate`, which the model declares.
        roles: The roles that rows have, in the order in which tables show them.
        trials: The suites, each under its conditions.
        question: What the run is to answer, "" for the usual.
        chosen_on: Condition → on what its settings were chosen, where that is known.
        lengths: Condition → concept → how long each of its fits was let go on, where a rule chose that.
        environment: Versions, and the machine.
        command: The command line that began it.
        started: When that was.
    """

    format: Literal["erasure-workbench run 2"] = FORMAT
    model: ModelSpec
    settings: dict[str, Any]
    roles: tuple[Role, ...]
    trials: tuple[Trial, ...]
    question: str = ""
    chosen_on: dict[str, str] = Field(default_factory=dict)
    lengths: dict[str, dict[str, tuple[Length, ...]]] = Field(default_factory=dict)
    environment: dict[str, str]
    command: str
    started: str

    @field_validator("settings")
    @classmethod
    def _plain(cls, settings: Settings) -> Settings:
        for name, value in settings.items():
            if not isinstance(value, Setting):
                raise ValueError(f"{name} is no number, text or truth value")
        return settings

    @model_validator(mode="after")
    def _trials_differ(self) -> "RunSpec":
        if len({(trial.suite, trial.concept) for trial in self.trials}) < len(self.trials):
            raise ValueError("two trials have one suite and one concept")
        for row in (row for trial in self.trials for row in trial.rows):
            if row.role not in self.roles_by_name:
                raise ValueError(f"a row has the role {row.role!r}, which the run does not declare")
        return self

    @property
    def roles_by_name(self) -> dict[str, Role]:
        """The roles, in the order in which tables show them."""
        return {role.name: role for role in self.roles}

    @property
    def titles(self) -> dict[str, Trial]:
        """The trials by what people call them: the concept, or “concept (suite)” where it has several suites."""
        concepts = [trial.concept for trial in self.trials]
        return {title(one.suite, one.concept, concepts.count(one.concept) > 1): one for one in self.trials}

    @property
    def edits(self) -> tuple[EditSpec, ...]:
        """Every edit of the run, each once, in the order of the conditions."""
        every = (edit for trial in self.trials for name in trial.conditions for edit in trial.fits(name))
        return tuple({edit.hash: edit for edit in every}.values())

    @property
    def shared_conditions(self) -> list[str]:
        """The conditions that every trial has, in the order of the first."""
        first = self.trials[0].conditions
        return [name for name in first if all(name in trial.conditions for trial in self.trials)]

    def difference(self, other: "RunSpec") -> str:
        """How the first part in which another run asks for something else is told, "" if both ask for the same."""
        if parts := other.model.identity.differences(self.model.identity):
            return f"of another model: {listed_parts(parts)}"
        asked = {"model": "differs", "settings": "differ", "roles": "differ", "trials": "differ"}
        return next(
            (f"{name} {verb}" for name, verb in asked.items() if getattr(self, name) != getattr(other, name)), ""
        )

    def cell(self, edit: EditSpec | None, row: Row) -> "Cell":
        """The cell of one image."""
        return cell(self.model, self.settings, edit, row)

    def cells(self) -> list["Cell"]:
        """Every image that the run asks for, each once: the unedited ones of all trials first."""
        cells = [
            self.cell(edit, trial.rows[place])
            for trial in self.trials
            for name in trial.conditions
            for place, edit in trial.edits_of(name).items()
        ]
        return sorted(dict.fromkeys(cells), key=lambda c: c.edit != "")


@lru_cache  # asked for every cell
def _hash(fingerprint: str, parts: tuple[tuple[str, str], ...]) -> str:
    return Identity(fingerprint, dict(parts)).hash


def listed_parts(parts: Sequence[str]) -> str:
    """Parts in which two models differ, as the end of a sentence."""
    differ = "differ" if len(parts) > 1 or parts == ["weights"] else "differs"
    return f"{' and '.join(parts)} {differ}"


def title(suite: str, concept: str, several: bool) -> str:
    """What people call a suite about a concept, which has `several` of them or just this one."""
    return f"{concept} ({suite})" if several else concept


class Cell(NamedTuple):
    """One image to make. `edit` is the hash of the edit, "" for the unedited model, whose image of the same prompt and
    seed has the key `unedited`; `input` is what is given in the place of the text, "" for the text itself; `sampling`
    are the settings in which it differs from the run."""

    key: str
    edit: str
    prompt: str
    seed: int
    unedited: str
    input: str = ""
    sampling: tuple[tuple[str, Any], ...] = ()


def cell(model: ModelSpec, settings: Settings, edit: EditSpec | None, row: Row) -> Cell:
    """The cell of one image; its key is 80 bits of the SHA-256 of all that decides the pixels."""
    given = {"input": row.input} if row.input else row.prompt
    made_by, own = _hash(model.fingerprint, tuple(sorted(model.parts.items()))), edit.hash if edit else ""
    sampled = dict(settings) | row.sampling
    with_edit, unedited = (_key([made_by, one, given, row.seed, sampled]) for one in (own, ""))
    return Cell(with_edit, own, row.prompt, row.seed, unedited, row.input, tuple(row.sampling.items()))


def _key(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
