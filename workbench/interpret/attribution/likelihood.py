"""How likely a Janus finds the tokens of a picture, cell by cell: what effects on its drawing are counted in."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from workbench.hooks import Role
from workbench.models import Janus
from workbench.models.prompts import Given

Codes = Int64[Tensor, "rows cells"]


@torch.no_grad()
def log_likelihood(model: Janus, codes: Codes, prompts: Given, role: Role = "cond") -> Float[Tensor, "rows cells"]:
    """The logarithm of the probability of each token, given the prompt and the true tokens before it.

    Args:
        model: The model, with whatever edits are in place.
        codes: The tokens of each picture.
        prompts: One for each row, or one for all.
        role: Which of guidance's rows is asked. Guidance itself is no part of it.

    Returns:
        Nats, at most 0, on the CPU.
    """
    told = model.logits(codes, prompts, role).float().log_softmax(dim=-1)
    return told.gather(-1, codes.to(told.device)[..., None])[..., 0].cpu()
