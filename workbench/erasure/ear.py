"""EAR: Erasing Concepts from Unified Autoregressive Models (Fan et al. 2025, arXiv:2506.20151).

A few attention maps of the language model learn to read a prompt of the concept as the frozen model reads a safe one,
pushed away from the concept. What is compared are hidden states after the last norm, not logits.

A picture is N tokens, written by the frozen model from its prompt: the stream p of the unsafe prompt, n and t of the
safe one, drawn apart. H_i are the states of step i: of all positions of the prompt for i = 1, of the token before
otherwise, in both rows of guidance.
    (1)  Y_i = H*ᵗ_i − η (H*ᵖ_i − H*ⁿ_i)
    (2)  ℓ_i = mean (H^θ,p_i − Y_i)²
    (3)  𝓛_k = Σ ℓ_i over the W steps of window k          windowed gradient accumulation
    (4)  a step of Adam on ∇𝓛_k if 𝓛_k > μ, else none      thresholded loss masking
The frozen model alone draws tokens, so all pictures are made, and (1) is answered, before the steps that need them.
Followed is the authors' code (f6c02df), which the paper's figures agree with. It passes no cache while it trains: from
i = 2 on a step sees one token at position 0 and neither prompt nor picture (`context="none"`), so that both rows are
equal and queries and keys hardly learn. What the text describes is `context="cached"`, the default; gradients end at
the beginning of a window, before which keys and values are computed anew by what was learnt. 𝓛 is a sum, so μ is no
threshold a step. Windows that a picture does not fill are lost, as there.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.copies import changes, nothing, own_language_model, parameters_of
from workbench.fitting.picture_streams import Context, Format, PairRows, States, Streams, of_all, pair_rows
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, check
from workbench.fitting.prompt_pairs import PromptPair, files_of, read_pairs
from workbench.fitting.selectors import FIRST, is_attention_of_first
from workbench.fitting.training import train
from workbench.knobs import Opens
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE
from workbench.models.janus.model import Janus
from workbench.papers import Reference

LM = "language_model"
TOGETHER = 8  # pairs whose pictures are written at once


@dataclass(frozen=True, kw_only=True)
class EAR(ErasureMethod):
    """Teaches the first attention layers of a Janus to read the concept's prompts as safe ones.

    A `WeightEdit`. Pairs of prompts are the concept's own and its anchor's, or read from a file, such as one that
    `workbench pairs` makes.
    """

    pairs: Annotated[str, Opens(files_of), Doc("CSV or JSON of pairs of prompts; left out, the concept's own.")] = ""
    visits: Annotated[int, Ge(1), Doc("J: pictures trained on, each of the next pair.")] = 50
    window: Annotated[int, Ge(1), Doc("W: tokens a step; 100 for nudity, 48 for church, 12 for Van Gogh.")] = 48
    threshold: Annotated[float, Ge(0), Doc("μ of (4), compared with the sum of a window.")] = 0.05
    negative_guidance: Annotated[float, Doc("η of (1): how far away from the concept.")] = 1.0
    guidance_scale: Annotated[float, Doc("Of the pictures.")] = 5.0
    layers: Annotated[int, Ge(1), Doc("How many are trained, from the first on.")] = FIRST
    context: Annotated[Context, Doc("What a step sees before its token; none: the published training.")] = "cached"
    prompt_format: Annotated[Format, Doc("As for pictures, or (raw, published) without a template.")] = "chat"
    lr: Annotated[float, Gt(0), Doc("Adam, constant.")] = 1e-4

    name: ClassVar[str] = "ear"
    paper: ClassVar[Reference] = Reference(
        title="EAR: Erasing Concepts from Unified Autoregressive Models",
        authors="H. Fan et al.",
        year=2025,
        arxiv="2506.20151",
    )
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports({AUTOREGRESSIVE})
    cost: ClassVar[str] = "three pictures a visit, 50 visits, and some eight passes over each"
    length: ClassVar[tuple[str, ...]] = ("visits",)

    def fit(
        self, model: Model, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Trains copies of attention maps by (3) and (4).

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, with an anchor each unless pairs are given.
            seed: Decides the pictures.
            progress: Told of pictures and training steps.

        Returns:
            The change of every parameter that was trained.

        Raises:
            WorkbenchError: Nothing takes a concept's place, a window is longer than a picture, or the model has fewer
                layers, before any work.
        """
        self.supports.check("EAR", model, concepts)
        assert isinstance(model, Janus)  # whose capabilities it has
        self._check(model)
        pairs = self._pairs(concepts)
        student = own_language_model(model, self._wanted)
        trained = parameters_of(student, LM, self._wanted)
        check(trained, self._plan(model))
        pictures = _Pictures(self, model, pairs, seed, progress)

        def loss(step: int, generator: torch.Generator) -> dict[str, Tensor] | None:
            visit, window = divmod(step, self._windows(model))
            found = pictures.loss(student, visit, window)
            return {"hidden states": found} if float(found.detach()) > self.threshold else None  # (4)

        what = [asdict(self), pairs, model.fingerprint]
        plan = self._plan(model)
        train(Player(trained, loss, plan), seed=seed, what=what, progress=progress, label="windows of pictures")
        return WeightEdit(tensors=changes(model, student, trained), **self.told(model, concepts, seed))

    def _check(self, model: Janus) -> None:
        if self.window > model.pipe.cells:
            raise WorkbenchError(
                f"A window of {self.window} tokens is longer than a picture of {model.name}.",
                f"Choose {model.pipe.cells} or less.",
            )
        if self.layers > (known := len(model.pipe.language_model.layers)):
            raise WorkbenchError(
                f"{model.name} has {known} layers, and {self.layers} were to be trained.", "Take less."
            )

    def _pairs(self, concepts: Sequence[Concept]) -> list[PromptPair]:
        if self.pairs:
            return list(read_pairs(self.pairs).pairs)
        for concept in concepts:
            if not concept.anchor:
                raise WorkbenchError(
                    f"EAR needs safe prompts, and nothing takes the place of {concept.name!r}.",
                    "Give it an anchor, or pairs of prompts in a file (pairs=…).",
                )
        return [
            PromptPair(original, modified, concept.name, concept.anchor)
            for concept in concepts
            for original, modified in zip(concept.prompts(), concept.anchor_prompts(), strict=True)
        ]

    def _wanted(self, name: str) -> bool:
        """Whether a parameter is of the attention maps of the first layers."""
        return is_attention_of_first(name, self.layers)

    def _windows(self, model: Janus) -> int:
        return model.pipe.cells // self.window

    def _plan(self, model: Janus) -> Plan:
        return Plan(steps=self.visits * self._windows(model), lr=self.lr, weight_decay=0.0)


class _Pictures:
    """The pictures of all visits, written beforehand, and what the frozen model says along the one that is visited."""

    def __init__(self, method: EAR, model: Janus, pairs: Sequence[PromptPair], seed: int, progress: Progress) -> None:
        self.method, self.teacher = method, own_language_model(model, nothing)  # in the precision of a student
        self.streams = Streams(method.context, method.guidance_scale)
        rows = [pair_rows(model, pair.original, pair.modified, method.prompt_format) for pair in pairs]
        self.rows = [rows[visit % len(rows)] for visit in range(method.visits)]
        self.tokens = self._written(model, seed, progress)
        self._at: tuple[int, States] | None = None

    def loss(self, student: Janus, visit: int, window: int) -> Float[Tensor, ""]:
        """(3) for a window of a picture."""
        rows, width = self.rows[visit], self.method.window
        first, last = window * width, (window + 1) * width
        seen = self.streams.states(student, rows.unsafe.both, self.tokens[visit][:1], first, last)
        begins = 0 if first == 0 else rows.positions + first - 1
        target = self._target(visit)[:, begins : begins + seen.shape[1]]
        return window_loss(seen, target.to(seen), rows.positions if first == 0 else 0)

    @torch.no_grad()
    def _target(self, visit: int) -> States:
        """(1) for all steps of a visit; that of the last visit is kept."""
        if self._at is None or self._at[0] != visit:
            rows, tokens = self.rows[visit], self.tokens[visit]
            line = of_all([rows.unsafe, rows.safe, rows.safe]).both
            states = self.streams.states(self.teacher, line, tokens, 0, tokens.shape[1])
            unsafe, safe, again = (states[[stream, stream + 3]] for stream in range(3))
            self._at = visit, target(unsafe, safe, again, self.method.negative_guidance)
        return self._at[1]

    def _written(self, model: Janus, seed: int, progress: Progress) -> list[Tensor]:
        """The tokens of each visit; visits of equally long prompts are written together."""
        found: dict[int, Tensor] = {}
        for visits in progress(_together(self.rows), "pictures"):
            seeds = [_seed(seed, visit, stream) for visit in visits for stream in range(3)]
            tokens = self.streams.sampled(model, [self.rows[visit] for visit in visits], seeds)
            found |= dict(zip(visits, tokens, strict=True))
        return [found[visit] for visit in range(len(self.rows))]


def target(unsafe: States, safe: States, again: States, negative_guidance: float) -> States:
    """(1): the safe picture's states, pushed away from the concept.

    Args:
        unsafe: H*ᵖ, of the frozen model.
        safe: H*ⁿ.
        again: H*ᵗ, of another picture of the safe prompt.
        negative_guidance: η.

    Returns:
        Y.
    """
    return again - negative_guidance * (unsafe - safe)  # (1)


def window_loss(seen: States, target: States, prompt: int) -> Float[Tensor, ""]:
    """(3): the sum over steps of (2).

    Args:
        seen: H^θ,p of the window.
        target: Y.
        prompt: How many positions belong to the first step, those of the prompt; 0 if it is none of the window.

    Returns:
        𝓛_k.
    """
    squares = (seen - target).square().mean(dim=(0, 2))  # (2), a position
    return (squares[:prompt].mean() if prompt else 0) + squares[prompt:].sum()  # (3)


def _together(rows: Sequence[PairRows]) -> list[list[int]]:
    """Visits of equally long prompts, a few at a time."""
    by_length: dict[int, list[int]] = {}
    for visit, pair in enumerate(rows):
        by_length.setdefault(pair.positions, []).append(visit)
    return [visits[at : at + TOGETHER] for visits in by_length.values() for at in range(0, len(visits), TOGETHER)]


def _seed(seed: int, visit: int, stream: int) -> int:
    return int(np.random.SeedSequence([seed, visit, stream]).generate_state(1, np.uint64)[0] >> 1)
