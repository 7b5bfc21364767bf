"""A hypothesis as data: what is claimed of which part of a model, on which prompts, and what would count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from saes.config import Seed, StrictConfig
from saes.errors import WorkbenchError, unknown_name
from workbench.concepts import Concept, check_concept
from workbench.studies.contexts import swapped
from workbench.studies.subjects import Subject

DRAWN = 10  # times as many prompts are drawn as are asked for, for repetitions and finding prompts fall away
HeldOut = Callable[[Concept, int, int], Sequence[str]]
Claim = Literal["necessary", "sufficient", "specific"]
"""necessary: without the subject the concept is gone from pictures of its prompts. sufficient: patched into prompts
without the concept, whichever spared word they name, the subject brings it about. specific: taking it out costs the
concept more than each spared one."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A claim about a part of a model (`subject`) and a concept, and how it is tested.

    `prompts` are held out: none may be one of those that find the subject. Each names the concept; with its name
    replaced by each word of `sparing` in turn, it gives the prompts without the concept. `dose` is what the claim is
    tested at: 0 changes nothing, 1 takes the subject out (or patches it in) whole; `doses` are measured beside it.
    `controls` is how many random draws stand against the subject, `smallest` the least difference that matters, in
    [0, 1]. Raises `WorkbenchError` for what cannot be tested.
    """

    claim: Claim
    concept: Concept
    subject: Subject
    sparing: Sequence[str]
    prompts: Sequence[str]
    found_for: Concept | None = None  # whose features or direction, if the subject looks for another concept's
    question: str = ""
    seeds: int = 1
    dose: float = 1.0
    doses: Sequence[float] = ()
    controls: int = 4
    alpha: float = 0.05
    smallest: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("sparing", "prompts", "doses"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if self.claim not in get_args(Claim):  # a Python caller is not held to the annotation
            raise unknown_name("claim", self.claim, get_args(Claim))
        check_concept(self.concept), check_concept(self.source)
        _ = self.subject.kind
        if self.subject.of not in ("", self.source.name):
            raise WorkbenchError(
                f"The subject belongs to {self.subject.of!r}, but prompts of {self.source.name!r} would find it.",
                f"Give the concept {self.subject.of!r} as `found_for`.",
            )
        self._check_numbers()
        self._check_prompts()

    @property
    def source(self) -> Concept:
        """The concept whose prompts find the subject."""
        return self.found_for or self.concept

    @property
    def all_doses(self) -> tuple[float, ...]:
        """Every dose, each once, ascending."""
        return tuple(sorted({self.dose, *self.doses}))

    def finding_prompts(self) -> set[str]:
        """The prompts that find the subject and its controls."""
        found = {*self.source.prompts(), *self.source.retain_prompts()}
        return found | {*self.concept.prompts(), *self.concept.retain_prompts()}

    def _check_numbers(self) -> None:
        within = {
            "alpha": 0 < self.alpha < 0.5, "smallest": 0 <= self.smallest < 1, "seeds": self.seeds >= 1,
            "controls": self.controls >= 1, "dose": self.dose > 0, "doses": all(dose > 0 for dose in self.doses),
        }  # fmt: skip
        for name, right in within.items():
            if not right:
                raise WorkbenchError(
                    f"{name} is {getattr(self, name)}.",
                    "alpha lies in (0, 0.5), smallest in [0, 1), doses above 0; at least one seed and one control.",
                )

    def _check_prompts(self) -> None:
        if not all(word.strip() for word in self.sparing):
            raise WorkbenchError("`sparing` has an empty entry.", "Remove it.")
        if not self.sparing:
            raise WorkbenchError("The study spares nothing.", "Name the concepts to compare with: sparing: [dog, cat].")
        if own := [word for word in self.sparing if word.casefold() == self.concept.name.casefold()]:
            raise WorkbenchError(f"The study spares {own[0]!r}, which it is about.", "Spare other concepts.")
        if len(self.prompts) < 2:
            raise WorkbenchError(f"The study has {len(self.prompts)} held-out prompts.", "Give at least 2.")
        for prompt in self.prompts:
            swapped(prompt, self.concept.name, self.sparing[0])
        if overlap := sorted(self.finding_prompts() & set(self.prompts)):
            raise WorkbenchError(
                f"{len(overlap)} held-out prompts also find the subject, first {overlap[0]!r}.",
                "Take prompts that are none of the concept's own templates.",
            )


class StudyFile(StrictConfig):
    """What a file says: a `Study` in words. `prompts` is a number (drawn by the world of the concept) or a list."""

    question: str
    model: str
    concept: str
    sparing: tuple[str, ...]
    claim: Claim
    subject: Subject
    prompts: int | tuple[str, ...] = 24
    seeds: int = 1
    dose: float = 1.0
    doses: tuple[float, ...] = ()
    controls: int = 4
    alpha: float = 0.05
    smallest: float = 0.2
    seed: Seed = 0

    def study(self, concept: Callable[[str], Concept], held_out: Callable[[Concept, int, int], Sequence[str]]) -> Study:
        """The study. `concept` finds one by its word, `held_out(concept, n, seed)` makes prompts that name it.

        Whose features or direction are looked for may be said by its word, or as the study's own concept is called.
        """
        about, of = concept(self.concept), self.subject.of
        source = None if of in ("", self.concept, about.name) else concept(of)
        subject = self.subject.looked_for_in((source or about).name) if of else self.subject
        known = {*about.prompts(), *about.retain_prompts(), *(source.prompts() if source else ())}
        prompts = drawn(self.prompts, about, known, held_out, self.seed)
        same: dict[str, Any] = {name: getattr(self, name) for name in _SAME}
        return Study(concept=about, found_for=source, subject=subject, prompts=prompts, **same)


_SAME = (
    "claim", "sparing", "question", "seeds", "dose", "doses", "controls", "alpha", "smallest", "seed",
)  # fmt: skip


def drawn(
    prompts: int | tuple[str, ...], concept: Concept, known: set[str], held_out: HeldOut, seed: int
) -> tuple[str, ...]:
    """The prompts as they are listed, or so many distinct ones that are not `known`.

    Raises `WorkbenchError` if there are not so many.
    """
    if not isinstance(prompts, int):
        return prompts
    free = [prompt for prompt in dict.fromkeys(held_out(concept, DRAWN * prompts, seed)) if prompt not in known]
    if len(free) < prompts:
        raise WorkbenchError(
            f"Only {len(free)} held-out prompts of {concept.name!r} were found, and {prompts} are asked for.",
            "Ask for fewer, or for several seeds of each.",
        )
    return tuple(free[:prompts])
