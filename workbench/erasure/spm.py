"""SPM: One-dimensional Adapter to Rule Them All: Concepts, Diffusion Models and Erasing Applications (Lyu et al. 2024,
arXiv:2312.16145). A thin adapter beside every layer of the attention blocks is shut to all but its concept.

θ* is the model, θ the model with the adapter; c a text of the concept, a the empty prompt (or the concept's anchor),
∅ the empty prompt, e(·) what the denoiser reads, x_t a latent of a trajectory of c that is guided with 3 (on SDXL
rescaled as well, see `fitting.trajectories`).
    (1)  L_era = mean (ε_θ(x_t, c) − y)²
    (2)  y = ε*(a) − η [ε*(c) − ε*(a)]
    (3)  e_a = ρ ‖e(c)‖ g/‖g‖,  g ~ N(0, I), kept with probability 1 − cos(g, e(c)),  ρ ~ U(0.8, 1.2)
    (4)  L_anc = mean over M such e_a, and ∅, of mean (ε_θ(x_t, ·) − ε*(x_t, ·))²       Latent Anchoring
    (5)  L = L_era + λ L_anc
When pictures are made, each adapter opens as far as the prompt asks for (Facilitated Transport: `edits.gating`), and
several add up (`edits.adapter`). Outputs are the denoiser's raw ones, as in `esd`.

The official code (3dd762e) differs in what reads like slips, and is not followed: half of its anchors are the empty
prompt and the other half of those drawn are dropped (`official_anchors`); a gate acts squared, and several adapters are
added factor by factor (`combination="official"`); its x_t are 33 to 42 of 1,000 timesteps cleaner than they are told
to be. In high dimensions random directions are nearly orthogonal to e(c), so (3) accepts almost every draw and anchors
are far from real prompts. Kept as published.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from operator import mul
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits.adapter import DOWN, UP, AdapterEdit, adaptable
from workbench.edits.combining import combined
from workbench.edits.gating import Gate, check_gate
from workbench.erasure.esd import Prompts, texts_of
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.copies import nothing, own_denoiser, teacher_of
from workbench.fitting.embedding import encoded
from workbench.fitting.footprint import Footprint
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, Terms, check
from workbench.fitting.training import train
from workbench.fitting.trajectories import BATCH, partway
from workbench.fitting.views import Seen, View, whole_trajectories
from workbench.models import Diffusion
from workbench.models.beside import Term, beside
from workbench.models.capabilities import CROSS_ATTENTION, NOISE_SCHEDULE
from workbench.models.diffusion.architecture import Latents
from workbench.models.encoding import Encoding, together
from workbench.papers import Reference

Predictions = Float[Tensor, "*rows channels height width"]
Adapter = dict[str, Term]  # by the path of its layer
CLOSEST, FARTHEST = 0.8, 1.2  # ρ
EIGHTHS = (4, 5, 6, 7)  # of the side of a picture, where sizes are drawn
RESCALED = {"sdxl": 0.7}  # φ by kind of model, as in the official script of each


@dataclass(frozen=True, kw_only=True)
class SPM(ErasureMethod):
    """An adapter for each concept, trained alone, that opens for prompts about it. An `AdapterEdit`.

    No pictures are needed and no list of what to retain. The edit of several concepts is that of each, side by side.
    """

    rank: Annotated[int, Ge(1), Doc("q of each adapter.")] = 1
    alpha: Annotated[float, Doc("α: an adapter adds α / q of its product.")] = 1.0
    negative_guidance: Annotated[float, Doc("η of (2): how far away from the concept.")] = 1.0
    anchoring: Annotated[float, Ge(0), Doc("λ of (5); 0 leaves Latent Anchoring out.")] = 1000.0
    anchors: Annotated[int, Ge(1), Doc("M of (4), for each latent.")] = 4
    official_anchors: Annotated[bool, Doc("Half of the anchors are the empty prompt, and M / 2 are drawn.")] = False
    to_anchor: Annotated[bool, Doc("a is the concept's anchor rather than the empty prompt.")] = False
    prompts: Annotated[Prompts, Doc("The concept's name, its name in its templates, or also its synonyms.")] = "name"
    gate: Annotated[Gate, Doc("What opens an adapter: cosine, shared tokens, the larger, or always.")] = "both"
    factor: Annotated[float, Doc("Of how far it opens.")] = 1.0
    combination: Annotated[Literal["sum", "official"], Doc("Of several adapters.")] = "sum"
    sampler: Annotated[
        Literal["student", "frozen"], Doc("Who draws x_t; frozen: all trajectories once, beforehand.")
    ] = "student"
    trajectories: Annotated[int, Ge(1), Doc("How many of them.")] = 100
    steps: Annotated[int, Ge(2), Doc("Of a whole trajectory; its first latent is noise and not used.")] = 30
    start_guidance: Annotated[float, Doc("w of a trajectory.")] = 3.0
    guidance_rescale: Annotated[
        float | None, Ge(0), Le(1), Doc("φ of a trajectory; None: as the official scripts, 0.7 on SDXL, else 0.")
    ] = None
    dynamic_resolution: Annotated[
        bool, Doc("Latents of 4 to 7 eighths of each side; the published configurations do.")
    ] = False
    iterations: Annotated[int, Ge(1), Doc("Of the training of each concept.")] = 3000
    batch: Annotated[int, Ge(1), Doc("Latents an iteration.")] = 1
    lr: Annotated[float, Gt(0), Doc("AdamW, cosine with 3 restarts.")] = 1e-4
    warmup: Annotated[int, Ge(0), Doc("Iterations until the full rate.")] = 500
    save_memory: SaveMemory = False

    name: ClassVar[str] = "spm"
    paper: ClassVar[Reference] = Reference(
        title="One-dimensional Adapter to Rule Them All: Concepts, Diffusion Models and Erasing Applications",
        authors="M. Lyu et al.",
        year=2024,
        arxiv="2312.16145",
        venue="CVPR",
    )
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports({CROSS_ATTENTION, NOISE_SCHEDULE})
    cost: ClassVar[str] = "some 40 passes an iteration, 3,000 of them; with frozen trajectories 13 and 100 images"
    length: ClassVar[tuple[str, ...]] = ("iterations",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.official_anchors and self.anchors % 2:
            raise WorkbenchError(
                f"Half of {self.anchors} anchors cannot be the empty prompt.", "Choose an even number."
            )
        if self.dynamic_resolution and self.sampler == "frozen":
            raise WorkbenchError("Frozen trajectories have one size.", "Choose the sampler 'student' for others.")

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> AdapterEdit:
        """Trains an adapter for each concept by (5), each alone.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase; with `to_anchor`, each with an anchor.
            seed: Decides first weights, latents, timesteps, anchors and their order.
            progress: Told of trajectories and training steps.

        Returns:
            The adapters of all concepts side by side.

        Raises:
            WorkbenchError: For a gate or a training that the model does not allow, before any work.
        """
        self.supports.check("SPM", model, concepts)
        check_gate(self.gate, model)
        for concept in concepts:
            if self.to_anchor and not concept.anchor:
                raise WorkbenchError(f"The concept {concept.name!r} has no anchor.", "Give it one, or leave to_anchor.")
        if self.dynamic_resolution:
            sizes(model)
        teacher, student = teacher_of(model), own_denoiser(model, nothing)
        with saving_memory(model, student, self.save_memory):
            return combined([self._fit(teacher, student, concept, seed, progress) for concept in concepts])

    @property
    def plan(self) -> Plan:
        """AdamW with a cosine that restarts."""
        return Plan(
            steps=self.iterations, lr=self.lr, schedule="cosine_with_restarts", warmup=self.warmup, cycles=3
        )  # fmt: skip

    def footprint(self, model: Diffusion) -> Footprint:
        """A graph that erases and one of all anchors; to save memory, one of each anchor."""
        held = 1 + (self.anchors // 2 if self.official_anchors else self.anchors) if self.anchoring else 0
        anchors = [self.batch] * held if self.save_memory else [self.batch * held][:held]

        def adapter(student: Diffusion, stack: ExitStack) -> dict[str, nn.Parameter]:
            found = fresh(layers_of(student), self.rank, torch.Generator())
            stack.enter_context(beside(student.module, found, lambda: self._scaled))
            return parameters_of(found)

        return Footprint([self.batch, *anchors], attach=adapter)

    def _fit(
        self, model: Diffusion, student: Diffusion, concept: Concept, seed: int, progress: Progress
    ) -> AdapterEdit:
        adapter = fresh(layers_of(student), self.rank, torch.Generator().manual_seed(seed))
        trained = parameters_of(adapter)
        check(trained, self.plan)
        view = self._frozen(model, concept, seed, progress) if self.sampler == "frozen" else None

        def loss(step: int, generator: torch.Generator) -> Iterator[Terms]:
            if view is not None:
                return self.losses(model, student, view.drawn(self.batch, generator, first=1), generator)
            seen = self.online(model, student, concept, generator)
            return self.losses(model, student, seen, generator)

        what = [asdict(self), texts_of([concept], self.prompts), model.fingerprint]
        with beside(student.module, adapter, lambda: self._scaled):
            player, label = Player(trained, loss, self.plan), f"adapter of {concept.name}"
            train(player, seed=seed, what=what, progress=progress, label=label)
        return self._edit(model, concept, trained, seed)

    def _edit(self, model: Diffusion, concept: Concept, trained: dict[str, nn.Parameter], seed: int) -> AdapterEdit:
        return AdapterEdit(
            tensors={f"0:{name}": one.detach().cpu() for name, one in trained.items()},
            targets=[(concept.name, *(concept.synonyms if self.prompts == "all" else ()))], alphas=[self.alpha],
            gate=self.gate, factor=self.factor, combination=self.combination,
            **self.told(model, [concept], seed, {"guidance_rescale": self.rescale_on(model)}),
        )  # fmt: skip

    def rescale_on(self, model: Diffusion) -> float:
        """φ on this model."""
        return RESCALED.get(model.kind, 0.0) if self.guidance_rescale is None else self.guidance_rescale

    def _scaled(self, low: Tensor) -> Tensor:
        return low * (self.alpha / self.rank)

    def losses(self, model: Diffusion, student: Diffusion, seen: Seen, generator: torch.Generator) -> Iterator[Terms]:
        """The terms of (5), one after another; to save memory, an anchor after another too.

        Teacher and student answer for the anchors in the same rows of the same batch: what is between them is the
        adapter alone, and nothing as long as u = 0.
        """
        cond = encoded(model, seen.prompts)
        yield {"erasure": squared(student.noise_prediction(seen.latents, seen.timesteps, cond), seen.target)}
        if self.anchoring == 0:
            return
        n = self.anchors // 2 if self.official_anchors else self.anchors
        none = encoded(model, [""], role="uncond").expand(len(seen.prompts))
        held = [none, *(drawn_anchors(cond, generator) for _ in range(n))]
        shares = [1 / 2, *[1 / (2 * n)] * n] if self.official_anchors else [1 / (1 + n)] * (1 + n)
        at_once = 1 if self.save_memory else 1 + n
        for start in range(0, 1 + n, at_once):
            part = slice(start, start + at_once)
            moved = self.moved(model, student, seen, held[part])
            yield {"anchoring": self.anchoring * sum(map(mul, shares[part], moved))}  # (4), (5)

    def moved(
        self, model: Diffusion, student: Diffusion, seen: Seen, held: Sequence[Encoding]
    ) -> list[Float[Tensor, ""]]:
        """How far the predictions at each anchor are from the teacher's: what (4) is the mean of."""
        n, anchors = len(held), together(held)
        latents, times = seen.latents.repeat(n, 1, 1, 1), seen.timesteps.repeat(n)
        with torch.no_grad():
            there = model.noise_prediction(latents, times, anchors)
        here = student.noise_prediction(latents, times, anchors)
        return [squared(*pair) for pair in zip(here.chunk(n), there.chunk(n), strict=True)]

    def target(self, cond: Predictions, neutral: Predictions) -> Predictions:
        """y by (2)."""
        return neutral - self.negative_guidance * (cond - neutral)

    @torch.no_grad()
    def online(self, model: Diffusion, student: Diffusion, concept: Concept, generator: torch.Generator) -> Seen:
        """Latents that the model in training draws for one text, all part of the way to one random timestep."""
        texts = texts_of([concept], self.prompts)
        text = texts[int(torch.randint(len(texts), (), generator=generator))]
        channels, *size = model.noise([0]).shape[1:]
        if self.dynamic_resolution:
            choices = sizes(model)
            size = [choices[int(torch.randint(len(choices), (), generator=generator))] for _ in size]
        noise = torch.randn(self.batch, channels, *size, generator=generator)
        k = int(torch.randint(1, self.steps, (), generator=generator))
        x, t = partway(
            student, text, noise, k, steps=self.steps, guidance_scale=self.start_guidance,
            guidance_rescale=self.rescale_on(model),
        )  # fmt: skip
        cond = model.noise_prediction(x, t, encoded(model, [text]))
        other = encoded(model, [concept.anchor]) if self.to_anchor else encoded(model, [""], role="uncond")
        target = self.target(cond, model.noise_prediction(x, t, other))
        return Seen(x, torch.tensor([t] * self.batch, device=x.device), [text] * self.batch, target)

    @torch.no_grad()
    def _frozen(self, model: Diffusion, concept: Concept, seed: int, progress: Progress) -> View:
        """Everything that the frozen model has to say about the concept, before training begins."""
        texts = texts_of([concept], self.prompts)
        chosen = [texts[number % len(texts)] for number in range(self.trajectories)]
        path = whole_trajectories(
            model, chosen, steps=self.steps, guidance_scale=self.start_guidance,
            guidance_rescale=self.rescale_on(model), seed=seed, progress=progress,
            label=f"trajectories of {concept.name}",
        )  # fmt: skip
        assert path.cond is not None and path.uncond is not None  # they were asked for
        neutral = path.uncond
        if self.to_anchor:
            each = zip(path.latents.unbind(1), path.timesteps, strict=True)
            rows = [_answers(model, x, t, concept.anchor) for x, t in progress(each, "targets", self.steps)]
            neutral = torch.stack(rows, dim=1)
        return View(path.latents, path.timesteps, chosen, self.target(path.cond, neutral), path.uncond)


def squared(prediction: Latents, wanted: Latents) -> Float[Tensor, ""]:
    """(1), and what (4) is the mean of."""
    return (prediction - wanted.to(prediction)).square().mean()


def _answers(model: Diffusion, x: Latents, t: int, text: str) -> Latents:
    encoding = encoded(model, [text])
    return torch.cat([model.noise_prediction(one.to(model.device), t, encoding).cpu() for one in x.split(BATCH)])


def layers_of(model: Diffusion) -> dict[str, nn.Linear | nn.Conv2d]:
    """Every linear layer and convolution below a `Transformer2DModel`, by its path: 10 a block, 2 around the blocks."""
    component = model.architecture.denoiser.path
    named = model.module(component).named_modules()
    above = tuple(f"{component}.{name}." for name, part in named if isinstance(part, Transformer2DModel))
    return {path: layer for path, layer in adaptable(model).items() if path.startswith(above)}


def fresh(layers: Mapping[str, nn.Module], rank: int, generator: torch.Generator) -> Adapter:
    """d uniform in ±1/√(its inputs), as torch's layers begin, and u = 0. In float32 where the layers are."""
    adapter = {}
    for path, layer in layers.items():
        weight: Any = layer.weight
        out, *inner = weight.shape
        down = 2 * torch.rand(rank, *inner, generator=generator) - 1
        down /= down[0].numel() ** 0.5
        both = (down, torch.zeros(out, rank))
        adapter[path] = Term(*(nn.Parameter(one.to(weight.device), requires_grad=False) for one in both))
    return adapter


def parameters_of(adapter: Adapter) -> dict[str, nn.Parameter]:
    """All factors, by the names that they have in an edit."""
    return {path + side: one for path, term in adapter.items() for side, one in ((DOWN, term.down), (UP, term.up))}  # type: ignore[misc]


def sizes(model: Diffusion) -> list[int]:
    """The sides of latents that are drawn from: 256 to 448 of 512 pixels. Raises `WorkbenchError` if there are none."""
    side = model.noise([0]).shape[-1]
    if side % 8:
        raise WorkbenchError(
            f"Latents of {model.name} are {side} wide, which has no eighths.", "Leave dynamic_resolution out."
        )
    return [side * eighths // 8 for eighths in EIGHTHS]


def drawn_anchors(around: Encoding, generator: torch.Generator) -> Encoding:
    """An anchor for each row, by (3); of sequence and pooled embedding independently."""
    pooled = None if around.pooled is None else anchors_of(around.pooled, generator)
    return Encoding(anchors_of(around.embeddings, generator), pooled, around.roles)


def anchors_of(e: Float[Tensor, "rows *shape"], generator: torch.Generator) -> Float[Tensor, "rows *shape"]:
    """(3) for each row e(c)."""
    flat = e.flatten(1).double().cpu()
    norms = flat.norm(dim=1, keepdim=True)
    drawn, open_rows = torch.zeros_like(flat), torch.ones(len(flat), dtype=torch.bool)
    while open_rows.any():
        g = torch.randn(flat.shape, generator=generator, dtype=torch.float64)
        g /= g.norm(dim=1, keepdim=True)
        cosine = (g * flat).sum(dim=1) / norms[:, 0]
        kept = open_rows & (torch.rand(len(flat), generator=generator, dtype=torch.float64) < 1 - cosine)
        drawn[kept] = g[kept]
        open_rows &= ~kept
    length = CLOSEST + (FARTHEST - CLOSEST) * torch.rand(len(flat), 1, generator=generator, dtype=torch.float64)
    return (length * norms * drawn).view(e.shape).to(e)
