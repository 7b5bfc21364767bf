"""When: which call of which component a hook is in, and what each row of the batch stands for."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

CPU = torch.device("cpu")
Role = Literal["cond", "uncond"]


@dataclass(frozen=True)
class Clock:
    """What a hook knows about the call that it is in.

    `call` counts from 0 within one batch of `generate`, one `encode` or one `noise_prediction`. Solvers call the
    denoiser more often than there are timesteps (PNDM n+1, Heun 2n-1 times), so neither `call` nor `timestep` alone
    identifies a step. `timestep` is in the units of the training schedule (0 … 1000), None on text calls. `roles`
    has one entry a row: guidance puts conditional and unconditional rows into one batch, in an order that only the
    caller knows. `prompts` are those of the rows' pictures, of both branches of guidance alike; None where nobody said
    so. `token_ids` are the padded prompts of a text call, None on denoiser calls. The last `aside` rows are
    of no picture: guidance evaluates them beside the others. Edits see them, recorders do not.
    """

    component: Literal["prompt", "image"]
    call: int
    timestep: float | None
    roles: tuple[Role, ...]
    token_ids: Int[Tensor, "rows tokens"] | None = None
    device: torch.device = CPU
    aside: int = 0
    prompts: tuple[str, ...] | None = None

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
        return replace(self, roles=self.roles[:n], token_ids=token_ids, prompts=prompts, aside=0)
