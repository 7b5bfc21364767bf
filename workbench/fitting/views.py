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
    """What one iteration trains on, a row for each latent.

    Args:
        latents: x_t, `[batch, channels, height, width]`.
        timesteps: t of each, `[batch]`.
        prompts: Of each.
        target: What the student is to say there for the prompt, of the latents' shape.
        uncond: What the frozen model says there without a prompt, where a method asks for that.
    """

    latents: Latents
    timesteps: Tensor
    prompts: list[str]
    target: Latents
    uncond: Latents | None = None


class View(NamedTuple):
    """Frozen trajectories, with the same at all of their latents as `Seen` has.

    Args:
        latents: x_t, `[n, k, channels, height, width]`.
        timesteps: The k timesteps, from the noisiest on.
        prompts: Of the n trajectories.
        target: What a student is to say for the prompt, of the latents' shape.
        uncond: What the frozen model says without a prompt, of the latents' shape.
    """

    latents: Tensor
    timesteps: list[int]
    prompts: list[str]
    target: Tensor
    uncond: Tensor

    def drawn(self, batch: int, generator: torch.Generator, *, first: int = 0) -> Seen:
        """Random places on random trajectories.

        Args:
            batch: How many; with replacement.
            generator: Draws them.
            first: The first place that may be drawn, 0 to k − 1.

        Returns:
            What one iteration trains on, a row for each place.
        """
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
    """Every step of a trajectory of each prompt, with the raw outputs on the way.

    Args:
        model: SD1, SD2 or SDXL.
        prompts: At least one.
        steps: Of each trajectory.
        guidance_scale: As for `trajectories`.
        guidance_rescale: As for `trajectories`.
        seed: Draws the seeds of the noise (`pictures.drawn_seeds`).
        progress: Shows the batches.
        label: What it is called there.

    Returns:
        The trajectories with `cond` and `uncond`.
    """
    return trajectories(
        model, prompts, drawn_seeds(len(prompts), seed), steps=steps, seen=steps, guidance_scale=guidance_scale,
        guidance_rescale=guidance_rescale, predictions=True, progress=progress, label=label,
    )  # fmt: skip
