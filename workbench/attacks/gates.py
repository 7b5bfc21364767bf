"""Attacks through what an edit decides about a prompt. A decision hands no gradient on, and that is not robustness.

An edit may act on a prompt as a whole or not at all (ItD), or as far as the prompt opens it (SPM). x is what it is
given, x′ what it makes of it where it acts, m = δ/τ − 1 ≥ 0 where it does (of ItD's δ and τ), γ how far it is open, γ̃
its cosine part, which alone has a gradient. An attack may take the decision
    (1)  y = x + 1[m ≥ 0] (x′ − x),  γ                                             "hard": as it is
    (2)  the same forward; backward σ(m/T) in place of 1[m ≥ 0], γ̃ in that of γ   "straight_through"
    (3)  y = x′, γ = 1  |  y = x, γ = 0 with λ (max(0, m + M) + γ̃) in the loss    "two_branch"
By (3) every prompt is attacked twice, once as if the edit always acted and once as if it never did, where the loss
also asks for a prompt on which it does not. M is a margin: what just misses the threshold may meet it by a rounding.
Pictures are always made by the edit as it is, so that no treatment can make a success.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.edits import Edit
from workbench.edits.gates import Decision
from workbench.edits.gating import Gating
from workbench.hooks import Clock
from workbench.models.encoding import Encoding

Treatment = Literal["straight_through", "two_branch", "hard"]
TEMPERATURE, MARGIN, WEIGHT = 0.1, 0.1, 1.0  # T, M and λ
BRANCHES = (1.0, 0.0)  # of (3): the edit always acts, and it never does


def branches_of(edit: Edit, treatment: Treatment) -> tuple[float | None, ...]:
    """What a prompt is attacked as: once, with the gates as they decide (None), or by (3) once for each branch."""
    return BRANCHES if treatment == "two_branch" and edit.decides() else (None,)


class TreatedGates:
    """The decisions of an edit in place, treated by (1), (2) or (3): `workbench.edits.gates.Gates`.

    Args:
        treatment: Which; with "two_branch", `held` says for each batch of prompts which branch each is in.
    """

    def __init__(self, treatment: Treatment) -> None:
        self.treatment = treatment
        self._held: Float[Tensor, " prompts"] | None = None
        self._encoding: Encoding | None = None
        self._overshoot: list[Float[Tensor, " prompts"]] = []

    @contextmanager
    def held(self, branches: Sequence[float | None]) -> Iterator[None]:
        """In the block, one batch of prompts passes the model. `branches` are those of each; None: the edit decides."""
        self._held = None if None in branches else torch.tensor(branches, dtype=torch.float64)
        self._overshoot = []
        try:
            yield
        finally:
            self._held = self._encoding = None

    def encoded(self, encoding: Encoding) -> None:
        """Tells what the denoiser is about to be asked for: the prompts of the batch."""
        self._encoding = encoding

    def overshoot(self) -> Float[Tensor, " prompts"] | float:
        """What (3) adds to the loss of each prompt of the batch that has passed, 0 in the branch that always acts."""
        if self._held is None:
            return 0.0
        return sum((WEIGHT * (1 - self._held.to(one)) * one for one in self._overshoot), 0.0)

    def acts(self, decision: Decision) -> Float[Tensor, " found"]:
        """1[m ≥ 0] as (1) to (3) have it. A threshold of 0 is none: the edit acts on everything."""
        hard = decision.acts.to(decision.score)
        if self.treatment == "hard" or not decision.threshold > 0:
            return hard
        margin = decision.score / decision.threshold - 1
        self._overshoot.append((margin + MARGIN).clamp(min=0))
        if self._held is not None:
            return self._held.to(margin)  # (3)
        return straight(hard, torch.sigmoid(margin / TEMPERATURE))  # (2)

    def opens(self, clock: Clock, gating: Gating) -> Float[Tensor, "rows adapters"]:
        """γ as (1) to (3) have it, of the prompts in each branch of guidance."""
        hard = gating.of_rows(clock)
        if self.treatment == "hard" or self._encoding is None:
            return hard
        soft = cosines(self._encoding, gating).to(hard)
        self._overshoot.append(soft.amax(dim=1))
        if self._held is not None:
            own = self._held.to(hard)[:, None].expand_as(soft)  # (3)
        else:
            own = straight(hard[: len(soft)], soft)  # (2)
        return own.repeat(len(hard) // len(soft), 1)  # branches of guidance follow one another, each with all prompts


def straight(hard: Tensor, soft: Tensor) -> Tensor:
    """A value that is `hard`, with the gradient of `soft`."""
    return hard.detach() + (soft - soft.detach())


def cosines(encoding: Encoding, gating: Gating) -> Float[Tensor, "prompts adapters"]:
    """γ̃ of each adapter: the cosine of the prompt with the nearest of its targets, not below 0; 0 for a gate that looks
    at tokens alone."""
    e = encoding.embeddings.flatten(1)
    if gating.gate == "tokens":
        return e.new_zeros(len(e), len(gating.targets))
    nearest = [
        torch.stack([torch.cosine_similarity(e, gating.embedding(one).to(e)[None]) for one in targets]).amax(dim=0)
        for targets in gating.targets
    ]
    return torch.stack(nearest, dim=1).clamp(min=0)
