"""Latents part of the way through a model's own pictures, and what the frozen model says there.

Drawn anew wherever they are asked for, as papers do it, or taken from whole trajectories that are made once. A latent
at a random place costs half a trajectory in the mean; a whole one has a latent for each of its steps, and the answers
of both branches of guidance with them.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from saes.progress import SILENT, Progress
from workbench.fitting.embedding import encoded
from workbench.fitting.trajectories import Trajectories, partway
from workbench.fitting.views import whole_trajectories
from workbench.models import Diffusion
from workbench.models.diffusion.architecture import Latents


class Answered(NamedTuple):
    """Latents, a row for each prompt, and the frozen model's raw outputs there.

    Args:
        latents: x_t, `[rows, channels, height, width]`.
        timesteps: t of each, `[rows]`, on the CPU.
        cond: What it says for the prompt, of the latents' shape.
        uncond: What it says without one; None where that was not asked for.
    """

    latents: Latents
    timesteps: Tensor
    cond: Latents
    uncond: Latents | None = None


@runtime_checkable
class Rollouts(Protocol):
    """Where latents come from."""

    def at(self, prompts: Sequence[str], generator: torch.Generator, *, uncond: bool = False) -> Answered:
        """A random place of a trajectory of each prompt.

        Args:
            prompts: At least one, the same one several times if so wanted.
            generator: Draws the places.
            uncond: Whether the answer without a prompt is wanted too.

        Returns:
            A row for each prompt.
        """
        ...


class Fresh(NamedTuple):
    """Every latent drawn anew: up to `steps` passes of the model each time, all rows at one timestep.

    Args:
        sampler: Who draws them, from noise.
        teacher: Who answers.
        steps: Of a whole trajectory.
        guidance_scale: Of the trajectories.
    """

    sampler: Diffusion
    teacher: Diffusion
    steps: int
    guidance_scale: float

    @torch.no_grad()
    def at(self, prompts: Sequence[str], generator: torch.Generator, *, uncond: bool = False) -> Answered:
        """From noise of their own, all part of the way to one random timestep."""
        noise = torch.randn(len(prompts), *self.teacher.noise([0]).shape[1:], generator=generator)
        k = int(torch.randint(self.steps, (), generator=generator))
        x, t = partway(self.sampler, prompts, noise, k, steps=self.steps, guidance_scale=self.guidance_scale)
        cond = self.teacher.noise_prediction(x, t, encoded(self.teacher, prompts))
        none = self.teacher.noise_prediction(x, t, encoded(self.teacher, [""], role="uncond")) if uncond else None
        return Answered(x, torch.tensor([t] * len(prompts)), cond, none)


class Remembered(NamedTuple):
    """Latents of whole trajectories of the frozen model, with its answers; each drawn at a place of its own.

    Args:
        path: The trajectories, with their predictions.
        prompts: Of each.
    """

    path: Trajectories
    prompts: Sequence[str]

    def at(self, prompts: Sequence[str], generator: torch.Generator, *, uncond: bool = False) -> Answered:
        """Of a random trajectory of each prompt a random step. Prompts without a trajectory raise `KeyError`."""
        known: dict[str, list[int]] = {}
        for number, prompt in enumerate(self.prompts):
            known.setdefault(prompt, []).append(number)
        own = [known[prompt] for prompt in prompts]
        i = [some[int(torch.randint(len(some), (), generator=generator))] for some in own]
        j = torch.randint(len(self.path.timesteps), (len(prompts),), generator=generator)
        assert self.path.cond is not None and self.path.uncond is not None  # `remembered` asks for them
        none = self.path.uncond[i, j] if uncond else None
        return Answered(self.path.latents[i, j], torch.tensor(self.path.timesteps)[j], self.path.cond[i, j], none)


def remembered(
    teacher: Diffusion, prompts: Sequence[str], count: int, *, steps: int, guidance_scale: float, seed: int,
    progress: Progress = SILENT, label: str = "trajectories",
) -> Remembered:  # fmt: skip
    """Makes whole trajectories of prompts in turn.

    Args:
        teacher: The frozen model, which draws and answers.
        prompts: At least one, each once.
        count: How many trajectories; at least one of each prompt is made.
        steps: Of each.
        guidance_scale: With which they are drawn.
        seed: Draws their noise.
        progress: Shows them.
        label: What that is called.

    Returns:
        All of their latents and answers, on the CPU: three latents a step.
    """
    chosen = [prompts[number % len(prompts)] for number in range(max(count, len(prompts)))]
    path = whole_trajectories(
        teacher, chosen, steps=steps, guidance_scale=guidance_scale, seed=seed, progress=progress, label=label
    )
    return Remembered(path, chosen)
