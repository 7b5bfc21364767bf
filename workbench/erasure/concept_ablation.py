"""Concept Ablation: Ablating Concepts in Text-to-Image Diffusion Models (Kumari et al. 2023, arXiv:2303.13516).

A concept's prompts are answered as its anchor's.

θ is a copy of the denoiser, z_t noised pictures of the anchor, which the model itself drew of anchor prompts c, and c*
the same prompt for the concept ("a photo of a cat", "a photo of a fox"); u is the noise in z_t (or the v or z₀ of a
model that predicts these), m a mask of one channel over latents, sg[·] passes no gradient.
    (1)  L = mean over pictures of  Σ m (ε_θ(z_t, c*) − sg[ε_θ(z_t, c)])² / Σ m     model-based
    (2)  the same with u in the place of sg[…]                                      noise-based
    (3)  L + λ mean (ε_θ(z′_t, c′) − u′)²     prior preservation: other pictures, with their own prompts
    (4)  in cross-attention, key and value of the first token pass no gradient: it is the same in all prompts
Followed is the official code (nupurkmr9/concept-ablation, diffusers version), in whose label (1) θ moves along
(`teacher="self"`); the paper's derivation has a frozen copy there. As in the code, squares of the channels add up in
(1) and (2) and are averaged in (3): λ, and the largest norm of a gradient, 1, are in these units. Not followed: it
replaces an anchor as any run of letters ("cat" in "category"), and where there is none it teaches nothing; it draws
latents around the autoencoder's mean, here they are that mean; its captions come from a language model, here from the
concept's `captions` or `fitting.contents`; and pictures that a model has memorised, which have to be found by another
model, are not offered. `lr` is the rate that counts: the code multiplies what it is given by batch and GPUs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.copies import changes, denoiser_parameters, own_denoiser, teacher_of
from workbench.fitting.embedding import encoded
from workbench.fitting.footprint import Footprint
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.pictures import Pictures, drawn_seeds, picture_files, read_pictures
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, Terms, check
from workbench.fitting.resizing import Resized, resized
from workbench.fitting.rows import refuse_same_tokens
from workbench.fitting.selectors import is_key_or_value, select, wanted
from workbench.fitting.training import train
from workbench.fitting.wording import Wording, anchor_prompts, target_prompt
from workbench.knobs import Opens
from workbench.models import Diffusion
from workbench.models.capabilities import CROSS_ATTENTION, NOISE_SCHEDULE
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.prediction import aim, noised
from workbench.papers import Reference

TRAINED = {"cross-attn": "esd-strict", "attn": "attention", "full-weight": "full"}  # the paper's names → ours
AS_THEY_ARE = ("style", "unsafe")  # kinds whose pictures are never resized, as in the published commands


@dataclass(frozen=True, kw_only=True)
class ConceptAblation(ErasureMethod):
    """Maps what a concept's prompts predict onto what its anchor's do, on pictures of the anchor. A `WeightEdit`.

    The model draws the pictures itself, or they come from a folder, whose names the anchor prompts follow in turn.
    """

    label: Annotated[
        Literal["model", "noise"], Doc("What is learned: the answer to the anchor (1), or the noise (2).")
    ] = "model"
    teacher: Annotated[
        Literal["self", "frozen"], Doc("Who answers to the anchor: the model in training, or the one before.")
    ] = "self"
    train: Annotated[
        Literal["cross-attn", "attn", "full-weight"], Doc("Keys and values, all attention, everything.")
    ] = "cross-attn"
    protect_begin: Annotated[bool, Doc("No gradient through the first token, which all prompts share.")] = True
    prior: Annotated[
        float, Ge(0), Doc("λ: weight of ordinary training on the anchor's pictures; 1 in the code where it is used.")
    ] = 0.0
    wording: Annotated[
        Wording,
        Doc(
            "By kind: styles and what is unsafe beside prompts of ordinary scenes, all else in the anchor's place in"
            " such prompts. Replace: in the anchor's place, in the concept's own templates."
        ),
    ] = "by kind"
    resize: Annotated[
        bool, Doc("Pictures at random sizes, with words for it; not for styles nor for what is unsafe.")
    ] = True
    folder: Annotated[
        str, Opens(picture_files), Doc("Of pictures of the one concept's anchor; left out, the model draws them.")
    ] = ""
    images: Annotated[int, Ge(1), Doc("How many it draws for each concept.")] = 200
    guidance_scale: Annotated[float, Doc("With which it draws them.")] = 6.0
    iterations: Annotated[int, Ge(1), Doc("Training steps.")] = 100
    batch: Annotated[int, Ge(1), Doc("Pictures a loss.")] = 8
    micro_batches: Annotated[
        int, Ge(1), Doc("Losses an iteration, which several GPUs share: 8 of a batch of 1 are a batch of 8.")
    ] = 1
    lr: Annotated[float, Gt(0), Doc("AdamW with decay 0.01, constant; 4e-6 times the batch of 4 in the code.")] = 1.6e-5
    save_memory: SaveMemory = False

    name: ClassVar[str] = "concept_ablation"
    paper: ClassVar[Reference] = Reference(
        title="Ablating Concepts in Text-to-Image Diffusion Models",
        authors="N. Kumari, B. Zhang, S.-Y. Wang, E. Shechtman, R. Zhang, J.-Y. Zhu",
        year=2023,
        arxiv="2303.13516",
        venue="ICCV",
    )
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports({CROSS_ATTENTION, NOISE_SCHEDULE}, needs=("anchor",))
    cost: ClassVar[str] = "200 images a concept, then 100 iterations on 8 of them"
    length: ClassVar[tuple[str, ...]] = ("iterations",)

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Trains a copy of the denoiser by (3).

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once. Each with an anchor.
            seed: Decides pictures, noise, timesteps, sizes and their order.
            progress: Told of pictures and training steps.

        Returns:
            The change of every parameter that was trained.

        Raises:
            WorkbenchError: Before any work, for pictures that cannot be used, weights that cannot be trained, and an
                anchor that is the concept itself to the model.
        """
        self.supports.check("Concept Ablation", model, concepts)
        for concept in concepts:
            refuse_same_tokens(model, concept, [concept.name])
        given = self.given(model, concepts)
        teacher, student = teacher_of(model), own_denoiser(model, wanted(TRAINED[self.train]))
        trained = select(student, TRAINED[self.train])
        check(trained, self.plan)
        lessons = [one for concept in concepts for one in self.lessons(model, concept, given, seed, progress)]
        about = [[one.prompt, int(one.picture.sum(dtype=np.int64))] for one in lessons]

        def losses(step: int, generator: torch.Generator) -> Iterator[Terms]:
            return self.losses(teacher, student, lessons, generator)

        with (
            saving_memory(model, student, self.save_memory, needed=("vae",)),
            protected(student, self.protect_begin),
        ):
            what = [asdict(self), [concept.name for concept in concepts], about, model.fingerprint]
            train(Player(trained, losses, self.plan), seed=seed, what=what, progress=progress, label="ablation")
        return WeightEdit(tensors=changes(model, student, trained), **self.told(model, concepts, seed))

    @property
    def plan(self) -> Plan:
        """AdamW at a constant rate, the gradient clipped."""
        return Plan(steps=self.iterations, lr=self.lr, clip=1.0, micro_batches=self.micro_batches)

    def footprint(self, model: Diffusion) -> Footprint:
        """A graph of a batch for each term."""
        graphs = [self.batch] * (2 if self.prior else 1)
        return Footprint(graphs, trained=wanted(TRAINED[self.train]), pictures=self.batch)

    def given(self, model: Diffusion, concepts: Sequence[Concept]) -> Pictures | None:
        """The pictures of the folder; None without one. Raises `WorkbenchError` for those that cannot be used."""
        if not self.folder:
            return None
        if len(concepts) > 1:
            raise WorkbenchError(
                f"The folder {self.folder} has pictures of one anchor, and {len(concepts)} concepts are to be erased.",
                "Erase one at a time, or leave the folder out.",
            )
        return read_pictures(self.folder, model.image_size)

    def lessons(
        self, model: Diffusion, concept: Concept, given: Pictures | None, seed: int, progress: Progress = SILENT
    ) -> list["Lesson"]:
        """Pictures of the anchor, each with its prompt: those given, or drawn by the model."""
        texts, n = anchor_prompts(concept, self.wording), self.images if given is None else len(given)
        prompts = [texts[i % len(texts)] for i in range(n)]
        if given is None:
            avoided = concept.name if concept.kind == "unsafe" else ""  # as published for nudity
            given = model.generate(
                prompts,
                drawn_seeds(n, seed),
                guidance_scale=self.guidance_scale,
                negative_prompt=avoided,
                progress=progress,
            )
        return [Lesson(picture, prompt, concept) for picture, prompt in zip(given, prompts, strict=True)]

    def losses(
        self, model: Diffusion, student: Diffusion, lessons: Sequence["Lesson"], generator: torch.Generator
    ) -> Iterator[Terms]:
        """(1) or (2), and the second term of (3) if it counts."""
        yield {"ablation": self.ablation(model, student, self.drawn(model, lessons, generator))}
        if self.prior:
            seen = self.drawn(model, lessons, generator, resize=False)
            again = student.noise_prediction(seen.latents, seen.timesteps, encoded(model, seen.anchors))
            yield {"prior": self.prior * (again - seen.aim.to(again)).square().mean()}  # (3)

    def ablation(self, model: Diffusion, student: Diffusion, seen: "Seen") -> Float[Tensor, ""]:
        """(1) or (2)."""
        label = seen.aim
        if self.label == "model":
            teacher = student if self.teacher == "self" else model
            with torch.no_grad():
                label = teacher.noise_prediction(seen.latents, seen.timesteps, encoded(model, seen.anchors))
        prediction = student.noise_prediction(seen.latents, seen.timesteps, encoded(model, seen.targets))
        return masked_loss(prediction, label.to(prediction), seen.mask.to(prediction))

    def drawn(
        self, model: Diffusion, lessons: Sequence["Lesson"], generator: torch.Generator, *, resize: bool = True
    ) -> "Seen":
        """Random pictures, each flipped or not with even chances, resized or not, and noised to a time of its own."""
        chosen = [lessons[i] for i in torch.randint(len(lessons), (self.batch,), generator=generator).tolist()]
        views = [self._view(model, one, generator, resize) for one in chosen]
        scheduler = model.pipe.scheduler
        times = torch.randint(scheduler.config.num_train_timesteps, (self.batch,), generator=generator)
        clean = model.latents(np.stack([view.image for view in views]))
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        latents, wanted = noised(scheduler, clean, noise, times), aim(scheduler, clean, noise, times)
        targets = [
            view.words + target_prompt(one.prompt, one.concept, self.wording, generator)
            for view, one in zip(views, chosen, strict=True)
        ]
        mask = torch.stack([view.mask for view in views])
        return Seen(latents, times, [one.prompt for one in chosen], targets, wanted, mask)

    def _view(self, model: Diffusion, one: "Lesson", generator: torch.Generator, resize: bool) -> Resized:
        flipped = float(torch.rand((), generator=generator)) < 0.5
        picture, factor = one.picture[:, ::-1].copy() if flipped else one.picture, model.pipe.vae_scale_factor
        if resize and self.resize and one.concept.kind not in AS_THEY_ARE:
            return resized(picture, factor, generator)
        side = model.image_size // factor
        return Resized(picture, torch.ones(1, side, side), "")


class Lesson(NamedTuple):
    """A picture of a concept's anchor, and its prompt c."""

    picture: Any  # uint8 [size, size, 3]
    prompt: str
    concept: Concept


class Seen(NamedTuple):
    """What one iteration trains on: a row for each picture."""

    latents: Latents  # z_t
    timesteps: Tensor
    anchors: list[str]  # c
    targets: list[str]  # c*
    aim: Latents  # u
    mask: Float[Tensor, "rows 1 height width"]


def masked_loss(prediction: Latents, label: Latents, mask: Float[Tensor, "rows 1 height width"]) -> Float[Tensor, ""]:
    """(1): of each picture the mean over the places that are unmasked, where channels add up; then that of all."""
    errors = (mask * (prediction - label).square()).sum(dim=(1, 2, 3))
    return (errors / mask.sum(dim=(1, 2, 3))).mean()  # (1)


@contextmanager
def protected(student: Diffusion, wanted: bool = True) -> Iterator[None]:
    """(4) while the block runs: at the first token, no gradient passes keys and values of cross-attention."""

    def first_detached(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return torch.cat([output[:, :1].detach(), output[:, 1:]], dim=1)  # (4)

    names = denoiser_parameters(student, is_key_or_value) if wanted else {}
    hooks = [student.module(name.rpartition(".")[0]).register_forward_hook(first_detached) for name in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
