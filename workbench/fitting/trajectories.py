"""The latents that a model passes through while it denoises, each with the timestep at which it is seen.

With guidance w of the raw outputs, and its rescaling φ (Lin et al. 2024, arXiv:2305.08891), std over each picture:
    (1)  ε_w = ε(∅) + w [ε(c) − ε(∅)]
    (2)  ε′ = φ ε_w std ε(c) / std ε_w + (1 − φ) ε_w
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import DDIMScheduler
from jaxtyping import Float
from torch import Tensor

from saes.progress import SILENT, Progress
from workbench.fitting.embedding import encoded
from workbench.hooks import Role
from workbench.models import Diffusion
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.prediction import check_noise_schedule
from workbench.models.encoding import Encoding

BATCH = 16


class Trajectories(NamedTuple):
    """`latents[:, k]` are what the denoiser gets at `timesteps[k]` (x_t with its own t), from the noisiest on.

    `cond` and `uncond` are its raw outputs there with and without the prompt, if they were asked for.
    """

    timesteps: list[int]
    latents: Float[Tensor, "n seen channels height width"]  # on the CPU
    cond: Float[Tensor, "n seen channels height width"] | None = None
    uncond: Float[Tensor, "n seen channels height width"] | None = None


@torch.no_grad()
def trajectories(
    model: Diffusion,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    seen: int,
    guidance_scale: float = 1.0,
    guidance_rescale: float = 0.0,
    role: Role = "cond",
    predictions: bool = False,
    progress: Progress = SILENT,
    label: str = "trajectories",
) -> Trajectories:
    """The first `seen` of `steps` steps of DDIM (η = 0), a trajectory for each prompt with its seed.

    For SD1, SD2 and SDXL, with any prediction type; noise as `model.generate` draws it. The pipeline's own scheduler is
    left as it is.

    Args:
        model: The model.
        prompts: At least one.
        seeds: One for each prompt, as for `model.generate`.
        steps: Of a whole trajectory, 1 up to the length of the training schedule.
        seen: How many of them are made and kept, from the noisiest on, 1 to `steps`.
        guidance_scale: w of (1); 1 goes without guidance.
        guidance_rescale: φ of (2), 0 to 1.
        role: "uncond" encodes the prompts as guidance has its empty one.
        predictions: Keep what the model predicted on the way, with and without the prompt: a teacher's answers, at no
            further cost where there is guidance.
        progress: Shows the batches.
        label: What it is called there.

    Returns:
        The latents, each with its own timestep.
    """
    scheduler = ddim(model, steps)
    timesteps = scheduler.timesteps[:seen].tolist()
    parts = []
    for start in progress(range(0, len(prompts), BATCH), label):
        chosen = slice(start, start + BATCH)
        x = model.noise(seeds[chosen]).to(model.device)
        cond, path = model.encode(prompts[chosen], role), []
        for t in timesteps:
            answer = _answer(model, x, t, cond, both=predictions or guidance_scale != 1)
            path.append([one.cpu() for one in ((x, *answer) if predictions else (x,))])
            x = scheduler.step(answer.guided(guidance_scale, guidance_rescale), t, x).prev_sample
        parts.append([torch.stack(one, dim=1) for one in zip(*path, strict=True)])
    return Trajectories(timesteps, *(torch.cat(one) for one in zip(*parts, strict=True)))


class Partway(NamedTuple):
    """A latent and the timestep whose noise it has."""

    latents: Latents  # on the model's device
    timestep: int


@torch.no_grad()
def partway(
    model: Diffusion, prompt: str | Sequence[str], noise: Latents, k: int, *, steps: int, guidance_scale: float = 1.0,
    guidance_rescale: float = 0.0,
) -> Partway:  # fmt: skip
    """One latent of a trajectory of DDIM, at its own timestep: `k` passes of the model, without gradients.

    Args:
        model: SD1, SD2 or SDXL.
        prompt: What is drawn: one for all rows, or one for each.
        noise: Where the trajectories start, `[n, channels, height, width]`.
        k: Which latent, from 0, the noise itself, to `steps` − 1.
        steps: Of a whole trajectory.
        guidance_scale: w of (1); 1 goes without guidance.
        guidance_rescale: φ of (2), 0 to 1.

    Returns:
        x_t, of the noise's shape, and t.
    """
    scheduler = ddim(model, steps)
    timesteps, x = scheduler.timesteps.tolist(), noise.to(model.device)
    cond = encoded(model, [prompt] if isinstance(prompt, str) else prompt)
    for t in timesteps[:k]:
        answer = _answer(model, x, t, cond, both=guidance_scale != 1)
        x = scheduler.step(answer.guided(guidance_scale, guidance_rescale), t, x).prev_sample
    return Partway(x, timesteps[k])


def ddim(model: Diffusion, steps: int) -> DDIMScheduler:
    """A scheduler of one's own with the model's noise schedule.

    Args:
        model: SD1, SD2 or SDXL.
        steps: What it is set to.

    Returns:
        A DDIM scheduler that never clips.

    Raises:
        WorkbenchError: The model has no such schedule.
    """
    check_noise_schedule(model.pipe.scheduler)
    scheduler = DDIMScheduler.from_config(model.pipe.scheduler.config, clip_sample=False)
    scheduler.set_timesteps(steps)
    return scheduler


class _Answer(NamedTuple):
    """The raw outputs with the prompt and without."""

    cond: Latents
    uncond: Latents

    def guided(self, scale: float, rescale: float) -> Latents:
        """Guidance of the raw output: at one x and t it is linear in the noise, whatever the model predicts."""
        if scale == 1:
            return self.cond
        guided = self.uncond + scale * (self.cond - self.uncond)  # (1)
        if rescale == 0:
            return guided
        share = self.cond.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
        return rescale * share * guided + (1 - rescale) * guided  # (2)


def _answer(model: Diffusion, x: Latents, t: int, cond: Encoding, *, both: bool) -> _Answer:
    prediction = model.noise_prediction(x, t, cond)
    return _Answer(
        prediction, model.noise_prediction(x, t, encoded(model, [""], role="uncond")) if both else prediction
    )
