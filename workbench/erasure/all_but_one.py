"""All but One: Surgical Concept Erasing with Model Preservation in Text-to-Image Diffusion Models (Hong et al. 2024,
arXiv:2312.12807), reconstructed. The guidance of one concept is rewritten, what guidance starts from is held.

θ is a copy of the denoiser θ*, c a prompt of the concept, c′ the same with the alternative, ∅ the empty prompt, x_t a
latent of a trajectory of c that is guided with w, g_θ(c) = ε_θ(x_t, c) − ε_θ(x_t, ∅), sg[·] passes no gradient.
    (1)  ĝ = ε*(c′) − ε*(∅)    towards an alternative
         ĝ = 0                 neutral: the prompt guides nowhere
         ĝ = −η g*(c)          negative: away from the concept, as ESD
    (2)  L_g = mean (ε_θ(c) − sg[ε_θ(∅)] − ĝ)²
    (3)  L_u = mean (ε_θ(∅) − ε*(∅))²
    (4)  L = L_g + λ_u L_u
No code is public, and only title page, abstract and first figure could be read. Stated there: only the guidance
part of the score changes, a constraint holds the unconditional part, the user may name an alternative, pictures can be
purified by inverting them and drawing them again (`workbench.fitting.inversion`). The form of (1) to (4) and the x_t
are inferred from that and from how guidance works; every default is a choice of ours. Nothing here is the authors'
setting or number.

Without sg in (2), L_g could be lowered by moving ε_θ(∅), which all prompts share. The hold (3) is for latents that the
concept visits and for the empty prompt: neighbours have no term of their own, a negative prompt is not ∅, and an
alternative that contains the concept ("guinea pig" for "pig") brings it back. Outputs are the denoiser's raw ones, as
in ESD: guidance is linear in them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Doc

from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.esd import Prompts, texts_of
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.copies import changes, own_denoiser, teacher_of
from workbench.fitting.embedding import encoded
from workbench.fitting.footprint import Footprint
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.pairs import Pair
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, check
from workbench.fitting.rows import refuse_same_tokens
from workbench.fitting.selectors import select, wanted
from workbench.fitting.training import train
from workbench.fitting.trajectories import BATCH, partway
from workbench.fitting.views import Seen, View, whole_trajectories
from workbench.models import Diffusion
from workbench.models.capabilities import CROSS_ATTENTION, NOISE_SCHEDULE
from workbench.models.diffusion.architecture import Latents
from workbench.models.encoding import together
from workbench.papers import Reference

Guided = Literal["alternative", "neutral", "negative"]


@dataclass(frozen=True, kw_only=True)
class AllButOne(ErasureMethod):
    """Rewrites what a concept's prompts guide to, and holds the prediction without a prompt.

    A `WeightEdit`. No pictures are needed. The alternative is the concept's anchor; without one, "alternative" is
    "neutral". Of several concepts and prompts one is drawn for each latent.
    """

    target: Annotated[Guided, Doc("ĝ: what the concept's prompts guide to.")] = "alternative"
    negative_guidance: Annotated[float, Doc('η: how far "negative" pushes away from the concept.')] = 1.0
    hold: Annotated[float, Ge(0), Doc("λ_u: weight of holding the prediction without a prompt.")] = 1.0
    detach_uncond: Annotated[bool, Doc("Sg of (2): no gradient through the prediction without a prompt.")] = True
    train: Annotated[Literal["esd-x", "esd-u", "esd-strict", "self", "full"], Doc("Which parameters.")] = "esd-x"
    prompts: Annotated[Prompts, Doc("The concept's name, its name in its templates, or also its synonyms.")] = "name"
    sampler: Annotated[
        Literal["frozen", "online", "student"], Doc("x_t: of trajectories drawn once, or anew by θ* or θ.")
    ] = "frozen"
    trajectories: Annotated[int, Ge(1), Doc("How many of them, once.")] = 100
    steps: Annotated[int, Ge(1), Doc("Of a whole trajectory.")] = 50
    start_guidance: Annotated[float, Doc("w: guidance of the trajectories.")] = 3.0
    iterations: Annotated[int, Ge(1), Doc("Training steps.")] = 1000
    batch: Annotated[int, Ge(1), Doc("Latents an iteration.")] = 1
    lr: Annotated[float, Gt(0), Doc("Adam, constant.")] = 1e-5
    save_memory: SaveMemory = False

    name: ClassVar[str] = "all_but_one"
    paper: ClassVar[Reference] = Reference(
        title="All but One: Surgical Concept Erasing with Model Preservation in Text-to-Image Diffusion Models",
        authors="S. Hong, J. Lee, S. S. Woo",
        year=2024,
        arxiv="2312.12807",
        venue="AAAI",
    )
    reconstructed: ClassVar[str] = (
        "no code is public and only the abstract and first figure could be read; the losses and settings are inferred"
    )
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports({CROSS_ATTENTION, NOISE_SCHEDULE})
    cost: ClassVar[str] = "100 images, then 1,000 iterations of one pass of two rows"
    length: ClassVar[tuple[str, ...]] = ("iterations",)

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Trains a copy of the denoiser by (4).

        Args:
            model: The model; it stays as it is.
            concepts: What to erase; of several, one is drawn for each latent.
            seed: Decides latents, timesteps and their order.
            progress: Told of trajectories and training steps.

        Returns:
            The change of every parameter that was trained.

        Raises:
            WorkbenchError: Before any work, for parameters that cannot be trained and for an alternative that is the
                concept itself to the model.
        """
        self.supports.check("All but One", model, concepts)
        for concept in concepts:
            refuse_same_tokens(model, concept, [concept.name])
        pairs = [pair for concept in concepts for pair in pairs_of(concept, self.prompts)]
        teacher, student = teacher_of(model), own_denoiser(model, wanted(self.train))
        trained = select(student, self.train)
        check(trained, self.plan)
        what = [asdict(self), [tuple(pair) for pair in pairs], model.fingerprint]
        view = self.frozen(teacher, pairs, seed, progress) if self.sampler == "frozen" else None

        def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
            seen = view.drawn(self.batch, generator) if view else self.online(teacher, student, pairs, generator)
            return self.losses(teacher, student, seen)

        with saving_memory(model, student, self.save_memory):
            train(Player(trained, loss, self.plan), seed=seed, what=what, progress=progress, label="guidance")
        return WeightEdit(tensors=changes(model, student, trained), **self.told(model, concepts, seed))

    @property
    def plan(self) -> Plan:
        """Adam at a constant rate."""
        return Plan(steps=self.iterations, lr=self.lr, weight_decay=0.0)

    def footprint(self, model: Diffusion) -> Footprint:
        """One graph, of each latent with its prompt and without."""
        return Footprint([2 * self.batch], trained=wanted(self.train))

    def losses(self, model: Diffusion, student: Diffusion, seen: Seen) -> dict[str, Float[Tensor, ""]]:
        """The two terms of (4), from one pass of the student over the latents with and without their prompts."""
        none = encoded(model, [""], role="uncond").expand(len(seen.prompts))
        both = together([encoded(model, seen.prompts), none])
        cond, uncond = student.noise_prediction(seen.latents.repeat(2, 1, 1, 1), seen.timesteps.repeat(2), both).chunk(
            2
        )
        guidance = guidance_loss(cond, uncond, seen.target.to(cond), self.detach_uncond)
        assert seen.uncond is not None  # `online` and `frozen` give it
        drift = (uncond - seen.uncond.to(uncond)).square().mean()  # (3)
        return {"guidance": guidance, "unconditional": self.hold * drift}  # (4)

    def wanted(self, cond: Latents, uncond: Latents, alternative: Latents | None) -> Latents:
        """ĝ by (1), from what θ* says."""
        if self.target == "negative":
            return -self.negative_guidance * (cond - uncond)
        return torch.zeros_like(cond) if alternative is None else alternative - uncond

    @torch.no_grad()
    def online(self, model: Diffusion, student: Diffusion, pairs: Sequence[Pair], generator: torch.Generator) -> Seen:
        """Latents that θ* (or θ) draws for one prompt, all part of the way to one random timestep."""
        pair = pairs[int(torch.randint(len(pairs), (), generator=generator))]
        noise = torch.randn(self.batch, *model.noise([0]).shape[1:], generator=generator)
        k = int(torch.randint(self.steps, (), generator=generator))
        artist = student if self.sampler == "student" else model
        x, t = partway(artist, pair.unsafe, noise, k, steps=self.steps, guidance_scale=self.start_guidance)
        cond = model.noise_prediction(x, t, encoded(model, [pair.unsafe]))
        uncond = model.noise_prediction(x, t, encoded(model, [""], role="uncond"))
        guidance = self.wanted(cond, uncond, self._alternative(model, x, t, [pair] * self.batch))
        return Seen(x, torch.tensor([t] * self.batch), [pair.unsafe] * self.batch, guidance, uncond)

    @torch.no_grad()
    def frozen(self, model: Diffusion, pairs: Sequence[Pair], seed: int, progress: Progress = SILENT) -> View:
        """Whole trajectories of θ*, and everything that it has to say along them."""
        chosen = [pairs[i % len(pairs)] for i in range(self.trajectories)]
        prompts = [pair.unsafe for pair in chosen]
        path = whole_trajectories(
            model, prompts, steps=self.steps, guidance_scale=self.start_guidance, seed=seed, progress=progress
        )
        assert path.cond is not None and path.uncond is not None  # they were asked for
        guidance = [
            self.wanted(path.cond[:, k], path.uncond[:, k], self._alternatives(model, path.latents[:, k], t, chosen))
            for k, t in enumerate(progress(path.timesteps, "targets"))
        ]
        return View(path.latents, path.timesteps, prompts, torch.stack(guidance, dim=1), path.uncond)

    def _alternatives(self, model: Diffusion, x: Latents, t: int, pairs: Sequence[Pair]) -> Latents | None:
        """The same in batches, on the CPU."""
        starts = range(0, len(pairs), BATCH)
        parts = [self._alternative(model, x[i : i + BATCH], t, pairs[i : i + BATCH]) for i in starts]
        found = [part.cpu() for part in parts if part is not None]
        return torch.cat(found) if found else None

    def _alternative(self, model: Diffusion, x: Latents, t: int, pairs: Sequence[Pair]) -> Latents | None:
        """ε*(c′), and ε*(∅) where there is no c′; None if ĝ does not ask for it."""
        if self.target != "alternative":
            return None
        safe = [encoded(model, [one.safe]) if one.safe else encoded(model, [""], role="uncond") for one in pairs]
        return model.noise_prediction(x, t, together(safe))


def guidance_loss(cond: Latents, uncond: Latents, wanted: Latents, detach_uncond: bool) -> Float[Tensor, ""]:
    """L_g by (2); without `detach_uncond` its gradient reaches both."""
    return (cond - (uncond.detach() if detach_uncond else uncond) - wanted).square().mean()  # (2)


def pairs_of(concept: Concept, prompts: Prompts) -> list[Pair]:
    """Every text of the concept beside the same with its alternative ("" without one)."""
    texts = texts_of([concept], prompts)
    same = [concept.anchor] if prompts == "name" else list(concept.anchor_prompts())
    return list(map(Pair, texts, same * (len(texts) // len(same))))
