"""TRCE: Towards Reliable Malicious Concept Erasure in Text-to-Image Diffusion Models (Chen et al. 2025,
arXiv:2503.07389). The end of the prompt is read as safe, then early denoising is steered.

Stage 1, closed form. The first end-of-text row sums up a prompt, so implied wordings are caught by moving that row
alone, and the words keep their meaning elsewhere. m_i is that row of an unsafe sentence, s_i of the same with a safe
phrase, k_j all rows of captions:
    (1)  min over W′ of  1/N Σ_i ‖W′m_i − W s_i‖² + η/captions Σ_j ‖W′k_j − W k_j‖² + λ ‖W′ − W‖²
Stage 2, a short fine-tuning. Along unsafe trajectories x_t the prediction ε̂ goes to an amplified safe one and away from
an amplified unsafe one; ε is the unedited model, ε₁ that of stage 1, both frozen, ∅ the empty prompt:
    (3)  f_c = ε(c) + g [ε(c) − ε(∅)]
    (4)  ℓ(u) = max(0, β (mean‖u − f_safe‖² − mean‖u − f_unsafe‖² + γ))
    (5)  L_erase = ½ [ℓ(ε̂(x, c_unsafe)) + ℓ(ε̂(x, ∅))]
    (6)  L_keep = mean‖ε̂(x_u, ∅) − ε₁(x_u, ∅)‖²,  x_u from trajectories of the empty prompt, each at a step of its own
    (7)  L = L_erase + κ L_keep
(5) sees early steps alone, (6) all of them: what (5) teaches acts at every step, and only (6) holds the late ones. All
in noise space, for any prediction type. Where they differ, the official code (0da9b71) is followed, not the paper: 1/N
in (1), ε(c) before the bracket of (3), and η = preserve_scale², which the code multiplies twice. Its slips are not:
end-of-text is found by token ids, not by counting words; a latent has its own timestep, where the code stores latents
one step late and jitters the timesteps of (6); gradients do not pile up over the training (`accumulate` brings that
back). Unsafe trajectories are of all unsafe sentences, the code's of "a photo of …" alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.copies import add, changes, denoiser_parameters, own_denoiser, teacher_of
from workbench.fitting.embedding import embed_in_batches, encoded
from workbench.fitting.footprint import Footprint
from workbench.fitting.least_squares import Ridge, deltas, one_dtype
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.pairs import Pair, safe_pairs
from workbench.fitting.plan import Plan
from workbench.fitting.players import KeptGradients, Player, Terms, generator_of
from workbench.fitting.rows import ends_of_text, last_subject, refuse_same_tokens
from workbench.fitting.selectors import is_key_or_value
from workbench.fitting.training import train
from workbench.fitting.trajectories import Partway, Trajectories, trajectories
from workbench.models import Diffusion
from workbench.models.capabilities import CROSS_ATTENTION, NOISE_SCHEDULE
from workbench.models.diffusion.architecture import Latents
from workbench.models.encoding import together
from workbench.papers import Reference


@dataclass(frozen=True, kw_only=True)
class TRCE(ErasureMethod):
    """Maps the end of unsafe prompts to safe ones, then steers early denoising. One `WeightEdit` of both stages.

    Each stage is a method of its own too: `stages="1"` solves, in seconds and without pictures, `stages="2"` steers.
    Unsafe and safe sentences come from `workbench.fitting.pairs`: with no anchor, give captions of harmless pictures.
    Kept are the concepts' retained words in their templates, `captions`, and the empty prompt.
    """

    stages: Annotated[
        Literal["both", "1", "2"], Doc("Both, or one alone; stage 2 alone starts from the unedited model.")
    ] = "both"
    contexts: Annotated[int, Ge(1), Doc("Captions in which each wording without an anchor is put.")] = 15
    preserve_scale: Annotated[
        float, Ge(0), Doc("√η; the code has 0.01 for what is sexual, 0.02 for what is unsafe, with 30,000 captions.")
    ] = 0.01
    damping: Annotated[
        float, Ge(0), Doc("λ; 0 as in the code, whose captions leave no direction free: few kept prompts need more.")
    ] = 0.0
    trajectories: Annotated[int, Ge(1), Doc("Of unsafe prompts.")] = 100
    unconditional: Annotated[
        int, Ge(1), Doc("Of the empty prompt; 2,000 in the code, of whose latents a training draws 1,200.")
    ] = 100
    steps: Annotated[int, Ge(1), Doc("Of a whole trajectory.")] = 50
    early: Annotated[int, Ge(1), Doc("Of these steps, the first, on which (5) erases; (6) keeps all.")] = 25
    guidance_scale: Annotated[float, Doc("Of the trajectories.")] = 3.0
    epochs: Annotated[int, Ge(1), Doc("Over the trajectories, one a step.")] = 3
    lr: Annotated[float, Gt(0), Doc("AdamW, constant.")] = 1e-6
    amplification: Annotated[float, Doc("g of (3): how far guidance is amplified in the targets.")] = 15.0
    beta: Annotated[float, Doc("β of (4): scales the loss that erases.")] = 1.0
    margin: Annotated[float, Doc("γ: how much nearer to safe than to unsafe is enough.")] = 0.01
    keep_scale: Annotated[float, Ge(0), Doc("κ: weight of (6), which keeps.")] = 100.0
    keep_batch: Annotated[int, Ge(1), Doc("Latents of (6) in each training step, each at a step of its own.")] = 4
    accumulate: Annotated[bool, Doc("Never zero the gradients, as the official code.")] = False
    save_memory: SaveMemory = False

    name: ClassVar[str] = "trce"
    paper: ClassVar[Reference] = Reference(
        title="TRCE: Towards Reliable Malicious Concept Erasure in Text-to-Image Diffusion Models",
        authors="R. Chen et al.",
        year=2025,
        arxiv="2503.07389",
    )
    family: ClassVar[str] = "closed form"
    supports: ClassVar[Supports] = Supports({CROSS_ATTENTION, NOISE_SCHEDULE}, needs=("retain|captions",))
    cost: ClassVar[str] = "stage 1 seconds; stage 2 minutes: 100 images, 100 half made, 300 training steps"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.early > self.steps:
            raise WorkbenchError(f"{self.early} of {self.steps} steps cannot be early.", "Choose early below steps.")

    @property
    def seeded(self) -> bool:
        """Stage 1 draws nothing."""
        return self.stages != "1"

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Solves (1), then trains (7).

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once.
            seed: Decides the trajectories and the order of training; stage 1 draws nothing.
            progress: Told of prompts, trajectories and training steps.

        Returns:
            The changes of both stages together.

        Raises:
            WorkbenchError: For a concept that is its anchor to the tokenizer, and a prompt that is cut before its word.
        """
        self.supports.check("TRCE", model, concepts)
        check_words(model, concepts)
        pairs = [pair for concept in concepts for pair in safe_pairs(concept, self.contexts)]
        kept = kept_prompts(concepts)
        used = {"eta": self.preserve_scale**2, "pairs": len(pairs), "kept": len(kept)}
        told = self.told(model, concepts, seed, used)
        mapped = {} if self.stages == "2" else self.mapped(model, pairs, kept, progress)
        if self.stages == "1":
            return WeightEdit(tensors=mapped, **told)
        start = [WeightEdit(tensors=mapped, **told)] if mapped else []
        steered = self.steered(model, start, told["settings"], pairs, seed, progress)
        return WeightEdit(tensors={**mapped, **steered}, **told)

    def footprint(self, model: Diffusion) -> Footprint | None:
        """Stage 2: a graph of two rows that erases, and one that keeps. Stage 1 alone trains nothing."""
        if self.stages == "1":
            return None
        return Footprint([2, self.keep_batch], trained=is_trained, held=is_key_or_value)

    def mapped(
        self, model: Diffusion, pairs: Sequence[Pair], kept: Sequence[str], progress: Progress = SILENT
    ) -> dict[str, Tensor]:
        """Stage 1: the changes of all maps that read the prompt, by (1)."""
        maps = model.prompt_maps()
        one_dtype(maps)
        ridge = Ridge(next(iter(maps.values())).shape[1], self.damping, model.device)
        unsafe, safe = (ends_of_text(model, sentences, progress)[:, 0] for sentences in zip(*pairs, strict=True))
        ridge.move(unsafe, safe, 1 / len(pairs))
        for rows in embed_in_batches(model, kept, progress=progress):
            ridge.keep(rows.flatten(0, 1), self.preserve_scale**2 / len(kept))
        return {name: tensor.cpu() for name, tensor in deltas(maps, ridge.solve()).items()}

    def steered(
        self, model: Diffusion, start: Sequence[WeightEdit], settings: Mapping[str, Any], pairs: Sequence[Pair],
        seed: int, progress: Progress = SILENT,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Stage 2: the changes of self-attention and of the queries of cross-attention, from the model with `start`."""
        kept = own_denoiser(model, is_key_or_value)
        for edit in start:
            add(edit, kept)
        models = Models(teacher_of(model), kept, own_denoiser(kept, is_trained))
        generator = generator_of(seed, 0)
        chosen = [pairs[i] for i in torch.randperm(len(pairs), generator=generator).tolist()]
        chosen = [chosen[i % len(chosen)] for i in range(self.trajectories)]
        n = self.trajectories + self.unconditional
        seeds = torch.randint(2**31, (n,), generator=generator).tolist()
        paths = self.paths(model, chosen, seeds, progress)

        def losses_of(step: int, generator: torch.Generator) -> Iterator[Terms]:
            i = step % self.trajectories
            k = int(torch.randint(self.early, (), generator=generator))
            seen = Partway(paths[0].latents[[i], k].to(model.device), paths[0].timesteps[k])
            return self.losses(models, seen, self.anywhere(paths[1], model, generator), chosen[i])

        trained = denoiser_parameters(models.student, is_trained)
        plan = Plan(steps=self.epochs * self.trajectories, lr=self.lr)
        what = [settings, [tuple(pair) for pair in pairs], model.fingerprint]
        player = Player(trained, losses_of, plan, combine=KeptGradients() if self.accumulate else None)
        with saving_memory(model, models.student, self.save_memory):
            train(player, seed=seed, what=what, progress=progress, label="steering")
        return changes(model, models.student, trained)

    def paths(
        self, model: Diffusion, chosen: Sequence[Pair], seeds: Sequence[int], progress: Progress
    ) -> tuple[Trajectories, Trajectories]:
        """Trajectories of the unedited model: the early part of the unsafe sentences', all of the empty prompt's."""
        cut = len(chosen)
        unsafe = trajectories(
            model, [pair.unsafe for pair in chosen], seeds[:cut], steps=self.steps, seen=self.early,
            guidance_scale=self.guidance_scale, progress=progress, label="unsafe trajectories",
        )  # fmt: skip
        empty = trajectories(
            model, [""] * len(seeds[cut:]), seeds[cut:], steps=self.steps, seen=self.steps, role="uncond",
            progress=progress, label="unconditional trajectories",
        )  # fmt: skip
        return unsafe, empty

    def anywhere(self, empty: Trajectories, model: Diffusion, generator: torch.Generator) -> "Places":
        """Latents of unconditional trajectories for (6), each at a step drawn from all of them."""
        n, steps = empty.latents.shape[:2]
        i = torch.randint(n, (self.keep_batch,), generator=generator)
        k = torch.randint(steps, (self.keep_batch,), generator=generator)
        return Places(empty.latents[i, k].to(model.device), torch.tensor(empty.timesteps)[k])

    def losses(self, models: "Models", seen: Partway, kept: "Places", pair: Pair) -> Iterator[Terms]:
        """The terms of (7) at one latent of an unsafe trajectory and a batch of unconditional ones, each with its own
        timestep."""
        (x, t), (x_u, times) = seen, kept
        words = encoded(models.base, [pair.safe, pair.unsafe])
        none = encoded(models.base, [""], role="uncond")
        with torch.no_grad():
            safe, unsafe = models.base.predicted_noise(x.expand(2, -1, -1, -1), t, words)
            blank = models.base.predicted_noise(x, t, none)[0]
            f_safe, f_unsafe = (amplified(one, blank, self.amplification) for one in (safe, unsafe))
        steered = models.student.predicted_noise(x.expand(2, -1, -1, -1), t, together([words.row(1), none]))
        both = [triplet(one, f_safe, f_unsafe, self.beta, self.margin) for one in steered]
        yield {"erasure": torch.stack(both).mean()}  # (5)
        with torch.no_grad():
            before = models.kept.predicted_noise(x_u, times, none)
        drift = (models.student.predicted_noise(x_u, times, none) - before).square().mean()  # (6)
        yield {"retention": self.keep_scale * drift}  # (7)


class Places(NamedTuple):
    """Latents of trajectories of the empty prompt, and the timestep of each."""

    latents: Latents
    timesteps: Int64[Tensor, " rows"]  # on the CPU


class Models(NamedTuple):
    """ε, ε₁ and ε̂."""

    base: Diffusion
    kept: Diffusion
    student: Diffusion


def amplified(cond: Tensor, uncond: Tensor, amplification: float) -> Tensor:
    """f_c by (3)."""
    return cond + amplification * (cond - uncond)


def triplet(u: Tensor, f_safe: Tensor, f_unsafe: Tensor, beta: float, margin: float) -> Float[Tensor, ""]:
    """ℓ(u) by (4)."""
    further = (u - f_safe).square().mean() - (u - f_unsafe).square().mean()
    return (beta * (further + margin)).clamp(min=0)


def is_trained(name: str) -> bool:
    """What stage 2 trains, as the code: all of self-attention, and the queries of cross-attention."""
    return ".attn1." in name or ".attn2.to_q." in name


def kept_prompts(concepts: Sequence[Concept]) -> list[str]:
    """The empty prompt, every retained word in its templates, and every caption once; no word that is erased."""
    erased = [word for concept in concepts for word in concept.words()]
    return list(dict.fromkeys(["", *(text for concept in concepts for text in concept.retain_prompts(erased))]))


def check_words(model: Diffusion, concepts: Sequence[Concept]) -> None:
    """Raises `WorkbenchError` for a concept that is its anchor to the tokenizer, and for a prompt that does not reach
    its word."""
    for concept in concepts:
        refuse_same_tokens(model, concept, concept.words())
        for prompt in concept.prompts():
            last_subject(model, prompt, concept.name)
