"""The latents that a model passes through while it denoises, each with the timestep at which it is seen."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import DDIMScheduler
from jaxtyping import Float
from torch import Tensor

from saes.progress import SILENT, Progress
from workbench.hooks import Role
from workbench.models import Model
from workbench.models.architecture import Latents
from workbench.models.encoding import Encoding

BATCH = 16


class Trajectories(NamedTuple):
    """`latents[:, k]` are what the denoiser gets at `timesteps[k]` (x_t with its own t), from the noisiest on."""

    timesteps: list[int]
    latents: Float[Tensor, "n seen channels height width"]  # on the CPU


@torch.no_grad()
def trajectories(
    model: Model,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    seen: int,
    guidance_scale: float = 1.0,
    role: Role = "cond",
    progress: Progress = SILENT,
    label: str = "trajectories",
) -> Trajectories:
    """The first `seen` of `steps` steps of DDIM (η = 0), a trajectory for each prompt with its seed.

    For SD1, SD2 and SDXL, with any prediction type; noise as `model.generate` draws it. With `role="uncond"` an empty
    prompt is encoded as guidance has it; a `guidance_scale` of 1 goes without guidance. The pipeline's own scheduler is
    left as it is.
    """
    scheduler = DDIMScheduler.from_config(model.pipe.scheduler.config, clip_sample=False)
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps[:seen].tolist()
    parts = []
    for start in progress(range(0, len(prompts), BATCH), label):
        chosen = slice(start, start + BATCH)
        x = model.noise(seeds[chosen]).to(model.device)
        cond, path = model.encode(prompts[chosen], role), []
        for t in timesteps:
            path.append(x.cpu())
            x = scheduler.step(_guided(model, x, t, cond, guidance_scale), t, x).prev_sample
        parts.append(torch.stack(path, dim=1))
    return Trajectories(timesteps, torch.cat(parts))


def _guided(model: Model, x: Latents, t: int, cond: Encoding, guidance_scale: float) -> Latents:
    """Guidance of the raw output: at one x and t it is linear in the noise, whatever the model predicts."""
    prediction = model.noise_prediction(x, t, cond)
    if guidance_scale == 1:
        return prediction
    uncond = model.noise_prediction(x, t, model.encode("", role="uncond"))
    return uncond + guidance_scale * (prediction - uncond)
