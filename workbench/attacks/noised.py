"""Noised: sampling starts from a noised picture of the concept, with a prompt that says nothing of it.

An edit that only leads prompts away leaves the denoiser able to finish such a picture (after Lu et al. 2025,
arXiv:2505.17013). x₀ are the latents of the picture, ε noise, t₀ a timestep:
    (1)  x_{t₀} = √ᾱ x₀ + √(1−ᾱ) ε,   then the sampler goes on from t₀ as usual
The starts are tried from the noisiest on: at 1 nothing of the picture is left, near 0 any model hands it back, one that
never knew the concept too. What the control on such a concept finds at a start means nothing there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.attack import AttackMethod, Attempt, Budget, own_generator
from workbench.attacks.pictures import Folder, check_pictures, pictures_for
from workbench.attacks.trying import Search, Try, try_all
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.models import Begun, Diffusion
from workbench.models.diffusion.begun import LONGEST
from workbench.models.diffusion.model import as_diffusion
from workbench.models.model import Change
from workbench.papers import Reference


@dataclass(frozen=True, kw_only=True)
class Noised(AttackMethod):
    """Begins with a noised picture of the concept and an empty prompt."""

    starts: Annotated[tuple[float, ...], Doc("t₀, as shares of the schedule, in the order of trial.")] = (0.9, 0.7, 0.5)
    prompt: Annotated[str, Doc("What the model is told in the place of the row's prompt.")] = ""
    pictures: Folder = ""

    name: ClassVar[str] = "noised"
    paper: ClassVar[Reference] = Reference(
        title="When Are Concepts Erased From Diffusion Models?",
        authors="K. Lu, N. Kriplani, R. Gandikota, M. Pham, D. Bau, C. Hegde, N. Cohen",
        year=2025, arxiv="2505.17013", venue="NeurIPS",
    )  # fmt: skip
    access: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "a picture a start, and one of the unedited model"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.starts or not all(0 < one <= 1 for one in self.starts):
            raise WorkbenchError(f"starts are {self.starts}.", "Give at least one, each above 0 and up to 1.")

    def check(self, model: Diffusion, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """A diffusion model, and pictures of every concept."""
        as_diffusion(model, "The attack from noised pictures")
        check_pictures(self.pictures, rows)

    def attempts(
        self, model: Diffusion, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """The noisiest start from which the concept comes back; the last one that was tried if none does."""
        self.check(model, rows, budget)
        x0 = model.latents(pictures_for(model, rows, self.pictures, seed, **sampling)).cpu().float()
        noise = torch.stack([torch.randn(x0.shape[1:], generator=own_generator(row, seed, "noise")) for row in rows])
        found = [Search(row) for row in rows]
        with model.edited(edit):
            for start in progress(self.starts[: budget.images], "starts"):
                whole = Begun([self.prompt] * len(rows), noise, x0, LONGEST * start).rows()
                tries = [(one, Try(one.row, self.prompt, begun)) for one, begun in zip(found, whole, strict=True)]
                try_all(model, [pair for pair in tries if not pair[0].success], judge, **sampling)
        return [one.attempt() for one in found]
