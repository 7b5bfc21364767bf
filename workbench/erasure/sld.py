"""SLD, Safe Latent Diffusion: guidance is turned away from a text, step by step (Schramowski et al. 2023, 2211.05105).

Guidance gets a third branch, for a text that names what is unwanted. Wherever the prompt's prediction is not above the
text's by a threshold, the direction towards the text is taken out of guidance, with momentum over the steps. No weight
changes. ε_∅, ε_p, ε_s are the denoiser's raw predictions for the empty (or the negative) prompt, the prompt and the
text, all products are element by element, i counts the calls from the noisiest, ν_0 = 0:
    (1)  d = ε_p − ε_s
    (2)  u = min(1, s_S |d|)
    (3)  μ = u where d < λ, else 0        d with its sign, so where ε_p lies far above ε_s nothing happens
    (4)  γ = μ (ε_s − ε_∅) + s_m ν_i
    (5)  ν_{i+1} = β ν_i + (1 − β) γ      γ with its momentum; also while i < δ
    (6)  ε̂ = ε_∅ + w (ε_p − ε_∅ − γ)     from i = δ on; before it, plain guidance
(6) is the pipeline's own formula with ε_p − γ in the place of ε_p. γ and ν are computed in float32 or finer, where the
official code takes the denoiser's dtype. The presets are those of the official code and of diffusers, chosen for 50
steps: δ is scaled to the number of steps unless `warmup_of` is None, since 10 of 16 steps would leave little to guide.
s_S < 1 disables the method, as in the official code. With w ≤ 1 there is no guidance to turn, and it is refused.

A prediction may be noise, v or a velocity; the threshold is compared with its raw differences. For models that predict
noise this is the published method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError, unknown_name
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import GuidanceEdit, GuidanceRule
from workbench.erasure.method import Supports
from workbench.models import Diffusion
from workbench.models.capabilities import GUIDANCE_BRANCHES
from workbench.models.diffusion.guiding import Guide, Joined, Prediction

PRESETS = {  # strength → δ, s_S, λ, s_m, β
    "weak": {"warmup": 15, "scale": 20.0, "threshold": 0.0, "momentum_scale": 0.0, "momentum_beta": 0.0},
    "medium": {"warmup": 10, "scale": 1000.0, "threshold": 0.01, "momentum_scale": 0.3, "momentum_beta": 0.4},
    "strong": {"warmup": 7, "scale": 2000.0, "threshold": 0.025, "momentum_scale": 0.5, "momentum_beta": 0.7},
    "max": {"warmup": 0, "scale": 5000.0, "threshold": 1.0, "momentum_scale": 0.5, "momentum_beta": 0.7},
}
OFFICIAL = (  # the text of the paper's pipeline without its one term about minors
    "hate, harassment, violence, suffering, humiliation, harm, suicide, sexual, nudity, bodily fluids, blood, obscene "
    "gestures, illegal activity, drug use, theft, vandalism, weapons, brutality, cruelty"
)


@dataclass(frozen=True, kw_only=True)
class SLD:
    """Guidance away from the concepts' names, joined by commas. Returns a `GuidanceEdit`.

    `strength` is one of `PRESETS`; a number that is not None takes the preset's place. With `official`, the text is
    that of the paper's pipeline, whatever the concepts: its list of unsafe content, of which one term, about minors, is
    left out here.
    """

    strength: str = "medium"  # a preset for the numbers below: weak, medium, strong, max
    warmup: int | None = None  # δ ≥ 0, in steps of `warmup_of`
    scale: float | None = None  # s_S ≥ 0: how fast an element counts in full
    threshold: float | None = None  # λ: elements where the prompt exceeds the text by more are left alone
    momentum_scale: float | None = None  # s_m, in [0, 1]: how much momentum adds
    momentum_beta: float | None = None  # β, in [0, 1): how long momentum lasts
    warmup_of: int | None = 50  # with T steps, δ·T/warmup_of calls are warm-up, rounded; None: δ calls
    official: bool = False  # the paper's list of unsafe content in the place of the concepts

    paper: ClassVar[str] = "arXiv:2211.05105"
    family: ClassVar[str] = "guidance"
    supports: ClassVar[Supports] = Supports({GUIDANCE_BRANCHES})
    cost: ClassVar[str] = "nothing; no images; every picture takes up to 1.5 times as long"

    def __post_init__(self) -> None:
        if self.strength not in PRESETS:
            raise unknown_name("strength", self.strength, PRESETS)
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise WorkbenchError(f"SLD's {name} is {value}.", f"Choose it from {low:g} to {high:g}.")

    @property
    def numbers(self) -> dict[str, Any]:
        """The five numbers by name: those of the preset, and in their place those that were given."""
        own = {name: getattr(self, name) for name in PRESETS[self.strength]}
        return PRESETS[self.strength] | {name: value for name, value in own.items() if value is not None}

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> GuidanceEdit:
        """Joins the names. Nothing is drawn at random, so `seed` is only recorded; the settings hold all numbers."""
        self.supports.check("SLD", model, concepts)
        names = [concept.name for concept in progress(concepts, "names")]
        return GuidanceEdit(
            text=OFFICIAL if self.official else ", ".join(names), width=model.architecture.latent_channels,
            rule=f"{__name__}:RULE", settings=asdict(self) | self.numbers,
            method="sld", concepts=names, base_fingerprint=model.fingerprint, seed=seed,
        )  # fmt: skip


BOUNDS = {
    "warmup": (0, 1000), "scale": (0.0, 1e6), "momentum_scale": (0.0, 1.0), "momentum_beta": (0.0, 1.0),
    "warmup_of": (1, 1000),
}  # fmt: skip


class Away(NamedTuple):
    """γ of one call, and ν for the next."""

    gamma: Tensor
    momentum: Tensor


def away(
    uncond: Float[Tensor, "*shape"],
    cond: Float[Tensor, "*shape"],
    safe: Float[Tensor, "*shape"],
    momentum: Float[Tensor, "*shape"],
    numbers: Mapping[str, Any],
) -> Away:
    """What is taken out of guidance. `numbers` are those of a preset, by name."""
    d = cond - safe  # (1)
    u = (numbers["scale"] * d.abs()).clamp(max=1.0)  # (2)
    mu = torch.where(d < numbers["threshold"], u, 0.0)  # (3)
    gamma = mu * (safe - uncond) + numbers["momentum_scale"] * momentum  # (4)
    beta = numbers["momentum_beta"]
    return Away(gamma, beta * momentum + (1 - beta) * gamma)  # (5)


def warmup_calls(numbers: Mapping[str, Any], steps: int) -> int:
    """δ, in calls of the denoiser, when pictures are made in so many steps."""
    of = numbers["warmup_of"]
    return numbers["warmup"] if of is None else round(numbers["warmup"] * steps / of)


class SafeGuidance:
    """The rule for one batch of pictures: the momentum is theirs alone, element by element."""

    def __init__(self, numbers: Mapping[str, Any], steps: int) -> None:
        self.numbers = numbers
        self.warmup = warmup_calls(numbers, steps)
        self.momentum: Tensor | None = None

    def __call__(self, joined: Joined, safe: Prediction | None, call: int) -> Joined:
        """(6), as ε_p − γ in the place of ε_p."""
        if safe is None:
            return joined
        dtype = torch.promote_types(safe.dtype, torch.float32)
        uncond, cond, text = (branch.to(dtype) for branch in (*joined, safe))
        momentum = torch.zeros_like(text) if self.momentum is None else self.momentum
        gamma, self.momentum = away(uncond, cond, text, momentum, self.numbers)
        if call < self.warmup:
            return joined
        return joined._replace(cond=(cond - gamma).to(safe.dtype))  # (6)


def safe_guidance(text: str, settings: Mapping[str, Any]) -> Guide:
    """The guide of an edit. Disabled (s_S < 1), it wants no branch."""
    return Guide(lambda steps: SafeGuidance(settings, steps), text if settings["scale"] >= 1 else None)


RULE = GuidanceRule(safe_guidance)
