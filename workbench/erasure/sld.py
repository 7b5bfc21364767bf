"""SLD: Safe Latent Diffusion: Mitigating Inappropriate Degeneration in Diffusion Models (Schramowski et al. 2023,
arXiv:2211.05105).

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
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge, Le, Lt
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Doc

from saes.errors import unknown_name
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import GuidanceEdit, GuidanceRule
from workbench.erasure.method import ErasureMethod, Supports
from workbench.models import Diffusion
from workbench.models.capabilities import GUIDANCE_BRANCHES
from workbench.models.diffusion.guiding import Guide, Joined, Prediction
from workbench.papers import Reference

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
class SLD(ErasureMethod):
    """Guidance away from the concepts' names, joined by commas. Returns a `GuidanceEdit`.

    `strength` is one of `PRESETS`; a number that is not None takes the preset's place. With `official`, the text is
    that of the paper's pipeline, whatever the concepts: its list of unsafe content, of which one term, about minors, is
    left out here.
    """

    strength: Annotated[str, Doc("A preset for the numbers below: weak, medium, strong, max.")] = "medium"
    warmup: Annotated[
        int | None, Ge(0), Le(1000), Doc("δ: how long plain guidance goes on, in steps of `warmup_of`.")
    ] = None
    scale: Annotated[float | None, Ge(0), Le(1e6), Doc("s_S: how fast an element counts in full.")] = None
    threshold: Annotated[float | None, Doc("λ: elements where the prompt exceeds the text by more are left.")] = None
    momentum_scale: Annotated[float | None, Ge(0), Le(1), Doc("s_m: how much momentum adds.")] = None
    momentum_beta: Annotated[float | None, Ge(0), Lt(1), Doc("β: how long momentum lasts.")] = None
    warmup_of: Annotated[
        int | None, Ge(1), Le(1000), Doc("With T steps, δ·T/warmup_of calls are warm-up, rounded; None: δ calls.")
    ] = 50
    official: Annotated[bool, Doc("The paper's list of unsafe content in the place of the concepts.")] = False

    name: ClassVar[str] = "sld"
    paper: ClassVar[Reference] = Reference(
        title="Safe Latent Diffusion: Mitigating Inappropriate Degeneration in Diffusion Models",
        authors="P. Schramowski, M. Brack, B. Deiseroth, K. Kersting",
        year=2023,
        arxiv="2211.05105",
        venue="CVPR",
    )
    family: ClassVar[str] = "guidance"
    supports: ClassVar[Supports] = Supports({GUIDANCE_BRANCHES})
    cost: ClassVar[str] = "nothing; no images; every picture takes up to 1.5 times as long"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength not in PRESETS:
            raise unknown_name("strength", self.strength, PRESETS)

    @property
    def numbers(self) -> dict[str, Any]:
        """The five numbers by name: those of the preset, and in their place those that were given."""
        own = {name: getattr(self, name) for name in PRESETS[self.strength]}
        return PRESETS[self.strength] | {name: value for name, value in own.items() if value is not None}

    @property
    def seeded(self) -> bool:
        """Nothing is drawn at random."""
        return False

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> GuidanceEdit:
        """Joins the names.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once. Their names are the text, joined by commas.
            seed: Only recorded: nothing is drawn at random.
            progress: Told of each name.

        Returns:
            An edit of guidance; its settings hold all five numbers.

        Raises:
            WorkbenchError: For a model that is guided without unconditional rows.
        """
        self.supports.check("SLD", model, concepts)
        names = [concept.name for concept in progress(concepts, "names")]
        return GuidanceEdit(
            text=OFFICIAL if self.official else ", ".join(names), width=model.architecture.latent_channels,
            rule=f"{__name__}:RULE", **self.told(model, concepts, seed, self.numbers),
        )  # fmt: skip


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
