"""Geom-Erasing: Implicit Concept Removal of Diffusion Models (Liu et al. 2024, arXiv:2310.05873).

An implicit concept is what a model draws unasked: watermarks, codes, letters. Captions never named it, so that the
model can neither be told to leave it out nor say where it is. A detector says it for the model: new tokens ⟨m, n⟩ in
captions stand for the cells of a grid in which it was found, the model learns what they mean, and the concept's name
with the tokens is what guidance then leads away from. y is a caption, S the cells in which the concept is, w the
weights of `fitting.cells`, E the rows of the new tokens in the token table, c(·) the text encoder, g the scale:
    (1)  y′ = y ⊕ name ⊕ ⟨m, n⟩ for (m, n) ∈ S;   y′ = y where nothing is found
    (2)  L = mean ( w ⊙ (ε − ε_θ(z_t, t, c(y′)))² ),   w smaller inside S than outside, Σ w its number of places
    (3)  model removal: minimise (2) over E alone;   data removal: over the denoiser θ and E
    (4)  E = E₀ + (η_E / η_θ) δ
    (5)  ε̂ = ε_θ(z_t, t, c(n)) + g (ε_θ(z_t, t, c(y)) − ε_θ(z_t, t, c(n))),   n = name ⊕ the tokens of all cells
Adam's steps do not depend on the size of gradients, so with (4) the rows go at their rate η_E and the denoiser at its
η_θ in one training. A model that predicts v is told v in (2).

The paper has no public code. Not found were the grid, α, threshold, rates, lengths and which cells stand in n: what is
the default here is our choice. Where a caption has no room for all tokens of S, the cells that boxes fill most are
taken; a caption that has no room for the name is refused, never cut. Without a folder of training data the model draws
the pictures, of prompts that bring the concept about and of others in turn.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from jaxtyping import Float, Int64
from torch import Tensor, nn
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.detectors import find_detector
from workbench.detectors.detector import THRESHOLD, Boxes
from workbench.edits import ComposedEdit, Edit, PromptEdit, TokenEdit, WeightEdit
from workbench.edits.token import ROWS
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.annotating import CellTokens, Reader, annotated, cell_tokens
from workbench.fitting.cells import covered, fullest, weights
from workbench.fitting.copies import (
    Wanted,
    changes,
    denoiser_parameters,
    everything,
    nothing,
    own_denoiser,
    own_text_encoder,
)
from workbench.fitting.cutting import drawn_cut
from workbench.fitting.footprint import Footprint
from workbench.fitting.implicit_sets import captioned_files
from workbench.fitting.looking import Seen, Source, in_parts
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player
from workbench.fitting.training import train
from workbench.knobs import Opens
from workbench.models import Diffusion
from workbench.models.capabilities import GUIDANCE_BRANCHES, NOISE_SCHEDULE, ONE_TEXT_ENCODER
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.prediction import aim, noised
from workbench.models.vocabulary import check_ids, token_table
from workbench.papers import Reference

AT_ONCE = 8  # pictures that go through the autoencoder together
NOISE = 0.1  # of E₀ around the mean row, as a share of the deviation of the table's rows

Annotation = Literal["plain", "name", "location"]


@dataclass(frozen=True, kw_only=True)
class GeomErasing(ErasureMethod):
    """Captions say where a detector finds the concept, and guidance leads away from what they came to mean.

    Returns new tokens and the negative prompt that names them; in data removal the change of the denoiser too, which is
    then what is to be used in the place of a plain fine-tuning on such data. Without the negative prompt model removal
    does nothing. Tokens are never baked; of data removal, the change of weights is.
    """

    removal: Annotated[
        Literal["model", "data"], Doc("model: learn tokens alone. data: fine-tune the denoiser on the pictures too.")
    ] = "model"
    folder: Annotated[
        str, Opens(captioned_files), Doc("Of pictures with captions (.txt); left out, the model draws them.")
    ] = ""
    detector: Annotated[
        str, Doc("A name of DETECTORS, or module:Class; left out, the boxes that `workbench icd` wrote are taken.")
    ] = ""
    pictures: Annotated[int, Ge(2), Doc("How many the model draws of each concept.")] = 200
    threshold: Annotated[float, Ge(0), Le(1), Doc("Finds below this score do not count.")] = THRESHOLD
    captions: Annotated[
        Annotation, Doc("location: name and tokens where the concept is. name: the name alone. plain: nothing.")
    ] = "location"
    grid: Annotated[int, Ge(1), Doc("Cells along a side; a divisor of the latents' side.")] = 4
    most_tokens: Annotated[int, Ge(1), Doc("Cells in a caption at most, also where there is room for more.")] = 16
    alpha: Annotated[float, Ge(1), Doc("How much more is learnt outside the concept than inside; 1: alike.")] = 2.0
    negative: Annotated[Literal["cells", "name"], Doc("Whether the negative prompt has the tokens.")] = "cells"
    crop: Annotated[float, Gt(0), Le(1), Doc("Least side of a square cut at random; 1: the middle.")] = 1.0
    flip: Annotated[bool, Doc("Mirrors every other picture, with its boxes.")] = False
    dropout: Annotated[float, Ge(0), Lt(1), Doc("Share of captions that are left empty.")] = 0.1
    iterations: Annotated[int, Ge(1), Doc("Steps.")] = 1000
    batch: Annotated[int, Ge(1), Doc("Pictures a step.")] = 4
    token_lr: Annotated[float, Gt(0), Doc("Adam, constant, of the tokens' rows.")] = 5e-4
    lr: Annotated[float, Gt(0), Doc("The denoiser's, in data removal.")] = 1e-5
    save_memory: SaveMemory = False

    name: ClassVar[str] = "geom_erasing"
    reconstructed: ClassVar[str] = "no code is public; grid, weights, rates and lengths are our choice"
    paper: ClassVar[Reference] = Reference(
        title="Implicit Concept Removal of Diffusion Models",
        authors="Z. Liu, K. Chen, Y. Zhang, J. Han, L. Hong, H. Xu, Z. Li, D.-Y. Yeung, J. Kwok",
        year=2024,
        arxiv="2310.05873",
        venue="ECCV",
    )
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports({ONE_TEXT_ENCODER, NOISE_SCHEDULE, GUIDANCE_BRANCHES})
    cost: ClassVar[str] = "200 pictures, given or drawn, through a detector; 1,000 passes of 4 rows back to the text"
    length: ClassVar[tuple[str, ...]] = ("iterations",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.removal == "model" and self.captions != "location":
            raise WorkbenchError(
                "Model removal without tokens has nothing to learn.",
                "Take the method negative_prompt, or removal: data.",
            )

    def fit(self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT) -> Edit:
        """Finds the concepts in pictures, annotates their captions, and minimises (2).

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once; they share the tokens.
            seed: Decides pictures, cuts, timesteps, noise and their order.
            progress: Told of pictures and training steps.

        Returns:
            Tokens, the change of the denoiser, and the negative prompt: those of them that there are, composed.

        Raises:
            WorkbenchError: Before any work, for pictures, captions, a grid or a detector that do not fit; and if
                nothing of the concepts is found.
        """
        self.supports.check("Geom-Erasing", model, concepts)
        names = [one.name for one in concepts]
        source = Source(
            self.folder, find_detector(self.detector) if self.detector else None, self.pictures, self.threshold
        )
        tokens = cell_tokens(names, self.grid) if self.captions == "location" else {}
        self._check(model, concepts, source, tokens)
        student = own_denoiser(own_text_encoder(model, nothing), self._wanted)
        reader, generator = Reader(student, list(tokens.values())), torch.Generator().manual_seed(seed)
        shots = [
            shot
            for part in in_parts(source.seen(model, concepts, seed, progress), AT_ONCE)
            for shot in self._shots(model, names, reader, tokens, part, generator)
        ]
        found = sum(shot.found for shot in shots)
        if not found and self.captions != "plain":
            raise WorkbenchError(
                f"Nothing of {', '.join(names)} was found in {len(shots)} pictures.",
                "Give pictures that show it, another detector, or a lower threshold.",
            )
        rows = self._trained(model, student, reader, shots, seed, progress)
        told = self.told(model, concepts, seed, {"seen": len(shots), "found": found})
        return self._edit(model, student, names, tokens, rows, told)

    @property
    def plan(self) -> Plan:
        """Adam, at the rate of what there is to train; of both, at the denoiser's (4)."""
        lr = self.token_lr if self.removal == "model" else self.lr
        return Plan(steps=self.iterations, lr=lr, weight_decay=0.0)

    def footprint(self, model: Diffusion) -> Footprint:
        """One graph through the text encoder and the denoiser, of as many rows as a step has pictures."""
        if self.captions != "location":
            return Footprint([self.batch], trained=self._wanted, pictures=AT_ONCE)
        return Footprint([self.batch], trained=self._wanted, text=nothing, attach=self._rows_beside, pictures=AT_ONCE)

    def negative_text(self, names: Sequence[str], tokens: Iterable[str]) -> str:
        """n of (5)."""
        return " ".join([*names, *(tokens if self.negative == "cells" else ())])

    @property
    def _wanted(self) -> Wanted:
        return everything if self.removal == "data" else nothing

    def _rows_beside(self, student: Diffusion, stack: ExitStack) -> dict[str, nn.Parameter]:
        """δ for `footprint`: all that is looked up depends on it."""
        table: Any = student.architecture.token_tables[0]
        rows = nn.Parameter(torch.zeros(self.grid**2, table.weight.shape[1]))
        stack.callback(table.register_forward_hook(lambda module, args, out: out + rows.sum(0).to(out)).remove)
        return {ROWS: rows}

    def _check(self, model: Diffusion, concepts: Sequence[Concept], source: Source, tokens: CellTokens) -> None:
        side, names = model.noise([0]).shape[-1], [one.name for one in concepts]
        if side % self.grid:
            raise WorkbenchError(
                f"A grid of {self.grid} cells does not divide latents of {side} places.",
                f"Choose one of {', '.join(str(n) for n in range(1, side + 1) if side % n == 0)}.",
            )
        source.check(concepts)
        if tokens:
            check_ids(model)
        reader, texts = Reader(model, list(tokens.values())), source.texts(concepts)
        seen = {} if self.captions == "plain" else {name: () for name in names}
        reader.check([annotated(text, seen) for text in texts])
        if self.captions != "plain":
            reader.check([self.negative_text(names, tokens.values())])
            named = sum(any(name.casefold() in text.casefold() for name in names) for text in texts)
            if named:
                warnings.warn(f"{named} of {len(texts)} captions name the concept already; they stay.", stacklevel=3)

    def _shots(
        self, model: Diffusion, names: Sequence[str], reader: Reader, tokens: CellTokens, pictures: Sequence[Seen],
        generator: torch.Generator,
    ) -> list["Shot"]:  # fmt: skip
        """Each picture cut, with its caption annotated by what is left of its boxes in the cut."""
        size = model.image_size
        cuts = [drawn_cut(len(one.image), one.image.shape[1], self.crop, self.flip, generator) for one in pictures]
        both = list(zip(cuts, pictures, strict=True))
        latents = model.latents(np.stack([cut.picture(one.image, size) for cut, one in both])).cpu()
        latents = latents.to(torch.promote_types(latents.dtype, torch.float32))  # so that noise is not drawn in less
        shots = []
        for latent, (cut, one) in zip(latents, both, strict=True):
            boxes = [cut.boxes(own, size) for own in one.boxes]
            text = self.caption(one.caption, names, boxes, size, reader, tokens)
            inside = np.concatenate(boxes)
            w = weights(covered(inside, size, self.grid), latent.shape[-1], self.alpha)
            shots.append(Shot(latent, text, w.to(latent), len(inside) > 0))
        return shots

    def caption(
        self, caption: str, names: Sequence[str], boxes: Sequence[Boxes], size: int, reader: Reader, tokens: CellTokens
    ) -> str:
        """y′ of (1), with as many tokens as there is room for, shared alike among the concepts that are there."""
        there = [(name, own) for name, own in zip(names, boxes, strict=True) if len(own)]
        if self.captions == "plain" or not there:
            return caption
        room = reader.room(annotated(caption, {name: () for name, _ in there})) // len(there)
        most = min(room, self.most_tokens) if tokens else 0
        cells = {name: fullest(own, size, self.grid, most) for name, own in there}
        return annotated(caption, {name: [tokens[cell] for cell in own] for name, own in cells.items()})

    def _trained(
        self, model: Diffusion, student: Diffusion, reader: Reader, shots: Sequence["Shot"], seed: int,
        progress: Progress,
    ) -> Tensor | None:  # fmt: skip
        """E after the training; None without tokens. The denoiser learns in place, in the student."""
        first, parameters = None, denoiser_parameters(student, self._wanted)
        if self.captions == "location":
            first = first_rows(model, self.grid**2, seed)
            parameters[ROWS] = nn.Parameter(torch.zeros_like(first))
        scale = 1.0 if self.removal == "model" else self.token_lr / self.lr

        def rows() -> Tensor | None:
            return None if first is None else first + scale * parameters[ROWS]  # (4)

        def loss(step: int, generator: torch.Generator) -> Float[Tensor, ""]:
            picks = torch.randint(len(shots), (self.batch,), generator=generator).tolist()
            seen = drawn([shots[i] for i in picks], model.pipe.scheduler, self.dropout, generator)
            prediction = student.noise_prediction(seen.latents, seen.timesteps, reader.encode(seen.texts, rows()))
            return weighted(prediction, seen.target.to(prediction), seen.weights.to(prediction))

        about = [(shot.text, float(shot.latent.double().sum()), float(shot.weights.max())) for shot in shots]
        with saving_memory(model, student, self.save_memory, needed=("text_encoder",)):
            train(
                Player(parameters, loss, self.plan), seed=seed, what=[asdict(self), about, model.fingerprint],
                progress=progress, label="annotated pictures",
            )  # fmt: skip
        last = rows()
        return None if last is None else last.detach().cpu()

    def _edit(
        self, model: Diffusion, student: Diffusion, names: Sequence[str], tokens: CellTokens, rows: Tensor | None,
        told: Mapping[str, Any],
    ) -> Edit:  # fmt: skip
        parts: list[Edit] = []
        if rows is not None:
            parts.append(TokenEdit(tokens=list(tokens.values()), tensors={ROWS: rows}, **told))
        if trained := list(denoiser_parameters(student, self._wanted)):
            parts.append(WeightEdit(tensors=changes(model, student, trained), **told))
        if self.captions != "plain":
            text = self.negative_text(names, tokens.values())
            parts.append(PromptEdit(text=text, width=model.architecture.latent_channels, **told))
        return parts[0] if len(parts) == 1 else ComposedEdit(parts)


class Shot(NamedTuple):
    """A picture's latent `[channels, side, side]`, its caption, w `[side, side]`, and whether a concept is in it."""

    latent: Tensor
    text: str
    weights: Tensor
    found: bool


class Noised(NamedTuple):
    """What one step trains on: a row for each picture."""

    latents: Latents  # z_t
    timesteps: Int64[Tensor, " rows"]
    texts: list[str]
    target: Latents  # ε, or what the model predicts in its place
    weights: Float[Tensor, "rows 1 side side"]


def weighted(prediction: Latents, target: Latents, weights: Float[Tensor, "rows 1 side side"]) -> Float[Tensor, ""]:
    """(2): the weights count for all channels alike."""
    return (weights * (prediction - target).square()).mean()  # (2)


def drawn(shots: Sequence[Shot], scheduler: Any, dropout: float, generator: torch.Generator) -> Noised:
    """Each picture with a timestep and noise of its own; a share of captions is empty."""
    clean = torch.stack([shot.latent for shot in shots])
    t = torch.randint(scheduler.config.num_train_timesteps, (len(shots),), generator=generator)
    noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    empty = torch.rand(len(shots), generator=generator) < dropout
    texts = ["" if none else shot.text for shot, none in zip(shots, empty.tolist(), strict=True)]
    w = torch.stack([shot.weights for shot in shots])[:, None]
    return Noised(noised(scheduler, clean, noise, t), t, texts, aim(scheduler, clean, noise, t), w)


def first_rows(model: Diffusion, n: int, seed: int) -> Float[Tensor, "n d"]:
    """E₀: the mean row of the token table, and a little noise that tells the tokens apart."""
    table = token_table(model).detach()
    table = table.to("cpu", torch.promote_types(table.dtype, torch.float32))
    noise = torch.randn(n, table.shape[1], generator=torch.Generator().manual_seed(seed), dtype=table.dtype)
    return (table.mean(0) + NOISE * table.std(0) * noise).to(model.device)
