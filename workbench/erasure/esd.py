"""ESD: Erasing Concepts from Diffusion Models (Gandikota et al. 2023, arXiv:2303.07345).

The denoiser is fine-tuned to predict its own negative guidance away from the concept.

θ is a copy of the denoiser θ*; c the prompt of the concept, ∅ the empty one, f the prompt that loses it (c itself
unless told otherwise), x_t a latent of a trajectory of f that is guided with w.
    (1)  L = mean (ε_θ(x_t, f) − y)²
    (2)  y = ε*(∅) − η [ε*(c) − ε*(∅)]       f = c
    (3)  y = ε*(f) − η′ [ε*(c) − ε*(∅)]      f another prompt; for f = c, η′ = η + 1 would be (2)
Outputs are the denoiser's raw ones: guidance is linear in them, and for a model that predicts noise this is the loss as
published. The paper's code of 2023 (a2189e9) is followed but for one slip: its x_t is 40 to 60 of 1,000 timesteps
cleaner than the timestep that the model is told; here a latent goes with its own. Later official codes draw x_t from
the frozen model (`sampler="frozen"`), write (2) as (3) with c for f (`negative_guidance` 2 there is 1 here), and train
faster: 200 iterations at 2e-5 (2024) or 5e-5 (2025), other parameters under the old names (`fitting.selectors` has both
by names of their own). (3) comes from them too, not from the paper.
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
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.copies import changes, own_denoiser, teacher_of
from workbench.fitting.embedding import encoded
from workbench.fitting.footprint import Footprint
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, check
from workbench.fitting.selectors import select, wanted
from workbench.fitting.training import train
from workbench.fitting.trajectories import Trajectories, partway
from workbench.fitting.views import Seen, View, whole_trajectories
from workbench.models import Diffusion
from workbench.models.capabilities import CROSS_ATTENTION, NOISE_SCHEDULE
from workbench.models.diffusion.architecture import Latents
from workbench.papers import Reference

Prompts = Literal["name", "templates", "all"]
Trained = Literal[
    "esd-x", "esd-u", "esd-strict", "self", "full", "esd-u-2025", "esd-all-2025", "esd-u-2025-xl", "esd-all-2025-xl"
]
Outputs = Float[Tensor, "*rows channels height width"]  # of the denoiser, raw
BATCH = 16


@dataclass(frozen=True, kw_only=True)
class ESD(ErasureMethod):
    """Teaches cross-attention (x) or all else (u) to predict, for the concept, what guidance away from it would.

    A `WeightEdit`. No pictures are needed, nothing is retained on purpose. Of several concepts and prompts one is drawn
    for each iteration.
    """

    train: Annotated[Trained, Doc("Which parameters; esd-u and full are the code's of 2023.")] = "esd-x"
    negative_guidance: Annotated[float, Doc("η of (2), η′ of (3): how far away from the concept.")] = 1.0
    erase_from: Annotated[str, Doc("f: a prompt that loses the concept; left out, the concept's own.")] = ""
    prompts: Annotated[Prompts, Doc("The concept's name, its name in its templates, or also its synonyms.")] = "name"
    sampler: Annotated[
        Literal["student", "frozen"], Doc("Who draws x_t; frozen: all trajectories once, beforehand.")
    ] = "student"
    trajectories: Annotated[int, Ge(1), Doc("How many of them.")] = 100
    steps: Annotated[int, Ge(1), Doc("Of a whole trajectory.")] = 50
    start_guidance: Annotated[float, Doc("w: guidance of the trajectories.")] = 3.0
    iterations: Annotated[int, Ge(1), Doc("Training steps.")] = 1000
    batch: Annotated[int, Ge(1), Doc("Latents a loss.")] = 1
    micro_batches: Annotated[int, Ge(1), Doc("Losses an iteration, which several GPUs share.")] = 1
    lr: Annotated[float, Gt(0), Doc("Adam, constant.")] = 1e-5
    save_memory: SaveMemory = False

    name: ClassVar[str] = "esd"
    paper: ClassVar[Reference] = Reference(
        title="Erasing Concepts from Diffusion Models",
        authors="R. Gandikota, J. Materzyńska, J. Fiotto-Kaufman, D. Bau",
        year=2023,
        arxiv="2303.07345",
        venue="ICCV",
    )
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports({CROSS_ATTENTION, NOISE_SCHEDULE})
    cost: ClassVar[str] = "some 50 passes an iteration, 1,000 of them; with frozen trajectories 100 images and one pass"
    length: ClassVar[tuple[str, ...]] = ("iterations",)

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Trains a copy of the denoiser by (1).

        Args:
            model: The model; it stays as it is.
            concepts: What to erase; of several, one is drawn for each iteration.
            seed: Decides latents, timesteps and their order.
            progress: Told of trajectories and training steps.

        Returns:
            The change of every parameter that was trained.

        Raises:
            WorkbenchError: For parameters that cannot be trained, before any work.
        """
        self.supports.check("ESD", model, concepts)
        texts = texts_of(concepts, self.prompts)
        teacher, student = teacher_of(model), own_denoiser(model, wanted(self.train))
        trained = select(student, self.train)
        check(trained, self.plan)
        what = [asdict(self), texts, model.fingerprint]
        view = self._frozen(teacher, texts, seed, progress) if self.sampler == "frozen" else None

        def loss(step: int, generator: torch.Generator) -> Tensor:
            seen = view.drawn(self.batch, generator) if view else self.online(teacher, student, texts, generator)
            return self.loss(teacher, student, seen)

        with saving_memory(model, student, self.save_memory):
            train(Player(trained, loss, self.plan), seed=seed, what=what, progress=progress, label="negative guidance")
        return WeightEdit(tensors=changes(model, student, trained), **self.told(model, concepts, seed))

    @property
    def plan(self) -> Plan:
        """Adam at a constant rate."""
        return Plan(steps=self.iterations, lr=self.lr, weight_decay=0.0, micro_batches=self.micro_batches)

    def footprint(self, model: Diffusion) -> Footprint:
        """One graph, of as many rows as a loss has latents."""
        return Footprint([self.batch], trained=wanted(self.train))

    def loss(self, model: Diffusion, student: Diffusion, seen: Seen) -> Float[Tensor, ""]:
        """(1), with a timestep for each latent."""
        prediction = student.noise_prediction(seen.latents, seen.timesteps, encoded(model, seen.prompts))
        return (prediction - seen.target.to(prediction)).square().mean()  # (1)

    def target(self, base: Outputs, cond: Outputs, uncond: Outputs) -> Outputs:
        """y by (2), or by (3) where `base` is the output for the prompt that loses the concept."""
        start = base if self.erase_from else uncond
        return start - self.negative_guidance * (cond - uncond)  # (2), (3)

    @torch.no_grad()
    def online(self, model: Diffusion, student: Diffusion, texts: Sequence[str], generator: torch.Generator) -> Seen:
        """Latents that the model in training draws for one text, all part of the way to one random timestep."""
        text = texts[int(torch.randint(len(texts), (), generator=generator))]
        start = self.erase_from or text
        noise = torch.randn(self.batch, *model.noise([0]).shape[1:], generator=generator)
        k = int(torch.randint(self.steps, (), generator=generator))
        x, t = partway(student, start, noise, k, steps=self.steps, guidance_scale=self.start_guidance)
        return Seen(x, torch.tensor([t] * self.batch), [start] * self.batch, self._answer(model, x, t, text))

    def _frozen(self, model: Diffusion, texts: Sequence[str], seed: int, progress: Progress) -> View:
        """Everything that the frozen model has to say, before training begins."""
        chosen = [texts[i % len(texts)] for i in range(self.trajectories)]
        starts = [self.erase_from or text for text in chosen]
        path = whole_trajectories(
            model, starts, steps=self.steps, guidance_scale=self.start_guidance, seed=seed, progress=progress
        )
        assert path.cond is not None and path.uncond is not None  # they were asked for
        cond = self._of_concept(model, path, chosen, progress) if self.erase_from else path.cond
        return View(path.latents, path.timesteps, starts, self.target(path.cond, cond, path.uncond), path.uncond)

    @torch.no_grad()
    def _of_concept(self, model: Diffusion, path: Trajectories, texts: Sequence[str], progress: Progress) -> Outputs:
        """ε*(x_t, c) along trajectories of another prompt."""
        found = []
        for k, t in enumerate(progress(path.timesteps, "targets")):
            batches = zip(path.latents[:, k].split(BATCH), batched(texts, BATCH), strict=True)
            found.append(torch.cat([model.noise_prediction(x, t, encoded(model, part)).cpu() for x, part in batches]))
        return torch.stack(found, dim=1)

    def _answer(self, model: Diffusion, x: Latents, t: int, text: str) -> Latents:
        """y of latents of one text, by the frozen model."""
        cond = model.noise_prediction(x, t, encoded(model, [text]))
        uncond = model.noise_prediction(x, t, encoded(model, [""], role="uncond"))
        base = model.noise_prediction(x, t, encoded(model, [self.erase_from])) if self.erase_from else cond
        return self.target(base, cond, uncond)


def batched(texts: Sequence[str], n: int) -> list[Sequence[str]]:
    """The texts, `n` at a time."""
    return [texts[start : start + n] for start in range(0, len(texts), n)]


def texts_of(concepts: Sequence[Concept], prompts: Prompts) -> list[str]:
    """The texts that name the concepts, each once."""
    if prompts == "name":
        return [concept.name for concept in concepts]
    both = prompts == "all"
    return [text for one in concepts for text in (*one.prompts(), *(one.synonym_prompts() if both else ()))]
