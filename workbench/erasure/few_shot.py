"""Few-shot erasing: Erasing Concepts from Text-to-Image Diffusion Models with Few-shot Unlearning (Fuchi & Takagi 2024,
arXiv:2405.07288).

Textual inversion backwards: the denoiser is held, and the text encoder τ learns to describe the pictures badly, so that
the name no longer leads to them. z₀ is a picture's latent, y a prompt that names the concept, t any timestep:
    (1)  z_t = √ᾱ_t z₀ + √(1−ᾱ_t) ε
    (2)  u = ε,   or √ᾱ_t ε − √(1−ᾱ_t) z₀ for a model that predicts v,   or z₀ for one that predicts it
    (3)  L = −mean (ε_θ(z_t, t, τ(y)) − u)²
Nothing bounds (3), nothing is retained, no anchor is given: stopping early is the only regulariser, and epochs, not
steps, are the published measure of how long, so that twice as many pictures are twice as many steps. The empty prompt
goes through the same encoder: both branches of guidance move.

The official code (fmp453/few-shot-erasing) is followed in what it trains, its optimiser, and in that pictures are
flipped and encoded once. Not in these: the last attention is found by its number, not by the text "11."; everything is
seeded; latents are the autoencoder's means; pictures are cut to a square, not squashed; prompts are the concept's own
templates, not the 27 and 19 of textual inversion. Without a folder the model draws the pictures itself, an extension:
the "zero-shot" of the code trains on uniform noise in a wrong shape. Its weight decay of 1e-8 is none in float32.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor, nn
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.copies import Wanted, changes, own_text_encoder, parameters_of
from workbench.fitting.footprint import Footprint
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.pictures import Pictures, picture_files, read_pictures
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, check
from workbench.fitting.selectors import layer_of
from workbench.fitting.training import train
from workbench.knobs import Opens
from workbench.models import Diffusion
from workbench.models.capabilities import NOISE_SCHEDULE, ONE_TEXT_ENCODER
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.prediction import aim, noised
from workbench.papers import Reference

ENCODER = "text_encoder"
Group = Literal["mlp-final-attn", "mlp", "attn", "mlp-attn", "all"]


@dataclass(frozen=True, kw_only=True)
class FewShot(ErasureMethod):
    """Makes the text encoder describe a few pictures of the concept badly. A `WeightEdit` of the text encoder.

    Both branches of guidance move, the one without a prompt too. For models with one text encoder: of SDXL's two, and
    the pooled text beside them, those that stay would go on naming the concept.

    At the default rate weights change by 1e-4 at most, which bfloat16 rounds away for the most part and float16 in
    part: put in place on a model in half precision, the edit warns of what is lost.
    """

    folder: Annotated[
        str, Opens(picture_files), Doc("Of pictures of the one concept; left out, the model draws them itself.")
    ] = ""
    pictures: Annotated[int, Ge(1), Doc("How many it draws of each concept.")] = 4
    train: Annotated[Group, Doc("Parts of each layer; final-attn: of the last one only.")] = "mlp-final-attn"
    epochs: Annotated[int, Ge(1), Doc("Passes over the pictures: the only measure of strength.")] = 5
    max_steps: Annotated[int | None, Ge(1), Doc("Stops within an epoch; None: after all of them.")] = None
    batch: Annotated[int, Ge(1), Doc("Pictures a step.")] = 2
    lr: Annotated[float, Gt(0), Doc("Adam, constant.")] = 1e-5
    save_memory: SaveMemory = False

    name: ClassVar[str] = "few_shot"
    paper: ClassVar[Reference] = Reference(
        title="Erasing Concepts from Text-to-Image Diffusion Models with Few-shot Unlearning",
        authors="M. Fuchi, T. Takagi",
        year=2024,
        arxiv="2405.07288",
        venue="BMVC",
    )
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports({ONE_TEXT_ENCODER, NOISE_SCHEDULE})
    cost: ClassVar[str] = "4 pictures, given or drawn; 10 steps, each one pass forward and backward"
    length: ClassVar[tuple[str, ...]] = ("epochs",)

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Trains a copy of the text encoder by (3).

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once. Pictures of a folder show a single one.
            seed: Decides pictures, flips, prompts, timesteps, noise and their order.
            progress: Told of pictures and training steps.

        Returns:
            The change of every parameter that was trained.

        Raises:
            WorkbenchError: Before any work, for pictures that cannot be read and weights that cannot be trained.
        """
        self.supports.check("Few-shot erasing", model, concepts)
        given = self._given(model, concepts)
        names = trained_names(model, self.train)
        student = own_text_encoder(model, set(names).__contains__)
        trained = {name: student.parameter(name) for name in names}
        check(trained, self.plan(1))
        generator, shots = torch.Generator().manual_seed(seed), []
        for one in concepts:
            shown = self._drawn(model, one, generator, progress) if given is None else given
            shots += shots_of(model, one, shown, generator)
        order = batches(len(shots), self.batch, self.epochs, generator)
        self._train(model, student, trained, shots, order, seed, progress)
        return WeightEdit(tensors=changes(model, student, names), **self.told(model, concepts, seed))

    def plan(self, shots: int) -> Plan:
        """Adam with the betas of the code, for so many pictures."""
        steps = self.epochs * math.ceil(shots / self.batch)
        return Plan(
            steps=steps if self.max_steps is None else min(steps, self.max_steps),
            lr=self.lr, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0,
        )  # fmt: skip

    def footprint(self, model: Diffusion) -> Footprint:
        """One graph through the text encoder and the denoiser, of as many rows as a step has pictures."""
        return Footprint([self.batch], text=set(trained_names(model, self.train)).__contains__)

    def _train(
        self, model: Diffusion, student: Diffusion, trained: Mapping[str, nn.Parameter], shots: Sequence["Shot"],
        order: Sequence[Sequence[int]], seed: int, progress: Progress,
    ) -> None:  # fmt: skip
        def loss(step: int, generator: torch.Generator) -> Float[Tensor, ""]:
            return ascent(student, drawn([shots[i] for i in order[step]], model.pipe.scheduler, generator))

        about = [(shot.prompts, float(shot.latent.double().sum())) for shot in shots]
        player = Player(trained, loss, self.plan(len(shots)))
        what = [asdict(self), about, model.fingerprint]
        with saving_memory(model, student, self.save_memory, needed=(ENCODER,)):
            train(player, seed=seed, what=what, progress=progress, label="gradient ascent")

    def _given(self, model: Diffusion, concepts: Sequence[Concept]) -> Pictures | None:
        if not self.folder:
            return None
        if len(concepts) > 1:
            raise WorkbenchError(
                f"The folder {self.folder} has pictures of one concept, and {len(concepts)} are to be erased.",
                "Erase one at a time, or leave the folder out.",
            )
        return read_pictures(self.folder, model.image_size)

    def _drawn(self, model: Diffusion, concept: Concept, generator: torch.Generator, progress: Progress) -> Pictures:
        """By the model, of the concept's prompts in turn."""
        texts = concept.prompts()
        seeds = torch.randint(2**31, (self.pictures,), generator=generator).tolist()
        prompts = [texts[i % len(texts)] for i in range(self.pictures)]
        return model.generate(prompts, seeds, progress=progress)


class Shot(NamedTuple):
    """A picture's latent `[channels, height, width]`, and the prompts that it may be shown with."""

    latent: Tensor
    prompts: tuple[str, ...]


class Noised(NamedTuple):
    """What one step trains on: a row for each picture."""

    latents: Latents  # z_t
    timesteps: Int64[Tensor, " rows"]
    prompts: list[str]
    target: Latents  # u


def shots_of(model: Diffusion, concept: Concept, pictures: Pictures, generator: torch.Generator) -> list[Shot]:
    """The pictures as latents, once and for all: each flipped or not, with even chances."""
    flipped = torch.rand(len(pictures), generator=generator) < 0.5
    turned = pictures.copy()
    turned[flipped.numpy()] = turned[flipped.numpy(), :, ::-1]
    latents = model.latents(turned).cpu()
    latents = latents.to(torch.promote_types(latents.dtype, torch.float32))  # so that noise is not drawn in less
    return [Shot(latent, concept.prompts()) for latent in latents]


def trained_names(model: Diffusion, group: Group) -> list[str]:
    """The names of the text encoder's parameters that belong to the group."""
    last = 1 + max(layer for name in parameters_of(model, ENCODER) if (layer := layer_of(name)) is not None)
    return list(parameters_of(model, ENCODER, member_of(group, last)))


def member_of(group: Group, layers: int) -> Wanted:
    """Whether a parameter of this name is in the group, in a text encoder of so many layers."""

    def wanted(name: str) -> bool:
        parts = name.split(".")
        mlp, attention, layer = "mlp" in parts, "self_attn" in parts, layer_of(name)
        return {
            "mlp-final-attn": mlp or (attention and layer == layers - 1),
            "mlp": mlp, "attn": attention, "mlp-attn": mlp or attention, "all": True,
        }[group]  # fmt: skip

    return wanted


def batches(shots: int, batch: int, epochs: int, generator: torch.Generator) -> list[list[int]]:
    """Which pictures each step sees: all of them once an epoch, in a new order; the last batch may be smaller."""
    orders = [torch.randperm(shots, generator=generator) for _ in range(epochs)]
    return [part.tolist() for order in orders for part in order.split(batch)]


def drawn(shots: Sequence[Shot], scheduler: Any, generator: torch.Generator) -> Noised:
    """Each picture with a prompt, a timestep and noise of its own."""
    picks = [int(torch.randint(len(shot.prompts), (), generator=generator)) for shot in shots]
    clean = torch.stack([shot.latent for shot in shots])
    t = torch.randint(scheduler.config.num_train_timesteps, (len(shots),), generator=generator)
    noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    prompts = [shot.prompts[pick] for shot, pick in zip(shots, picks, strict=True)]
    return Noised(noised(scheduler, clean, noise, t), t, prompts, aim(scheduler, clean, noise, t))


def ascent(student: Diffusion, seen: Noised) -> Float[Tensor, ""]:
    """(3), with a gradient to the text encoder."""
    prediction = student.noise_prediction(seen.latents, seen.timesteps, student.encode(seen.prompts))
    return -(prediction - seen.target.to(prediction)).square().mean()
