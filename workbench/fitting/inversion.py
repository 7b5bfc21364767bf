"""DDIM inversion: the noise that a picture would have come from, and what an edited model makes of that noise.

With ᾱ at a timestep and at the next noisier one ᾱ′, ε and x₀ as the model reads them out of x at the former:
    (1)  x′ = √ᾱ′ x₀ + √(1−ᾱ′) ε      inversion, from the picture to the noise (Song et al. 2021, arXiv:2010.02502)
    (2)  x = √ᾱ x₀′ + √(1−ᾱ) ε′       sampling, back again with x₀′ and ε′ read out of x′
(1) is (2) backwards where ε hardly changes from one step to the next: its error falls with the number of steps.
Purification (All but One, arXiv:2312.12807) inverts with the unedited model, without guidance, and samples with the
edited one, with guidance: where an edit holds the prediction without a prompt, the layout stays.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch

from workbench.fitting.embedding import encoded
from workbench.fitting.trajectories import ddim
from workbench.models import Diffusion
from workbench.models.diffusion.architecture import Latents
from workbench.models.images import Images
from workbench.models.model import Change


def purified(
    model: Diffusion,
    edits: Change | Sequence[Change],
    images: Images,
    prompt: str,
    *,
    steps: int = 50,
    guidance_scale: float | None = None,
) -> Images:
    """What the edited model makes of pictures that `prompt` describes: the same layout, without what was erased.

    Args:
        model: SD1, SD2 or SDXL, without the edits.
        edits: One or several; they are in place while the noise is denoised again.
        images: uint8 `[n, height, width, 3]` of the model's own size.
        prompt: What all of them show.
        steps: Of DDIM, each way. More steps lose less.
        guidance_scale: Of the way back; the model's own if left out.

    Returns:
        Images of the same shape.
    """
    scale = model.defaults.guidance_scale if guidance_scale is None else guidance_scale
    noise = inverted(model, model.latents(images), prompt, steps=steps)
    with model.edited(*(edits if isinstance(edits, Sequence) else [edits])):
        return model.images(sampled(model, noise, prompt, steps=steps, guidance_scale=scale))


@torch.no_grad()
def inverted(model: Diffusion, latents: Latents, prompt: str, *, steps: int) -> Latents:
    """The noise x_T that pictures would have come from, by (1), without guidance.

    The picture itself is read at the first timestep.

    Args:
        model: SD1, SD2 or SDXL, as it is: in a block of `edited`, with the edits.
        latents: Of the pictures, `[n, channels, height, width]`, as `model.latents` gives them.
        prompt: What all of them show.
        steps: Of DDIM.

    Returns:
        Latents of the same shape, on the model's device.
    """
    scheduler, cond, x = ddim(model, steps), encoded(model, [prompt]), latents.to(model.device)
    times = scheduler.timesteps.flip(0).tolist()  # from the picture on
    alphas = [one.to(x) for one in (scheduler.final_alpha_cumprod, *scheduler.alphas_cumprod[times])]
    for t, (alpha, noisier) in zip([times[0], *times], pairwise(alphas), strict=False):
        eps = model.predicted_noise(x, t, cond)
        clean = (x - (1 - alpha).sqrt() * eps) / alpha.sqrt()
        x = noisier.sqrt() * clean + (1 - noisier).sqrt() * eps  # (1)
    return x


@torch.no_grad()
def sampled(model: Diffusion, noise: Latents, prompt: str, *, steps: int, guidance_scale: float = 1.0) -> Latents:
    """Latents of pictures from x_T, by (2).

    Args:
        model: SD1, SD2 or SDXL, as it is: in a block of `edited`, with the edits.
        noise: x_T, `[n, channels, height, width]`.
        prompt: What to draw.
        steps: Of DDIM.
        guidance_scale: 1 goes without guidance, in one pass a step.

    Returns:
        Latents of the same shape, as `model.images` takes them.
    """
    scheduler, x = ddim(model, steps), noise.to(model.device)
    cond, uncond = encoded(model, [prompt]), encoded(model, [""], role="uncond")
    for t in scheduler.timesteps.tolist():
        prediction = model.noise_prediction(x, t, cond)
        if guidance_scale != 1:
            base = model.noise_prediction(x, t, uncond)
            prediction = base + guidance_scale * (prediction - base)
        x = scheduler.step(prediction, t, x).prev_sample  # (2)
    return x
