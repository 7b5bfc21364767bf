"""How far an adapter opens for a prompt: Facilitated Transport of SPM (Lyu et al. 2024, arXiv:2312.16145).

e(p) is the encoded prompt, all tokens as one vector; T(p) the set of its tokens without those that begin, end and pad;
c a target of the adapter.
    (1)  γ(p, c) = max( cos(e(p), e(c)), |T(p) ∩ T(c)| / |T(c)| )
Of several targets the one that opens widest counts. The cosine of any two prompts is far above 0, since they share the
first token and the padding is alike: by (1) as published, no prompt shuts an adapter out.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError, unknown_name
from workbench.hooks import Clock
from workbench.models import Model

Gate = Literal["both", "cosine", "tokens", "always"]


def check_gate(gate: str, model: Model) -> None:
    """Refuses a gate that the model cannot work.

    Args:
        gate: One of `Gate`.
        model: The model.

    Raises:
        WorkbenchError: The gate is unknown, or reads a tokenizer or a text encoder that the model lacks.
    """
    if gate not in get_args(Gate):
        raise unknown_name("gate", gate, get_args(Gate))
    missing = [name for name in ("tokenizer", "text_encoder") if getattr(model.pipe, name, None) is None]
    if gate != "always" and missing:
        raise WorkbenchError(
            f"The gate {gate!r} compares prompts by the model's own text encoder, and {model.name} has no "
            f"{' and no '.join(missing)}.",
            "Load the model whole, or use the edit with gate='always', which opens for every prompt.",
        )


class Gating:
    """γ of prompts for some adapters, each by its targets. A prompt is encoded once, by the model as it is then."""

    def __init__(self, model: Model, targets: Sequence[Sequence[str]], gate: Gate) -> None:
        check_gate(gate, model)
        self.model, self.targets, self.gate = model, targets, gate
        self._gates: dict[str, Tensor] = {}
        self._embeddings: dict[str, Tensor] = {}

    def of(self, prompts: Sequence[str | None]) -> Float[Tensor, "prompts adapters"]:
        """How far each adapter opens for each prompt.

        Args:
            prompts: At least one; None is a prompt that nobody knows.

        Returns:
            γ ∈ [0, 1], `[prompts, adapters]`, float64, on the CPU; 1 for prompts that nobody knows.
        """
        for prompt in dict.fromkeys(prompts):
            if prompt is not None and prompt not in self._gates:
                widest = [max(self._gate(prompt, target) for target in targets) for targets in self.targets]
                self._gates[prompt] = torch.tensor(widest, dtype=torch.float64)
        wide = torch.ones(len(self.targets), dtype=torch.float64)
        return torch.stack([wide if prompt is None else self._gates[prompt] for prompt in prompts])

    def of_rows(self, clock: Clock) -> Float[Tensor, "rows adapters"]:
        """How far each adapter opens in a call.

        Args:
            clock: Of the call.

        Returns:
            As `of`, by the prompt of the picture of each row.
        """
        return self.of((None,) * len(clock.roles) if clock.prompts is None else clock.prompts)

    def _gate(self, prompt: str, target: str) -> float:
        """(1), or the half of it that is wanted."""
        if self.gate == "always":
            return 1.0
        cosine = similarity(self.embedding(prompt), self.embedding(target)) if self.gate != "tokens" else 0.0
        overlap = shared(tokens(self.model, prompt), tokens(self.model, target)) if self.gate != "cosine" else 0.0
        return max(cosine, overlap)  # (1)

    @torch.no_grad()
    def embedding(self, text: str) -> Float[Tensor, " d"]:
        """e of a text.

        Args:
            text: A prompt, or a target.

        Returns:
            The rows of all tokens one after another, `[d]`, on the CPU.
        """
        if text not in self._embeddings:
            calls = self.model.wiring.calls
            with calls.aside(), calls.announced("prompt", ("cond",), (text,)):
                self._embeddings[text] = self.model.architecture.encode([text], "cond").embeddings.flatten().cpu()
        return self._embeddings[text]


def similarity(p: Float[Tensor, " d"], c: Float[Tensor, " d"]) -> float:
    """The cosine of two vectors, 0 where it is negative: an adapter is never turned round.

    Args:
        p: e of the prompt, `[d]`.
        c: e of the target, `[d]`.

    Returns:
        In [0, 1].
    """
    return float(torch.nn.functional.cosine_similarity(p.double(), c.double(), dim=0).clamp(0, 1))


def shared(p: set[int], c: set[int]) -> float:
    """The share of a target's tokens that a prompt has.

    Args:
        p: T of the prompt.
        c: T of the target.

    Returns:
        |p ∩ c| / |c|, in [0, 1]; 0 for a target of no tokens.
    """
    return len(p & c) / max(len(c), 1)


def tokens(model: Model, text: str) -> set[int]:
    """T: the tokens of a text without those that begin, end and pad.

    Args:
        model: Its first tokenizer counts.
        text: The text.

    Returns:
        Their ids.
    """
    return set(model.tokens(text)[0].ids) - set(model.pipe.tokenizer.all_special_ids)
