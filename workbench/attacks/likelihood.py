"""What an edited Janus says of a picture's tokens behind a prompt, with gradients to that prompt.

c₁ … c_N are the tokens of a picture, z_i the logits by which the model, with an edit in place, would draw c_i after the
prompt P and c_{<i}; all N of them come of one pass, in which the tokens before are those of the picture (teacher
forcing). The model draws with guidance, so that this is what is asked, with the sampler's own scale g:
    (1)  log p_i = log softmax(z_∅ + g (z_P − z_∅))
    (2)  ℓ = −(1/N) Σ_i log p_i(c_i)                                  the picture's own tokens are wanted
    (3)  ℓ = (1/N) Σ_i Σ_j q_i(j) (log q_i(j) − log p_i(j))           another model's distributions q are wanted
z_∅, without the prompt, depends on no word of it and carries no gradient; an edit that acts on it alone counts all the
same. Temperature and top-k are left out: they would hide tokens of which an edit has made the likelihood small.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from workbench.attacks.gates import TreatedGates
from workbench.models import Janus
from workbench.models.janus.choosing import guided
from workbench.models.prompts import Given

LogProbs = Float[Tensor, "rows tokens codebook"]


class Written(NamedTuple):
    """One gradient step: the tokens of pictures, a row for each prompt, and what is to be said of them.

    Args:
        codes: c.
        aim: c again for (2), or q of (3).
    """

    codes: Int64[Tensor, "rows tokens"]
    aim: Int64[Tensor, "rows tokens"] | LogProbs


class Likelihood:
    """Asks a Janus as it is, with an edit in place: what `reach.Reach` is for a denoiser. Made by `reach.reaching`.

    Args:
        model: The model, in a block of `edited`.
        guidance_scale: g of (1); the model's own if None.
        gates: Those through which the edit is in place; None where it decides for itself.
    """

    def __init__(self, model: Janus, guidance_scale: float | None, gates: TreatedGates | None = None) -> None:
        self.model, self.gates = model, gates
        self.scale = model.defaults.guidance_scale if guidance_scale is None else guidance_scale

    def losses(
        self, lesson: Written, prompts: Given, branches: Sequence[float | None] = (None,)
    ) -> Float[Tensor, " rows"]:
        """(2) or (3) of each row, and what the treatment of gates adds.

        Args:
            lesson: Pictures, and what is wanted of them.
            prompts: A row for each; gradients reach those that are embeddings.
            branches: Which branch of a gate each is attacked in; None: the edit decides.
        """
        uncond = self._unconditional(lesson.codes, prompts)
        with nullcontext() if self.gates is None else self.gates.held(branches):
            told = surprise(self._joined(lesson.codes, prompts, uncond), lesson.aim)
            return told + (0.0 if self.gates is None else self.gates.overshoot())

    def said(self, codes: Int64[Tensor, "rows tokens"], prompts: Given) -> LogProbs:
        """(1) for all tokens of pictures.

        Args:
            codes: c.
            prompts: One for each picture, or one for all.
        """
        return self._joined(codes, prompts, self._unconditional(codes, prompts))

    @torch.no_grad()
    def _unconditional(self, codes: Int64[Tensor, "rows tokens"], prompts: Given) -> Tensor | None:
        return None if self.scale == 1 else self.model.logits(codes, prompts, "uncond")

    def _joined(self, codes: Int64[Tensor, "rows tokens"], prompts: Given, uncond: Tensor | None) -> LogProbs:
        cond = precise(self.model.logits(codes, prompts))
        both = cond if uncond is None else guided(torch.cat([cond, precise(uncond)]), self.scale)
        return both.log_softmax(dim=-1)  # (1)


def precise(logits: Float[Tensor, "rows tokens codebook"]) -> Float[Tensor, "rows tokens codebook"]:
    """Logits in float32 at least, as tokens are chosen by them."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def surprise(said: LogProbs, aim: Tensor) -> Float[Tensor, " rows"]:
    """(2) for tokens, (3) for distributions, in nats a token.

    Args:
        said: log p.
        aim: c or q.
    """
    if not aim.is_floating_point():
        return -said.gather(-1, aim.to(said.device)[..., None])[..., 0].mean(dim=1)  # (2)
    return torch.nn.functional.kl_div(said, aim.to(said), reduction="none").sum(dim=-1).mean(dim=1)  # (3)
