"""What every erasure method is, and what it may ask of models and concepts."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept, concept_list
from workbench.edits import Edit
from workbench.fitting.footprint import Footprint
from workbench.knobs import Knobs
from workbench.models import Model
from workbench.models.capabilities import kinds_with
from workbench.papers import Reference


@dataclass(frozen=True)
class Supports:
    """What a method needs of a model and of a concept. Checked before any work.

    Args:
        capabilities: Of `workbench.models.capabilities`; the method works on every kind of model that has them all.
        needs: Fields that a concept must fill; "retain|captions" means at least one of the two.
    """

    capabilities: Set[str]
    needs: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of models that it works on, by name."""
        return kinds_with(self.capabilities)

    def check(self, method: str, model: Model, concepts: Sequence[Concept]) -> None:
        """Raises `WorkbenchError` for the first thing that does not fit, and says what would."""
        model.check_unedited("A fit", unless_composing=True)
        if missing := sorted(self.capabilities - model.capabilities):
            lacking = " and ".join(missing).replace("_", " ")
            raise WorkbenchError(
                f"{method} does not work on {model.name} ({model.kind}), which has no {lacking}.",
                f"It works on {', '.join(self.kinds)}{' that have it' if model.kind in self.kinds else ''}.",
            )
        for concept in concept_list(concepts):
            for need in self.needs:
                if not any(getattr(concept, field) for field in need.split("|")):
                    wanted = need.replace("|", " or ")
                    raise WorkbenchError(
                        f"{method} needs `{wanted}` of the concept {concept.name!r}.",
                        f"Give it: {need.split('|')[0]}=…",
                    )


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass of hyper-parameters. The same seed gives the same edit; the model is never changed.

    `name` is that of the table, `paper` what it is made after (None: nothing that was published), `family` how the edit
    is found, and `cost` what a fit takes, in a few words.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    supports: ClassVar[Supports]
    cost: ClassVar[str]

    @property
    def paper(self) -> Reference | None: ...

    def inputs(self) -> Sequence[Path]:
        """The files that a fit depends on, whether they exist or not: another content is another fit."""
        ...

    def fit(self, model: Any, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT) -> Edit:
        """Finds an edit that erases all the concepts.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once.
            seed: Decides all that is drawn at random.
            progress: Told how far the work is, under a label.

        Returns:
            The edit.

        Raises:
            WorkbenchError: For what the method does not support, before any work.
        """
        ...


class ErasureMethod(Knobs):
    """The base of our methods: frozen dataclasses whose fields are knobs, with what every `Method` says of itself.

    `reconstructed` says of a method that is not its authors' why so; "" where their code, or all their equations and
    settings, are followed. It is marked wherever it is named.
    """

    name: ClassVar[str]
    reconstructed: ClassVar[str] = ""
    paper: ClassVar[Reference | None]
    family: ClassVar[str]
    supports: ClassVar[Supports]
    cost: ClassVar[str]
    length: ClassVar[tuple[str, ...]] = ()
    """The knobs that count how long it trains, for `comparison.stopping`; () if it does not train."""

    @property
    def seeded(self) -> bool:
        """Whether fits with different seeds differ. What draws nothing at random is fitted once for all seeds of a
        comparison, and says so here; a check of `workbench.testing` holds it to that."""
        return True

    def __init_subclass__(cls, **told: Any) -> None:
        if cls.reconstructed and cls.__doc__:
            cls.__doc__ = f"{cleandoc(cls.__doc__)}\n\nA reconstruction: {cls.reconstructed}."
        super().__init_subclass__(**told)

    def footprint(self, model: Any) -> Footprint | None:
        """What a training of it holds and computes, for `fitting.peak.peak_memory`.

        Args:
            model: A model, or one without numbers.

        Returns:
            None for a method that trains nothing.
        """
        return None

    def told(
        self, model: Model, concepts: Sequence[Concept], seed: int, settings: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The fields of an edit that say where it comes from.

        Args:
            model: The model that it is fitted on.
            concepts: The concepts that it erases.
            seed: The seed of the fit.
            settings: What is known of the settings beyond the knobs, or in the place of theirs.

        Returns:
            `settings`, `method`, `concepts`, `base_fingerprint` and `seed` of an edit.
        """
        return {
            "settings": {**asdict(self), **(settings or {})},  # type: ignore[call-overload]  # a dataclass, as all are
            "method": self.name,
            "concepts": [concept.name for concept in concepts],
            "base_fingerprint": model.fingerprint,
            "seed": seed,
        }
