"""When: which call of which component a hook is in, and what each row of the batch stands for."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from workbench.hooks.tokens import Tokens

CPU = torch.device("cpu")
Role = Literal["cond", "uncond"]


@dataclass(frozen=True)
class Step:
    """How far the picture of a call is.

    Args:
        index: Number of the step, from 0; of a picture that is written token by token, that of the token which the call
            predicts.
        of: How many steps the picture takes; None where the picture side is called directly. Solvers may take more
            steps than were asked for (PNDM n + 1, Heun 2n − 1), and then two steps share a timestep.
        timestep: Diffusion only: the noise level in units of the training schedule, 0 … 1000. None elsewhere.
    """

    index: int
    of: int | None = None
    timestep: float | None = None


@dataclass(frozen=True)
class Clock:
    """What a hook knows about the call that it is in.

    Args:
        component: The side of the model: "prompt" (text encoders) or "image" (denoisers, language models).
        call: Number of the call, from 0, within one batch of `generate`, one `encode` or one direct call.
        step: Where the picture stands. None on calls of the prompt side.
        roles: One entry for each row: guidance puts conditional and unconditional rows into one batch, in an order that
            only the caller knows.
        token_ids: Padded prompts of a prompt call. None on image calls, and where the prompt came as embeddings.
        device: Device of the call.
        aside: The last `aside` rows are extra guidance branches: edits apply to them, recorders skip them.
        prompts: `prompts[i]` is the prompt of the picture that row i belongs to, in both guidance branches; None for a
            prompt that no text says. None for all if not announced.
        tokens: What each position holds, where the picture's side reads prompt and picture as one sequence of tokens
            (Janus). None elsewhere.
    """

    component: Literal["prompt", "image"]
    call: int
    step: Step | None
    roles: tuple[Role, ...]
    token_ids: Int[Tensor, "rows tokens"] | None = None
    device: torch.device = CPU
    aside: int = 0
    prompts: tuple[str | None, ...] | None = None
    tokens: Tokens | None = None

    @property
    def timestep(self) -> float | None:
        """The step's timestep, None where there is none."""
        return None if self.step is None else self.step.timestep

    def mask(self, role: Role) -> Bool[Tensor, " rows"]:
        """True at the rows of this role, on the device of the call."""
        return torch.tensor([row == role for row in self.roles], device=self.device)

    @property
    def own(self) -> "Clock":
        """The clock of the pictures' rows alone, those before the last `aside`."""
        if not self.aside:
            return self
        n = len(self.roles) - self.aside
        token_ids = None if self.token_ids is None else self.token_ids[:n]
        prompts = None if self.prompts is None else self.prompts[:n]
        tokens = None if self.tokens is None else self.tokens.first_rows(n)
        return replace(self, roles=self.roles[:n], token_ids=token_ids, prompts=prompts, tokens=tokens, aside=0)
