"""What a frozen model says along whole trajectories: asked once before a training, and drawn from at random in it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from saes.progress import SILENT, Progress
from workbench.fitting.pictures import drawn_seeds
from workbench.fitting.trajectories import Trajectories, trajectories
from workbench.models import Diffusion
from workbench.models.diffusion.architecture import Latents


class Seen(NamedTuple):
    """What one iteration trains on, a row for each latent: what the student is to say there for the prompt, and what
    the frozen model says without one, where a method asks for that."""

    latents: Latents
    timesteps: Tensor
    prompts: list[str]
    target: Latents
    uncond: Latents | None = None


class View(NamedTuple):
    """Frozen trajectories `[n, k, …]`, with the same at all of their latents."""

    latents: Tensor
    timesteps: list[int]
    prompts: list[str]
    target: Tensor
    uncond: Tensor

    def drawn(self, batch: int, generator: torch.Generator, *, first: int = 0) -> Seen:
        """Random places on random trajectories, none before the place `first`."""
        n, k = self.latents.shape[:2]
        i = torch.randint(n, (batch,), generator=generator)
        j = torch.randint(first, k, (batch,), generator=generator)
        times = torch.tensor(self.timesteps)[j]
        prompts = [self.prompts[one] for one in i.tolist()]
        return Seen(self.latents[i, j], times, prompts, self.target[i, j], self.uncond[i, j])


def whole_trajectories(
    model: Diffusion,
    prompts: Sequence[str],
    *,
    steps: int,
    guidance_scale: float,
    guidance_rescale: float = 0.0,
    seed: int,
    progress: Progress = SILENT,
    label: str = "trajectories",
) -> Trajectories:
    """Every step of a trajectory of each prompt from noise that `seed` draws, with the raw outputs on the way."""
    return trajectories(
        model, prompts, drawn_seeds(len(prompts), seed), steps=steps, seen=steps, guidance_scale=guidance_scale,
        guidance_rescale=guidance_rescale, predictions=True, progress=progress, label=label,
    )  # fmt: skip
