"""Runs prompts and hands what sites see to a reader."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probes.features import content_tokens
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import end_token
from workbench.hooks import Clock, Site
from workbench.hooks.session import Keep
from workbench.models import Model

TEXT_BATCH, IMAGE_BATCH = 64, 16

Reader = Callable[[Float[Tensor, "prompts positions d"], Bool[Tensor, "prompts positions"]], Tensor]


def observe(
    model: Model, site: Site, prompts: Sequence[str], read: Reader, progress: Progress = SILENT, label: str = ""
) -> Float[Tensor, "prompts *rest"]:
    """Runs the prompts and returns `read(x, content)` of the site's conditional rows, a row a prompt.

    `x` is float32 and `content` marks the positions that count (all of a picture's). Where a component is called
    several times a batch, as in denoising, the largest value counts.
    """
    if not prompts:
        raise WorkbenchError("There are no prompts.", "Give at least one.")
    size = TEXT_BATCH if site.component == "prompt" else IMAGE_BATCH
    starts = range(0, len(prompts), size)
    return torch.cat([_observe(model, site, prompts[at : at + size], read, at) for at in progress(starts, label)])


def activations(model: Model, site: Site, prompts: Sequence[str]) -> Float[Tensor, "prompts positions d"]:
    """What a text site hands over for each prompt, padding included, in float32."""
    parts = []
    for start in range(0, len(prompts), TEXT_BATCH):
        with torch.no_grad(), model.session(record=[site]) as session:
            model.encode(prompts[start : start + TEXT_BATCH])
        parts.append(session.records[site.alias][0][1].float())
    return torch.cat(parts)


def _observe(model: Model, site: Site, prompts: Sequence[str], read: Reader, first: int) -> Tensor:
    found: list[Tensor] = []
    end = end_token(model, site) if site.component == "prompt" else -1

    def keep(_: Site, activation: Tensor, clock: Clock) -> None:
        rows = clock.mask("cond")
        if rows.any():
            content = torch.ones(activation.shape[:2], dtype=torch.bool, device=activation.device)
            if clock.token_ids is not None:
                content = content_tokens(clock.token_ids, end)
            new = read(activation[rows].float(), content[rows])
            found[:] = [torch.maximum(found[0], new) if found else new]

    run_batch(model, [site], prompts, keep, seed=first)
    return found[0]


@torch.no_grad()
def run_batch(
    model: Model, sites: Sequence[Site], prompts: Sequence[str], keep: Keep, *, seed: int = 0, steps: int | None = None
) -> None:
    """Runs prompts as one batch and hands what the sites see to `keep`. Pictures are made if a site lies in the
    denoiser, that of prompt number i with the seed `seed + i`; otherwise the prompts are only encoded."""
    with model.session(record=sites, keep=keep):
        if any(site.component == "image" for site in sites):
            model.generate(prompts, range(seed, seed + len(prompts)), steps=steps, batch_size=len(prompts))
        else:
            model.encode(prompts)
