"""DoCo: Unlearning Concepts in Diffusion Model via Concept Domain Correction and Concept Preserving Gradient (Wu et al.
2024, arXiv:2405.15304).

What a concept's prompts draw is to be indistinguishable from what its anchor's draw, as a whole: where Concept Ablation
compares the two prompt by prompt, a discriminator D of patches compares the two distributions.

θ is a copy of the denoiser θ*, z_t noised pictures of the anchor, which the model itself drew of anchor prompts a, and
c the same prompt for the concept. x̂₀ is the picture that a prediction stands for in one step (`prediction.to_picture`):
    (1)  x̂_c = x̂₀ by θ at (z_t, t, c),   x̂_a = x̂₀ by θ* at (z_t, t, a)         both under the picture's mask
    (2)  L_D = BCE(D(x̂_c), 1) + BCE(D(x̂_a), 0)
    (3)  L_adv = BCE(D(x̂_c), 0)
    (4)  L_prior = mean (ε_θ(z′_t′, t′, a′) − ε′)²        ordinary training on other pictures of the anchor
    (5)  θ along ∇L_adv without what of it is against ∇L_prior (`fitting.surgery`), both clipped before; L_prior itself
         is not minimised.   Without surgery: along ∇(L_adv + 0.1 L_prior)
D learns from the first step on, θ after a warm-up: with 2,000 iterations and a warm-up of 1,000, 999 times. Both learn
from the same x̂_c, as θ was before the step. Pictures, prompts and the protected first token are those of
`concept_ablation`.

What (5) means is the abstract's; all numbers, (1) to (4), and the order of steps follow the official code (1a36e61).
Not followed are its slips: the projection lacks the length of ∇L_adv (`surgery="official"` brings that back), D is fed
by the generator's gradient too, in full-weight mode only cross-attention is operated on, and grey borders of shrunk
pictures are shown to D. What is unsafe is worded as in Concept Ablation, which differs from the code by a word. Early
on x̂₀ is up to 15 times as large as a picture, as in the code: D sees outliers there.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
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
from workbench.erasure.concept_ablation import TRAINED, ConceptAblation, Lesson, Seen, protected
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.copies import changes, own_denoiser, teacher_of
from workbench.fitting.discriminator import Discriminator, discriminating, fooling
from workbench.fitting.embedding import encoded
from workbench.fitting.footprint import Footprint
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.pictures import picture_files
from workbench.fitting.plan import Plan
from workbench.fitting.players import Gradients, Player, Terms, check
from workbench.fitting.rows import refuse_same_tokens
from workbench.fitting.selectors import select, wanted
from workbench.fitting.surgery import clipped, without_conflict
from workbench.fitting.training import train
from workbench.fitting.wording import Wording
from workbench.knobs import Opens
from workbench.models import Diffusion
from workbench.models.capabilities import CROSS_ATTENTION, NOISE_SCHEDULE
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.prediction import to_picture
from workbench.papers import Reference

LARGEST = 1.0  # norm of a gradient
FOOL, KEEP = "adversary", "prior"


@dataclass(frozen=True, kw_only=True)
class DoCo(ErasureMethod):
    """Makes what a concept's prompts draw pass for what its anchor's do, before a discriminator. A `WeightEdit`.

    The model draws the anchor's pictures itself, or they come from a folder, whose names the anchor prompts follow in
    turn.
    """

    train: Annotated[
        Literal["cross-attn", "attn", "full-weight"], Doc("Keys and values, all attention, everything.")
    ] = "cross-attn"
    protect_begin: Annotated[bool, Doc("No gradient through the first token, which all prompts share.")] = True
    surgery: Annotated[
        Literal["projected", "official", "off"],
        Doc("What is against the anchor's gradient goes: by projection, as in the code, or not at all."),
    ] = "projected"
    surgery_scale: Annotated[float, Ge(0), Doc("λ: how much of it.")] = 1.0
    prior: Annotated[float, Ge(0), Doc("Weight of (4) where there is no surgery.")] = 0.1
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
    images: Annotated[int, Ge(1), Doc("How many it draws for each concept.")] = 1000
    guidance_scale: Annotated[float, Doc("With which it draws them.")] = 6.0
    iterations: Annotated[int, Ge(1), Doc("Steps of the discriminator.")] = 2000
    warmup: Annotated[int, Ge(0), Doc("The last of them after which the denoiser does not learn.")] = 1000
    batch: Annotated[int, Ge(1), Doc("Pictures of (3), and again of (4).")] = 8
    lr: Annotated[float, Gt(0), Doc("AdamW with decay 0.01, constant; 6e-6 times the batch in the code.")] = 4.8e-5
    discriminator_lr: Annotated[
        float | None, Gt(0), Doc("Adam, constant; null: as published, 5e-4 for styles and 1e-4 for all else.")
    ] = None
    save_memory: SaveMemory = False

    name: ClassVar[str] = "doco"
    paper: ClassVar[Reference] = Reference(
        title="Unlearning Concepts in Diffusion Model via Concept Domain Correction and Concept Preserving Gradient",
        authors="Y. Wu et al.",
        year=2025,
        arxiv="2405.15304",
        venue="AAAI",
    )
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports({CROSS_ATTENTION, NOISE_SCHEDULE}, needs=("anchor",))
    cost: ClassVar[str] = "1,000 images a concept, then 2,000 iterations on 8 of them, half of which train"
    length: ClassVar[tuple[str, ...]] = ("iterations", "warmup")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup > self.iterations - 2:
            raise WorkbenchError(
                f"After a warmup of {self.warmup}, {self.iterations} iterations leave the denoiser none to learn in.",
                f"Choose a warmup of {self.iterations - 2} at most, or more iterations.",
            )

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Trains a copy of the denoiser by (5), and a discriminator by (2).

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once. Each with an anchor.
            seed: Decides pictures, noise, timesteps, sizes, their order, and the discriminator's first weights.
            progress: Told of pictures and of both players' training steps.

        Returns:
            The change of every parameter that was trained; the discriminator is gone.

        Raises:
            WorkbenchError: Before any work, for pictures that cannot be used, weights that cannot be trained, latents
                too narrow for a discriminator, and an anchor that is the concept itself to the model.
        """
        self.supports.check("DoCo", model, concepts)
        for concept in concepts:
            refuse_same_tokens(model, concept, [concept.name])
        given = self.anchors.given(model, concepts)
        teacher, student = teacher_of(model), own_denoiser(model, wanted(TRAINED[self.train]))
        trained = select(student, TRAINED[self.train])
        check(trained, self.plan)
        judge = discriminator_of(model, trained, seed)
        lessons = [one for concept in concepts for one in self.anchors.lessons(model, concept, given, seed, progress)]
        about = [[one.prompt, int(one.picture.sum(dtype=np.int64))] for one in lessons]
        game = Game(self, teacher, student, judge, lessons)
        players = {
            "generator": Player(trained, game.of_generator, self.plan, combine=self.combine),
            "discriminator": Player(dict(judge.named_parameters()), game.of_discriminator, self.judge_plan(concepts)),
        }
        with (
            saving_memory(model, student, self.save_memory, needed=("vae",)),
            protected(student, self.protect_begin),
        ):
            what = [asdict(self), [concept.name for concept in concepts], about, model.fingerprint]
            train(players, seed=seed, what=what, state=game, progress=progress, label="domain correction")
        return WeightEdit(tensors=changes(model, student, trained), **self.told(model, concepts, seed))

    @property
    def anchors(self) -> ConceptAblation:
        """Whose pictures, prompts and sizes these are."""
        return ConceptAblation(
            wording=self.wording, resize=self.resize, folder=self.folder, images=self.images,
            guidance_scale=self.guidance_scale, batch=self.batch,
        )  # fmt: skip

    @property
    def plan(self) -> Plan:
        """AdamW at a constant rate; where there is surgery, gradients are clipped before it."""
        return Plan(steps=self.iterations, lr=self.lr, clip=LARGEST if self.surgery == "off" else None)

    def judge_plan(self, concepts: Sequence[Concept]) -> Plan:
        """Adam, for the discriminator."""
        published = 5e-4 if all(concept.kind == "style" for concept in concepts) else 1e-4
        rate = published if self.discriminator_lr is None else self.discriminator_lr
        return Plan(steps=self.iterations, lr=rate, betas=(0.5, 0.999), weight_decay=0.0)

    def footprint(self, model: Diffusion) -> Footprint:
        """A graph of a batch for each term, and a discriminator beside them."""

        def judge(student: Diffusion, stack: ExitStack) -> Mapping[str, nn.Parameter]:
            made = Discriminator(student.architecture.latent_channels, student.noise([0]).shape[-1], 0)
            return dict(made.named_parameters())

        graphs, trained = [self.batch, self.batch], wanted(TRAINED[self.train])
        return Footprint(graphs, trained=trained, pictures=self.batch, attach=judge)

    @property
    def combine(self) -> Any:
        """(5), or None: the sum of the terms."""
        return None if self.surgery == "off" else self.operated

    def operated(self, gradients: Mapping[str, Gradients]) -> Gradients:
        """∇L_adv without what of it is against ∇L_prior, tensor by tensor, each clipped before."""
        learn, keep = (clipped(gradients[term], LARGEST) for term in (FOOL, KEEP))
        official = self.surgery == "official"
        return {
            name: without_conflict(one, keep[name], self.surgery_scale, official=official) if name in keep else one
            for name, one in learn.items()
        }


class Outputs(NamedTuple):
    """What the discriminator learns from."""

    made_up: Latents  # x̂_c
    real: Latents  # x̂_a


class Game:
    """Both players' losses. What the generator showed in its turn, the discriminator learns from in its own.

    Args:
        method: Its settings.
        teacher: θ*.
        student: θ.
        judge: D.
        lessons: Pictures of the anchors.
    """

    def __init__(
        self, method: DoCo, teacher: Diffusion, student: Diffusion, judge: Discriminator, lessons: Sequence[Lesson]
    ) -> None:
        self.method, self.anchors = method, method.anchors
        self.teacher, self.student, self.judge, self.lessons = teacher, student, judge, lessons
        self.shown: Outputs | None = None

    def of_generator(self, step: int, generator: torch.Generator) -> Iterator[Terms]:
        """The terms of (5), one after another; none during warm-up, in which x̂_c and x̂_a are shown alone."""
        learns = step > self.method.warmup
        seen = self.anchors.drawn(self.teacher, self.lessons, generator)
        with torch.no_grad():
            real = self.picture(self.teacher, seen, seen.anchors)
        with torch.set_grad_enabled(learns):
            made_up = self.picture(self.student, seen, seen.targets)
        self.shown = Outputs(made_up.detach(), real)
        if not learns:
            return
        yield {FOOL: fooling(self.judge(made_up))}  # (3)
        other = self.anchors.drawn(self.teacher, self.lessons, generator, resize=False)
        again = self.student.noise_prediction(other.latents, other.timesteps, encoded(self.teacher, other.anchors))
        weight = self.method.prior if self.method.surgery == "off" else 1.0
        yield {KEEP: weight * (again - other.aim.to(again)).square().mean()}  # (4)

    def of_discriminator(self, step: int, generator: torch.Generator) -> Float[Tensor, ""]:
        """(2) of what was shown in this round."""
        assert self.shown is not None  # the generator's turn comes first
        device = next(self.judge.parameters()).device
        return discriminating(*(self.judge(one.to(device)) for one in self.shown))  # (2)

    def picture(self, handle: Diffusion, seen: Seen, prompts: Sequence[str]) -> Latents:
        """(1) by θ or θ*, where it is picture."""
        prediction = handle.noise_prediction(seen.latents, seen.timesteps, encoded(self.teacher, prompts))
        guess = to_picture(handle.pipe.scheduler, prediction, seen.latents.to(prediction), seen.timesteps)
        return (guess * seen.mask.to(guess)).contiguous()  # (1); in memory as a checkpoint gives it back, to the bit

    def state_dict(self) -> Mapping[str, Any]:
        """What was shown."""
        return {} if self.shown is None else self.shown._asdict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with it."""
        self.shown = Outputs(**state) if state else None


def discriminator_of(model: Diffusion, trained: Mapping[str, nn.Parameter], seed: int) -> Discriminator:
    """For latents of the model, in the precision of what is trained.

    Raises `WorkbenchError` for latents too narrow to be halved.
    """
    side = model.noise([0]).shape[-1]
    if side < 6:
        raise WorkbenchError(
            f"Latents of {model.name} are {side} wide, too narrow for a discriminator of patches.",
            "Choose a model of larger pictures.",
        )
    one = next(iter(trained.values()))
    judge = Discriminator(model.architecture.latent_channels, side, seed).to(one.device, one.dtype)
    return judge.requires_grad_(False)
