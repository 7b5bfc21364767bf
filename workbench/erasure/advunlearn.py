"""AdvUnlearn: Defensive Unlearning with Adversarial Training for Robust Concept Erasure in Diffusion Models (Zhang et
al. 2024, arXiv:2405.15234).

ESD whose every step first looks for a soft prefix that brings the concept back, and erases the prompt with that prefix;
retained prompts are held, and the text encoder learns rather than the denoiser.

E is the text encoder in training, E* the frozen one, ε* the frozen denoiser, which is ε itself unless the denoiser is
trained in E's place. c is the concept's prompt, δ a prefix of k vectors, r a retained prompt, and z_t a latent of a
trajectory of c (or r) as E* reads it:
    (1)  δ* = argmin_δ mean (ε(z_t, E([δ; c])) − ε*(z_t, E*(c)))²     other z_t at each step of the search
    (2)  y = ε*(z_t, E*(∅)) − η [ε*(z_t, E*(c)) − ε*(z_t, E*(∅))]
    (3)  L_erase = mean (ε(z_t, E([δ*; c])) − y)²                     c alone during warm-up
    (4)  L_keep = mean (ε(z_t, E(r)) − ε*(z_t, E*(r)))²
    (5)  "reg": L_erase + γ L_keep, one step;   "iter": a step on L_erase, then steps on L_keep alone
The search is `fitting.soft_prefix.attacked`. The official code (1c3f2b7) is followed in (1) to (5), but not in its
slips: gradients of the search pile up and its last step is lost (`official_attack` brings both back); words are counted
by spaces, so that a name of several tokens loses one; layer 1 is also 10 and 11; its z_t are 39 to 58 of 1,000
timesteps cleaner than the denoiser is told. Of its seven places for δ only the prefix is offered. Nearly all of its
time goes into z_t: `rollouts="remembered"` makes whole trajectories once, which is exact, up to their number, while the
denoiser is frozen. Both branches of guidance read E: the empty prompt can move too.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.esd import Prompts, texts_of
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.copies import changes, nothing, own_denoiser, own_text_encoder, parameters_of, teacher_of
from workbench.fitting.footprint import Footprint
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, Terms, check
from workbench.fitting.rollouts import Fresh, Rollouts, remembered
from workbench.fitting.selectors import layer_of, select, wanted
from workbench.fitting.soft_prefix import Kind, Prefix, attacked, check_room, prefixed, random_prefix
from workbench.fitting.training import train
from workbench.models import Diffusion, Encoding
from workbench.models.capabilities import CROSS_ATTENTION, NOISE_SCHEDULE, ONE_TEXT_ENCODER
from workbench.models.diffusion.architecture import Latents
from workbench.papers import Reference

ENCODER = "text_encoder"
PARTS = {"ffn": "mlp", "attn": "self_attn"}  # the paper's names → the modules'


@dataclass(frozen=True, kw_only=True)
class AdvUnlearn(ErasureMethod):
    """Erases every prompt together with the soft prefix that would bring the concept back. A `WeightEdit`.

    By default of the text encoder, which then serves every model that shares it (`edits.transferred`). Kept are the
    concepts' retained words in their templates, and `captions`. For models with one text encoder.
    """

    train: Annotated[
        Literal["text-encoder", "esd-x", "esd-u", "self", "full"],
        Doc("The text encoder, or a set of the denoiser's parameters as in ESD."),
    ] = "text-encoder"
    component: Annotated[
        Literal["all", "ffn", "attn"], Doc("Of the text encoder's layers; all has their norms and the last norm.")
    ] = "all"
    layers: Annotated[tuple[int, ...], Doc("Of the text encoder, from 0, and no norm after them; none: all.")] = ()
    negative_guidance: Annotated[float, Doc("η of (2): how far away from the concept.")] = 1.0
    prompts: Annotated[Prompts, Doc("The concept's name, its name in its templates, or also its synonyms.")] = "name"
    attack: Annotated[Kind, Doc("How δ is searched: by Adam, or by one signed step.")] = "pgd"
    attack_tokens: Annotated[int, Ge(1), Doc("k: vectors of δ.")] = 1
    attack_steps: Annotated[int, Ge(1), Doc("Of the search by Adam.")] = 30
    attack_lr: Annotated[float, Gt(0), Doc("Of Adam, or α, the length of the signed step.")] = 1e-3
    attack_start: Annotated[
        Literal["random", "latest"], Doc("Where the search begins: at random tokens, or at the last δ.")
    ] = "random"
    attack_every: Annotated[int, Ge(1), Doc("Iterations that keep a prompt and its δ.")] = 1
    official_attack: Annotated[bool, Doc("Replay the search of the code, with gradients that pile up.")] = False
    warmup: Annotated[int, Ge(0), Doc("Iterations without δ.")] = 200
    retain: Annotated[
        Literal["reg", "iter", "off"], Doc("(4) in the same step, in steps of its own, or not at all.")
    ] = "reg"
    retain_weight: Annotated[float, Ge(0), Doc('γ of "reg"; 0.3 is published for nudity, and 1 the script\'s own.')] = (
        0.3
    )
    retain_batch: Annotated[int, Ge(1), Doc("Retained prompts of (4); all, if there are fewer.")] = 5
    retain_steps: Annotated[int, Ge(1), Doc('Steps of (4) after each of (3), for "iter".')] = 1
    rollouts: Annotated[
        Literal["fresh", "remembered"], Doc("z_t drawn anew each time, or from trajectories made beforehand.")
    ] = "fresh"
    trajectories: Annotated[
        int,
        Ge(1),
        Doc("How many are made beforehand for the concepts, and again for what is kept; one a prompt at least."),
    ] = 100
    steps: Annotated[int, Ge(1), Doc("Of a whole trajectory.")] = 50
    start_guidance: Annotated[float, Doc("Guidance of the trajectories.")] = 3.0
    iterations: Annotated[int, Ge(1), Doc("Steps on (3).")] = 1000
    batch: Annotated[int, Ge(1), Doc("Latents of (1) and (3).")] = 1
    lr: Annotated[float, Gt(0), Doc("Adam, constant.")] = 1e-5
    save_memory: SaveMemory = False

    name: ClassVar[str] = "advunlearn"
    paper: ClassVar[Reference] = Reference(
        title="Defensive Unlearning with Adversarial Training for Robust Concept Erasure in Diffusion Models",
        authors="Y. Zhang et al.",
        year=2024,
        arxiv="2405.15234",
        venue="NeurIPS",
    )
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports(
        {ONE_TEXT_ENCODER, CROSS_ATTENTION, NOISE_SCHEDULE}, needs=("retain|captions",)
    )
    cost: ClassVar[str] = "some 1,700 passes an iteration, 1,000 of them; with remembered rollouts 100, and 200 images"
    length: ClassVar[tuple[str, ...]] = ("iterations", "warmup")

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Trains a copy of the text encoder, or of the denoiser, by (5).

        Args:
            model: The model; it stays as it is.
            concepts: What to erase; of several, one is drawn for each search.
            seed: Decides latents, timesteps, prefixes' first tokens, prompts and their order.
            progress: Told of trajectories and training steps.

        Returns:
            The change of every parameter that was trained.

        Raises:
            WorkbenchError: Before any work: nothing is left to retain, a layer is not there, or a prompt has no room
                for the prefix.
        """
        self.supports.check("AdvUnlearn", model, concepts)
        texts, kept = texts_of(concepts, self.prompts), kept_prompts(concepts)
        check_room(model, texts, self.attack_tokens)
        pair = self.pair(model)
        check(pair.trained, self.plan)
        lesson = Lesson(pair, self._rollouts(pair, texts, "concepts", seed, progress), texts)
        held = self._rollouts(pair, kept, "what is kept", seed + 1, progress) if self.retain != "off" else None
        count = self.iterations * max(1, self.extra)
        order = rounds(len(kept), self.retain_batch, count, torch.Generator().manual_seed(seed))

        def losses(step: int, generator: torch.Generator) -> Iterator[Terms]:
            turn, again = divmod(step, 1 + self.extra)
            if not again:
                yield {"erasure": self.erasure(lesson, turn, generator)}
            if held is not None and bool(again) == bool(self.extra):
                number = turn * self.extra + again - 1 if self.extra else turn
                weight = 1.0 if self.extra else self.retain_weight
                prompts = [kept[i] for i in order[number]]
                yield {"retention": weight * retention(pair, held, prompts, generator)}  # (5)

        with saving_memory(model, pair.student, self.save_memory, needed=(ENCODER,)):
            what = [asdict(self), texts, kept, model.fingerprint]
            player = Player(pair.trained, losses, self.plan)
            train(player, seed=seed, what=what, state=lesson, progress=progress, label="adversarial unlearning")
        return WeightEdit(tensors=changes(model, pair.student, pair.trained), **self.told(model, concepts, seed))

    @property
    def extra(self) -> int:
        """Steps on (4) alone that follow each step on (3)."""
        return self.retain_steps if self.retain == "iter" else 0

    @property
    def plan(self) -> Plan:
        """Adam at a constant rate, for the steps on (3) and those on (4) alone."""
        return Plan(steps=self.iterations * (1 + self.extra), lr=self.lr, weight_decay=0.0)

    def footprint(self, model: Diffusion) -> Footprint:
        """A graph that erases and one that keeps, both through the text encoder if that is trained; the search takes no
        more than the first."""
        graphs = [self.batch] if self.retain == "off" else [self.batch, self.retain_batch]
        if self.train == "text-encoder":
            return Footprint(graphs, text=set(self.encoder_names(model)).__contains__, text_teacher=True)
        return Footprint(graphs, trained=wanted(self.train))

    def encoder_names(self, model: Diffusion) -> list[str]:
        """The names of the text encoder's parameters that are trained: never those of its tables.

        Raises `WorkbenchError` for a layer that it has not got.
        """
        known = list(parameters_of(model, ENCODER))
        count = 1 + max(layer for name in known if (layer := layer_of(name)) is not None)
        if beyond := [layer for layer in self.layers if not 0 <= layer < count]:
            raise WorkbenchError(
                f"The text encoder of {model.name} has no layer {beyond[0]}.", f"Choose among 0 to {count - 1}."
            )
        return [name for name in known if self._is_trained(name)]

    def pair(self, model: Diffusion) -> "Pair":
        """Teacher and student, who differ in what is trained alone."""
        if self.train == "text-encoder":
            names = self.encoder_names(model)
            student = own_text_encoder(model, set(names).__contains__)
            return Pair(own_text_encoder(model, nothing), student, {name: student.parameter(name) for name in names})
        student = own_denoiser(model, wanted(self.train))
        return Pair(teacher_of(model), student, select(student, self.train))

    def erasure(self, lesson: "Lesson", turn: int, generator: torch.Generator) -> Float[Tensor, ""]:
        """(3), after the search for δ if it is time for one."""
        if turn % self.attack_every == 0:
            lesson.text = lesson.texts[int(torch.randint(len(lesson.texts), (), generator=generator))]
            if turn >= self.warmup:
                lesson.prefix = self.searched(lesson, generator)
        seen = lesson.rollouts.at([lesson.text] * self.batch, generator, uncond=True)
        assert seen.uncond is not None  # it was asked for
        target = away(seen.cond, seen.uncond, self.negative_guidance)
        prediction = lesson.pair.student.noise_prediction(seen.latents, seen.timesteps, lesson.encoded(lesson.prefix))
        return (prediction - target.to(prediction)).square().mean()  # (3)

    def searched(self, lesson: "Lesson", generator: torch.Generator) -> Prefix:
        """δ* of (1), from random tokens or from the last δ. Nothing else asks for a gradient meanwhile."""
        student, latest = lesson.pair.student, lesson.prefix if self.attack_start == "latest" else None
        start = random_prefix(student, self.attack_tokens, generator) if latest is None else latest

        def imitation(prefix: Prefix) -> Float[Tensor, ""]:
            seen = lesson.rollouts.at([lesson.text] * self.batch, generator)
            prediction = student.noise_prediction(seen.latents, seen.timesteps, lesson.encoded(prefix))
            return (prediction - seen.cond.to(prediction)).square().mean()  # (1)

        with held_still(lesson.pair.trained):
            return attacked(
                imitation, start.to(student.device), kind=self.attack, steps=self.attack_steps, lr=self.attack_lr,
                official=self.official_attack,
            )  # fmt: skip

    def _is_trained(self, name: str) -> bool:
        layer, parts = layer_of(name), name.split(".")
        if layer is None:
            return "final_layer_norm" in parts and self.component == "all" and not self.layers
        return (not self.layers or layer in self.layers) and (self.component == "all" or PARTS[self.component] in parts)

    def _rollouts(self, pair: "Pair", prompts: Sequence[str], of: str, seed: int, progress: Progress) -> Rollouts:
        """z_t of prompts. Drawn anew, they come from the denoiser in training if it is in training, as in the code."""
        if self.rollouts == "fresh":
            sampler = pair.teacher if self.train == "text-encoder" else pair.student
            return Fresh(sampler, pair.teacher, self.steps, self.start_guidance)
        return remembered(
            pair.teacher, prompts, self.trajectories, steps=self.steps, guidance_scale=self.start_guidance, seed=seed,
            progress=progress, label=f"trajectories of {of}",
        )  # fmt: skip


class Pair(NamedTuple):
    """The frozen model, the one in training, and what of it is trained, by name."""

    teacher: Diffusion
    student: Diffusion
    trained: Mapping[str, nn.Parameter]


class Lesson:
    """What is erased now: a text, and the prefix that was found before it, None until the first search.

    Args:
        pair: Who learns from whom.
        rollouts: Latents of the texts.
        texts: Of the concepts.
    """

    def __init__(self, pair: Pair, rollouts: Rollouts, texts: Sequence[str]) -> None:
        self.pair, self.rollouts, self.texts = pair, rollouts, texts
        self.text = texts[0]
        self.prefix: Prefix | None = None

    def encoded(self, prefix: Prefix | None) -> Encoding:
        """E([δ; c]), or E(c) without a prefix."""
        student = self.pair.student
        return student.encode([self.text] if prefix is None else prefixed(student, self.text, prefix))

    def state_dict(self) -> Mapping[str, Any]:
        """Text and prefix."""
        return {"text": self.text} | ({} if self.prefix is None else {"prefix": self.prefix})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with them."""
        self.text, self.prefix = state["text"], state.get("prefix")


def away(cond: Latents, uncond: Latents, negative_guidance: float) -> Latents:
    """y by (2)."""
    return uncond - negative_guidance * (cond - uncond)  # (2)


def retention(pair: Pair, rollouts: Rollouts, prompts: Sequence[str], generator: torch.Generator) -> Float[Tensor, ""]:
    """(4) of these prompts."""
    seen = rollouts.at(prompts, generator)
    prediction = pair.student.noise_prediction(seen.latents, seen.timesteps, pair.student.encode(list(prompts)))
    return (prediction - seen.cond.to(prediction)).square().mean()  # (4)


def kept_prompts(concepts: Sequence[Concept]) -> list[str]:
    """Every retained word in its templates and every caption once; none that names what is erased.

    Raises `WorkbenchError` if nothing is left.
    """
    erased = [word for concept in concepts for word in concept.words()]
    found = list(dict.fromkeys(text for concept in concepts for text in concept.retain_prompts(erased)))
    if not found:
        raise WorkbenchError("All that is to be retained is to be erased too.", "Retain other words.")
    return found


def rounds(n: int, batch: int, count: int, generator: torch.Generator) -> list[list[int]]:
    """Which of n prompts each of `count` steps keeps: whole batches of a new order, until too few are left of it."""
    size = min(batch, n)
    found: list[list[int]] = []
    while len(found) < count:
        found += [part.tolist() for part in torch.randperm(n, generator=generator).split(size)[: n // size]]
    return found[:count]


@contextmanager
def held_still(parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """None of them asks for a gradient in the block."""
    before = [one.requires_grad for one in parameters.values()]
    try:
        for one in parameters.values():
            one.requires_grad_(False)
        yield
    finally:
        for one, wanted in zip(parameters.values(), before, strict=True):
            one.requires_grad_(wanted)
