"""Noised: sampling starts from a noised picture of the concept, with a prompt that says nothing of it.

An edit that only leads prompts away leaves the denoiser able to finish such a picture (after Lu et al. 2025,
arXiv:2505.17013). x₀ are the latents of the picture, ε noise, t₀ a timestep:
    (1)  x_{t₀} = √ᾱ x₀ + √(1−ᾱ) ε,   then the sampler goes on from t₀ as usual
The starts are tried from the noisiest on: at 1 nothing of the picture is left, near 0 any model hands it back, one that
never knew the concept too. What the control on such a concept finds at a start means nothing there. A Janus has no
noise: it goes on from the first rows of the picture's tokens (`workbench.attacks.begun_rows`), and t₀ is what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.applying import check_applies
from workbench.attacks.attack import Attack, AttackMethod, Attempt, Budget, own_generator
from workbench.attacks.begun_rows import OtherRows, going_on
from workbench.attacks.pictures import Folder, check_pictures, targets
from workbench.attacks.trying import Search, Try, try_all
from workbench.concepts import Concept
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.models import Begun, Janus, Model
from workbench.models.capabilities import AUTOREGRESSIVE, DENOISER
from workbench.models.diffusion.begun import LONGEST
from workbench.models.model import Change
from workbench.papers import Reference


@dataclass(frozen=True, kw_only=True)
class Noised(AttackMethod):
    """Begins with a noised picture of the concept, or a Janus with its first rows, and an empty prompt."""

    starts: Annotated[
        tuple[float, ...], Doc("t₀, as shares of the schedule, or of the picture's rows, in the order of trial.")
    ] = (0.9, 0.7, 0.5)
    prompt: Annotated[str, Doc("What the model is told in the place of the row's prompt.")] = ""
    pictures: Folder = ""
    others: Annotated[
        tuple[str, ...], Doc("Names of other concepts, with whose rows a Janus's control begins; none: the prompt's.")
    ] = ()

    name: ClassVar[str] = "noised"
    paper: ClassVar[Reference] = Reference(
        title="When Are Concepts Erased From Diffusion Models?",
        authors="K. Lu, N. Kriplani, R. Gandikota, M. Pham, D. Bau, C. Hegde, N. Cohen",
        year=2025, arxiv="2505.17013", venue="NeurIPS",
    )  # fmt: skip
    access: ClassVar[str] = "prompts"
    needs: ClassVar[tuple[frozenset[str], ...]] = (frozenset({DENOISER}), frozenset({AUTOREGRESSIVE}))
    cost: ClassVar[str] = "a picture a start, and one of the unedited model"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.starts or not all(0 < one <= 1 for one in self.starts):
            raise WorkbenchError(f"starts are {self.starts}.", "Give at least one, each above 0 and up to 1.")

    @classmethod
    def told_by(cls, concept: Concept) -> dict[str, Any]:
        """Its anchor, and what should stay."""
        return {"others": tuple(one for one in (concept.anchor, *concept.retain) if one)}

    def control(self, model: Model, rows: Sequence[SuiteRow], found: Sequence[Attempt]) -> Attack | None:
        """Of a Janus, as many rows of other pictures; of a denoiser none of its own."""
        if not isinstance(model, Janus):
            return None
        return OtherRows(starts=self.starts, prompt=self.prompt, others=self.others)

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Pictures that can be begun, and some of every concept."""
        check_applies(self, model)
        check_pictures(self.pictures, rows)

    def attempts(
        self, model: Model, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """The noisiest start from which the concept comes back; the last one that was tried if none does."""
        self.check(model, rows, budget)
        x0 = targets(model, rows, self.pictures, seed, **sampling).cpu()
        if isinstance(model, Janus):
            return going_on(
                model, edit, rows, judge, x0, self.starts, self.prompt, budget, progress=progress, **sampling
            )
        x0 = x0.float()
        noise = torch.stack([torch.randn(x0.shape[1:], generator=own_generator(row, seed, "noise")) for row in rows])
        found = [Search(row) for row in rows]
        with model.edited(edit):
            for start in progress(self.starts[: budget.images], "starts"):
                whole = Begun([self.prompt] * len(rows), noise, x0, LONGEST * start).rows()
                tries = [(one, Try(one.row, self.prompt, begun)) for one, begun in zip(found, whole, strict=True)]
                try_all(model, [pair for pair in tries if not pair[0].success], judge, **sampling)
        return [one.attempt() for one in found]
