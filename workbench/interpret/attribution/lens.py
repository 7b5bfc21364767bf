"""One number that a model's inside can be asked about, differentiable in whatever an edit touches.

Prompts with a concept and the same prompts with its anchor pull the noise prediction apart, at equal latents. How far
along this direction a prediction lies says how much of the concept the model is about to draw:
    (1)  y = mean over t of ⟨ε(x_t) − ε₀(x_t, anchor), d_t⟩ / ‖d_t‖²,   d_t = ε₀(x_t, prompt) − ε₀(x_t, anchor)
ε₀ is the unedited model, for which y = 1; y is 0 where the prediction is that of the anchor prompt. The latents x_t are
pictures that the unedited model makes of the prompts, with noise.

A Janus predicts tokens in the place of noise. Its lens is the same along √p, the roots of the probabilities of all
codes at all cells, given the true tokens c before each, which the unedited model draws of the prompt:
    (2)  y = ⟨√p(· | c, prompt) − √p₀(· | c, anchor), d⟩ / ‖d‖²,   d = √p₀(· | c, prompt) − √p₀(· | c, anchor)
‖d‖² is twice the squared Hellinger distance of both predictions, summed over cells: a code that nobody would draw
counts for nothing, whatever its logits, and a cell counts as far as the two prompts differ there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError, check_at_least
from workbench.models import Janus, Model
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.model import as_diffusion
from workbench.models.diffusion.prediction import noised
from workbench.settings import settled

Looks = Sequence[tuple[Latents, float]]  # latents of all rows, and their timestep
Lens = Callable[[], Float[Tensor, " rows"]]
SEEN = 4  # timesteps


@torch.no_grad()
def looks_at(model: Model, prompts: Sequence[str], seeds: Sequence[int], seen: int = SEEN, **sampling: Any) -> Looks:
    """Pictures that the model makes of the prompts, noised to `seen` timesteps evenly spread over the schedule.

    `sampling` is further arguments of `model.generate`. Raises `WorkbenchError` if `seen` is below 1.
    """
    model = as_diffusion(model, "A look at noised pictures")
    check_at_least(1, seen=seen)
    pictures, noise = model.latents(model.generate(prompts, seeds, **sampling)), model.noise(seeds).to(model.device)
    times = [1000 * (place + 0.5) / seen for place in range(seen)]
    return [(noised(model.pipe.scheduler, pictures, noise, t), t) for t in times]


@torch.no_grad()
def concept_lens(
    model: Model,
    prompts: Sequence[str],
    anchors: Sequence[str],
    seeds: Sequence[int],
    *,
    seen: int | None = None,
    **sampling: Any,
) -> Lens:
    """The lens (1) or (2) of prompts and their counterparts; called inside `model.edited` or a session, it gives y.

    Args:
        model: The unedited model, a diffusion model or a Janus.
        prompts: With the concept.
        anchors: As many, with its anchor.
        seeds: As many, of the pictures.
        seen: Timesteps that count, evenly spread, `SEEN` if left out; a Janus has none.
        sampling: Makes the pictures that are noised, or whose tokens are read. Guidance is no part of the lens itself.

    Returns:
        The lens. A call encodes the prompts and runs the denoiser `seen` times, or the language model once.

    Raises:
        WorkbenchError: A prompt is its own anchor, the lists differ in length, or timesteps are asked of a Janus.
    """
    if not len(prompts) == len(anchors) == len(seeds):
        raise WorkbenchError(
            f"{len(prompts)} prompts, {len(anchors)} anchors, {len(seeds)} seeds.", "Give equally many."
        )
    if isinstance(model, Janus):
        check_no_timesteps(seen)
        return _of_tokens(model, list(prompts), list(anchors), seeds, sampling)
    handle = as_diffusion(model, "The concept lens")
    concept, anchor = handle.encode(prompts), handle.encode(anchors)
    _refuse_equal(prompts, (concept.embeddings - anchor.embeddings).flatten(1))
    looks = looks_at(handle, prompts, seeds, SEEN if seen is None else seen, **sampling)
    origins = [handle.noise_prediction(x, t, anchor).flatten(1) for x, t in looks]
    apart = [handle.noise_prediction(x, t, concept).flatten(1) - o for (x, t), o in zip(looks, origins, strict=True)]
    for d in apart:
        _refuse_equal(prompts, d)
    directions = [d / d.square().sum(dim=1, keepdim=True) for d in apart]

    def lens() -> Float[Tensor, " rows"]:
        encoding = handle.encode(prompts)
        along = [
            ((handle.noise_prediction(x, t, encoding).flatten(1) - origin) * direction).sum(dim=1)
            for (x, t), origin, direction in zip(looks, origins, directions, strict=True)
        ]
        return torch.stack(along).mean(dim=0)  # (1)

    return lens


def _of_tokens(
    model: Janus, prompts: list[str], anchors: list[str], seeds: Sequence[int], sampling: Mapping[str, Any]
) -> Lens:
    codes = model.sample_codes(prompts, list(seeds), **settled(model.settings, sampling))

    def roots(texts: list[str]) -> Float[Tensor, "rows n"]:
        return (model.logits(codes, texts).float().log_softmax(dim=-1) / 2).exp().flatten(1)

    origin = roots(anchors)
    apart = roots(prompts) - origin
    _refuse_equal(prompts, apart)
    direction = apart / apart.square().sum(dim=1, keepdim=True)

    def lens() -> Float[Tensor, " rows"]:
        return ((roots(prompts) - origin) * direction).sum(dim=1)  # (2)

    return lens


def check_no_timesteps(seen: int | None) -> None:
    """Refuses timesteps where there are none.

    Args:
        seen: How many are asked for, None for as many as there are by default.

    Raises:
        WorkbenchError: There is a number.
    """
    if seen is not None:
        raise WorkbenchError("A Janus draws token by token, without timesteps to look at.", "Leave `seen` out.")


def _refuse_equal(prompts: Sequence[str], apart: Float[Tensor, "rows n"]) -> None:
    """Raises `WorkbenchError` for the first prompt that nothing tells from its anchor."""
    for prompt, difference in zip(prompts, apart, strict=True):
        if not difference.any():
            raise WorkbenchError(
                f"{prompt!r} is its own anchor to the model, so it has no direction.",
                "Name another thing there, within the token limit.",
            )
