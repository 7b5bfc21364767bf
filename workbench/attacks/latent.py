"""Another start for the same words: the noise that a picture begins with is moved until the concept is in the picture.

Rusanovsky et al. (2025, arXiv:2412.00782) invert pictures of an erased concept in the edited model and find starts that
give them back, as likely as any. Here the start may only be near the row's own noise z₀, and is sought by gradients
through the edited sampler S, DDIM in a few steps with guidance; x₀ is what the unedited model drew from z₀.
    (1)  min over z of mean ‖x₀ − S(z; p)‖²,  ‖z‖ = ‖z₀‖,  ‖z − z₀‖ ≤ ρ ‖z₀‖
    (2)  z ← Π(z − η ‖z₀‖ g / ‖g‖), g the gradient of (1), Π the nearest point that (1) allows
The norm is kept since noise of another norm is unlike any that a seed gives. Two independent draws are about √2 ‖z₀‖
apart. Pictures are judged as the model samples them, not as S does.
It finds something in any model: on the toy a key, which nobody ever drew for it, in 7 of 8 rows (random starts: 1 of 8;
tests/attacks/test_on_the_toy.py). What it finds after an edit says little without a concept that was never known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Doc

from saes.progress import SILENT, Progress
from workbench.attacks.at_random import AtRandom
from workbench.attacks.attack import AttackMethod, Attempt, Budget
from workbench.attacks.guided import Guided
from workbench.attacks.pictures import Folder, targets
from workbench.attacks.pursuit import (
    Rounds,
    chases_of,
    check_rows,
    check_search,
    check_through,
    pursued,
    rounds_of,
)
from workbench.attacks.reach import check_reached
from workbench.attacks.trying import Try
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.fitting.trajectories import ddim
from workbench.models import Begun, Diffusion, Model
from workbench.models.capabilities import NOISE_SCHEDULE
from workbench.models.diffusion.architecture import Latents
from workbench.models.encoding import Encoding
from workbench.models.model import Change
from workbench.papers import Reference


@dataclass(frozen=True, kw_only=True)
class Latent(AttackMethod):
    """The start noise of a picture, moved within a ball by gradients through the edited sampler."""

    radius: Annotated[float, Gt(0), Lt(2), Doc("ρ: how far from the row's own noise, of its norm.")] = 0.5
    rate: Annotated[float, Gt(0), Doc("η: length of a step, of the norm of the noise.")] = 0.1
    sampler_steps: Annotated[int, Ge(1), Doc("Of S; the graphs of all of them are held at once.")] = 8
    steps: Annotated[int, Ge(1), Doc("Of (2).")] = 100
    checks: Annotated[int, Ge(1), Doc("How often a picture is judged: the last time at its end.")] = 10
    pictures: Folder = ""

    name: ClassVar[str] = "latent"
    paper: ClassVar[Reference] = Reference(
        title="Memories of Forgotten Concepts",
        authors="M. Rusanovsky, S. Malnick, A. Jevnisek, O. Fried, S. Avidan",
        year=2025,
        arxiv="2412.00782",
        venue="CVPR",
    )
    access: ClassVar[str] = "weights"
    needs: ClassVar[tuple[frozenset[str], ...]] = (frozenset({NOISE_SCHEDULE}),)
    cost: ClassVar[str] = "up to 100 gradients, each through 8 steps of sampling, and 10 images"

    def control(self, model: Model, rows: Sequence[SuiteRow], found: Sequence[Attempt]) -> "RandomStart":
        """Starts that are as far away, in random directions."""
        return RandomStart(radius=self.radius)

    @property
    def most(self) -> Rounds:
        """A round for each picture that is judged."""
        checks = min(self.checks, self.steps)
        return Rounds(checks, self.steps // checks)

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """A noise schedule, pictures, and a budget for a round."""
        check_search(self, model, rows, budget, self.most, self.pictures)

    def check_edit(self, model: Diffusion, edit: Change, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Gradients that come through to the start."""
        check_through(model, edit, rows, budget, self.most, "The latent attack", "hard", "start")

    def attempts(
        self,
        model: Model,
        edit: Change,
        rows: Sequence[SuiteRow],
        judge: Judge,
        *,
        budget: Budget,
        seed: int = 0,
        progress: Progress = SILENT,
        **sampling: Any,
    ) -> list[Attempt]:
        """(1) and (2) for all rows together; nothing is drawn at random but the rows' own noise."""
        check_rows(self, model, rows, judge)
        assert isinstance(model, Diffusion)  # which has a noise schedule
        rounds = rounds_of(budget, self.most, 1)
        check_reached(model, edit, rows[0].prompt, "The latent attack", "hard", to="start")
        scale = sampling.get("guidance_scale")
        search = Starts(
            self, model, edit, rows, targets(model, rows, self.pictures, seed, **sampling), rounds.steps,
            model.defaults.guidance_scale if scale is None else scale,
        )  # fmt: skip
        chases = chases_of(rows, edit, "hard")
        return pursued(model, edit, rows, judge, chases, rounds, search, progress=progress, label=self.name, **sampling)


@dataclass(frozen=True, kw_only=True)
class RandomStart(AtRandom):
    """Starts drawn at random from the same ball, for the row's own words.

    In as many dimensions as a start has, nearly all of what (1) allows lies at the rim, where these are.
    """

    radius: Annotated[float, Gt(0), Lt(2), Doc("ρ.")]

    name: ClassVar[str] = "random start"

    def drawn(self, model: Diffusion, row: SuiteRow, generator: torch.Generator) -> Try:
        """ρ from the row's own noise."""
        own = model.noise([row.seed])
        start = allowed(torch.randn(own.shape, generator=generator), own, self.radius)
        return Try(row, row.prompt, Begun([row.prompt], start))


def allowed(z: Float[Tensor, "rows *shape"], z0: Float[Tensor, "rows *shape"], radius: float) -> Tensor:
    """Π of (2): on the sphere of z₀, turned back towards it where the chord is longer than ρ ‖z₀‖.

    Args:
        z: Anywhere but at 0.
        z0: The centre, of the same shape.
        radius: ρ, 0 to 2.
    """
    flat, centre = z.flatten(1), z0.flatten(1)
    norm = centre.norm(dim=1, keepdim=True)
    unit, along = flat / flat.norm(dim=1, keepdim=True), centre / norm
    cosine = (unit * along).sum(dim=1, keepdim=True)
    least = 1 - radius**2 / 2  # of a chord of length ρ on the unit sphere
    across = unit - cosine * along
    across = across / across.norm(dim=1, keepdim=True).clamp(min=torch.finfo(z.dtype).tiny)
    turned = least * along + (1 - least**2) ** 0.5 * across
    return (norm * torch.where(cosine < least, turned, unit)).view_as(z)  # (2)


def sampled(model: Diffusion, guided: Guided, noise: Latents, cond: Encoding, *, steps: int) -> Latents:
    """S(z; p): latents of pictures by DDIM, with gradients to the noise.

    Args:
        model: SD1, SD2 or SDXL, in the block of `edited` that `guided` was made in.
        guided: Its guidance; a scale of 1 or less goes without.
        noise: z.
        cond: The prompts.
        steps: Of DDIM.
    """
    scheduler, rules, x = ddim(model, steps), guided.rules(steps), noise.to(model.device)
    for call, t in enumerate(scheduler.timesteps.tolist()):
        plain = guided.scale <= 1
        raw = model.noise_prediction(x, t, cond) if plain else guided(x, t, cond, rules, call)
        x = scheduler.step(raw, t, x).prev_sample
    return x


@dataclass(eq=False)
class Starts:
    """The starts of all rows: a `Pursuit`."""

    attack: Latent
    model: Diffusion
    edit: Change
    rows: Sequence[SuiteRow]
    x0: Latents
    steps: int
    guidance_scale: float

    def __post_init__(self) -> None:
        self.own = self.model.noise([row.seed for row in self.rows]).to(self.x0)
        self.z = self.own.clone()

    def improve(self, chases: Sequence[int], number: int) -> None:
        """So many steps of (2)."""
        rows = list(chases)
        with torch.enable_grad(), self.model.edited(self.edit):
            guided = Guided(self.model, self.guidance_scale)
            with torch.no_grad():
                cond = self.model.encode([self.rows[one].prompt for one in rows])
            for _ in range(self.steps):
                z = self.z[rows].requires_grad_()
                found = sampled(self.model, guided, z, cond, steps=self.attack.sampler_steps)
                losses = (found - self.x0[rows]).square().flatten(1).mean(dim=1)  # (1)
                (gradient,) = torch.autograd.grad(losses.sum(), z)
                self.z[rows] = self._moved(z.detach(), gradient, self.own[rows])

    def proposal(self, chase: int) -> Try:
        """The row's own words with the start that was found."""
        row = self.rows[chase]
        return Try(row, row.prompt, Begun([row.prompt], self.z[[chase]].float().cpu()))

    def _moved(self, z: Latents, gradient: Latents, own: Latents) -> Latents:
        sizes = [one.flatten(1).norm(dim=1)[:, None, None, None] for one in (own, gradient)]
        step = gradient / sizes[1].clamp(min=torch.finfo(gradient.dtype).tiny)
        return allowed(z - self.attack.rate * sizes[0] * step, own, self.attack.radius)  # (2)
