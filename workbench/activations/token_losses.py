"""What a language model loses of its pictures when a site holds something else: the cross-entropy of picture tokens.

    (1)  loss = −(1/n) Σ_k log p(c_k | prompt, c_0 … c_{k−1})      mean over pictures, in nats a token
The tokens are given, so that all losses are of the same pictures, read in one pass; p is the conditional prediction,
without guidance. The site is replaced in conditional rows, at those positions that are asked for.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from saes.files import SAE, check_rebuilds, check_width
from saes.metrics import LossWith, SubstitutionLosses, losses_of_several
from workbench.activations.substitution import Replace
from workbench.hooks import Clock, Place, SiteEdit
from workbench.models import Janus

BATCH = 16


@torch.no_grad()
def token_losses(
    model: Janus,
    saes: Mapping[str, SAE],
    site: str,
    mean: Float[Tensor, " d"],
    prompts: Sequence[str],
    codes: Int64[Tensor, "pictures tokens"],
    *,
    at: Collection[Place],
) -> dict[str, SubstitutionLosses]:
    """The losses (1) with the site as it is, with each SAE's reconstruction, and with a mean in its place.

    Args:
        model: The model.
        saes: SAEs of the site by name.
        site: Its alias.
        mean: What ablation puts in the place of each position, such as the mean of the training rows there.
        prompts: One for each picture.
        codes: The pictures' tokens, such as `model.sample_codes(prompts, seeds)`.
        at: Which positions are replaced.

    Returns:
        Losses by the name of the SAE.

    Raises:
        WorkbenchError: An SAE has another width or rebuilds no site.
    """
    place = model.site(site)
    for sae in saes.values():
        check_rebuilds(sae)
        check_width(sae, place.channels, site)
    kept = torch.tensor([int(one) for one in at], dtype=torch.int8, device=model.device)

    def session_with(replace: Replace | None) -> list[SiteEdit]:
        def transform(activation: Tensor, clock: Clock) -> Tensor:
            assert replace is not None and clock.tokens is not None
            here = clock.mask("cond")[:, None] & torch.isin(clock.tokens.places, kept)
            return torch.where(here[..., None], replace(activation), activation)

        return [] if replace is None else [SiteEdit(place, transform)]

    def loss_with(replace: Replace | None) -> float:
        with model.session(edits=session_with(replace)):
            return cross_entropy(model, prompts, codes)

    with_loss: LossWith = loss_with
    return losses_of_several(saes, mean, with_loss)


def cross_entropy(model: Janus, prompts: Sequence[str], codes: Int64[Tensor, "pictures tokens"]) -> float:
    """(1) of the model with whatever is in place.

    Args:
        model: The model.
        prompts: One for each picture.
        codes: The pictures' tokens.

    Returns:
        Nats a token.
    """
    total = 0.0
    for start in range(0, len(prompts), BATCH):
        part = slice(start, start + BATCH)
        logits, wanted = model.logits(codes[part], list(prompts[part])), codes[part].to(model.device)
        total += float(F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), reduction="sum"))  # (1)
    return total / codes.numel()
