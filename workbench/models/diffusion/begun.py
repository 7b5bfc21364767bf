"""Pictures that are begun already: a start of one's own, in the place of the noise that a seed gives.

With x₀ the latents of a picture and ε noise, sampling begins at the first timestep t of the schedule at or below one
that is given, as image-to-image does (Meng et al. 2022, SDEdit, arXiv:2108.01073):
    (1)  x = √ᾱ_t x₀ + √(1−ᾱ_t) ε,   or (1−σ_t) x₀ + σ_t ε in a rectified flow
in the scheduler's own scale, which knows (1) best. At the very beginning of the schedule x = ε.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.models.diffusion.architecture import Latents
from workbench.models.prompts import TokenEmbeddings, TokenIds, as_prompts, joined, one_by_one

LONGEST = 1000.0  # the timestep of noise alone, whatever the schedule


@dataclass(frozen=True, eq=False)
class Begun:
    """Prompts with the start of each of their pictures; `Diffusion.generate` takes it in the place of prompts.

    Steps are counted from there: an edit that acts in the first steps alone acts in the first of these.

    Args:
        prompts: Texts, token ids or token embeddings.
        noise: A row for each, in the place of the noise that its seed would give.
        latents: Pictures under the noise, of its shape, as `Diffusion.latents` gives them; None for noise alone.
        timestep: Where to begin, 0 to 1000; 1000 is the beginning of the schedule, where there is noise alone.

    Raises:
        WorkbenchError: There are not as many starts as prompts, or a timestep below 1000 without a picture.
    """

    prompts: list[str] | TokenIds | TokenEmbeddings
    noise: Latents
    latents: Float[Tensor, "_ _ _ _"] | None = None
    timestep: float = LONGEST

    def __post_init__(self) -> None:
        object.__setattr__(self, "timestep", float(self.timestep))
        shapes = {one.shape for one in (self.noise, self.latents) if one is not None}
        if len(self.noise) != len(as_prompts(self.prompts)) or len(shapes) > 1:
            raise WorkbenchError(
                f"There are {len(self.prompts)} prompts and {len(self.noise)} starts of pictures, or noise and latents "
                "differ in their shapes.",
                "Give a row of each for every prompt.",
            )
        if not 0 <= self.timestep <= LONGEST or (self.latents is None and self.timestep < LONGEST):
            raise WorkbenchError(
                f"A picture cannot begin at {self.timestep}{' without latents' if self.latents is None else ''}.",
                "Give a timestep from 0 to 1000, and the latents of a picture where it is below 1000.",
            )

    def __len__(self) -> int:
        return len(self.noise)

    def rows(self) -> list["Begun"]:
        """Each alone."""
        parts = [slice(row, row + 1) for row in range(len(self))]
        prompts = [[one] if isinstance(one, str) else one for one in one_by_one(as_prompts(self.prompts))]
        return [
            Begun(prompt, self.noise[part], None if self.latents is None else self.latents[part], self.timestep)
            for prompt, part in zip(prompts, parts, strict=True)
        ]


def together(begun: Sequence[Begun]) -> Begun:
    """What `rows` took apart. All begin at one timestep, and all or none of them with a picture."""
    prompts = joined([one_by_one(as_prompts(one.prompts))[0] for one in begun])
    latents = [one.latents for one in begun if one.latents is not None]
    noise = torch.cat([one.noise for one in begun])
    return Begun(prompts, noise, torch.cat(latents) if latents else None, begun[0].timestep)


@contextmanager
def beginning(architecture: Any, start: Begun, handed: Tensor) -> Iterator[None]:
    """In the body, the pipeline's schedule is cut to what comes at or below the start's timestep.

    Args:
        architecture: That of the pipeline, which runs once in the body.
        start: What to begin with.
        handed: The pipeline's argument `latents`, packed. It is filled with (1) once the pipeline has set its schedule,
            which it does before it looks at them.
    """
    scheduler = architecture.pipe.scheduler
    inner, inner_step = scheduler.set_timesteps, scheduler.step
    whole: list[Tensor] = []

    @wraps(inner)
    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        inner(*args, **kwargs)
        whole[:] = [scheduler.timesteps]
        first = int((whole[0] > start.timestep).sum())
        if first == len(whole[0]):
            raise WorkbenchError(
                f"{len(whole[0])} steps have none at or below the timestep {start.timestep:g}.",
                "Begin earlier, or sample in more steps.",
            )
        if first:
            assert start.latents is not None, "noise alone begins at 1000"
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(first)
            scheduler.timesteps = _rest(whole[0], first)
            x0, noise = (one.to(handed.device, torch.float32) for one in (start.latents, start.noise))
            handed.copy_(architecture.pack(_noised(scheduler, x0, noise).to(handed.dtype)))

    @wraps(inner_step)
    def step(*args: Any, **kwargs: Any) -> Any:
        """Schedulers of several orders look whether a step is the last of the whole schedule."""
        rest, scheduler.timesteps = scheduler.timesteps, whole[0]
        try:
            return inner_step(*args, **kwargs)
        finally:
            scheduler.timesteps = rest

    scheduler.set_timesteps, scheduler.step = set_timesteps, step
    try:
        yield
    finally:
        del scheduler.set_timesteps, scheduler.step


def _rest(times: Tensor, first: int) -> Tensor:
    """The timesteps from a place on. PNDM without its Runge-Kutta steps goes through its second one twice."""
    if len(set(times.tolist())) == len(times):
        return times[first:]
    rest = torch.tensor(list(dict.fromkeys(times[first:].tolist())), device=times.device, dtype=times.dtype)
    return torch.cat([rest[:2], rest[1:]])


def _noised(scheduler: Any, x0: Latents, noise: Latents) -> Latents:
    """(1) at the first of the scheduler's timesteps, in the scale of the pipeline's argument `latents`."""
    time = scheduler.timesteps[:1]
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(x0, time.expand(len(x0)), noise)
    return scheduler.add_noise(x0, noise, time.expand(len(x0)).to(x0.device)) / scheduler.init_noise_sigma
