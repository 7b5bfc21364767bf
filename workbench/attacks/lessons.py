"""What a gradient step of an attack is about: pictures of a concept as a model has them, and what is to be said of it.

A denoiser is shown noised latents at a timestep, a language model the tokens of a picture, all at once (it has no
timesteps: 0 is its only one). What the edited model is to say is either what is there, the noise or the tokens, or what
the unedited model says of it for prompts of the concept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from workbench.attacks.likelihood import Likelihood, Written
from workbench.attacks.reach import Lesson, Noisy, unedited
from workbench.models import Diffusion, Janus, Model
from workbench.models.diffusion.architecture import Latents
from workbench.models.model import Change

Draws = Sequence[torch.Generator]


@runtime_checkable
class Teacher(Protocol):
    """Makes lessons, outside the edit. Pictures are rows of a tensor: latents, or tokens."""

    @property
    def times(self) -> int:
        """How many timesteps there are to be drawn from."""
        ...

    def own(self, pictures: Tensor, draws: Draws, times: Sequence[int]) -> list[Any]:
        """A lesson at each time: what is in the pictures is to be seen.

        Args:
            pictures: A row for each prompt.
            draws: Of the noise of each row.
            times: Timesteps.
        """
        ...

    def answered(self, pictures: Tensor, draws: Draws, times: Sequence[int], texts: Sequence[str]) -> list[Any]:
        """A lesson at each time: what the unedited model says for these texts is to be said; others as for `own`."""
        ...

    def taught(self, pictures: Tensor, draws: Draws, times: Sequence[int], texts: Sequence[str]) -> list[Any]:
        """`own`; or `answered`, where the edit shows in nothing that could be answered with what is in a picture."""
        ...


@dataclass(frozen=True, eq=False)
class OfNoise:
    """Lessons of a denoiser.

    Args:
        model: SD1, SD2 or SDXL, without the edit.
        edit: What is attacked.
        guidance_scale: Of predictions through an edit of guidance; the model's own if None.
    """

    model: Diffusion
    edit: Change
    guidance_scale: float | None

    @property
    def times(self) -> int:
        """Those of the training schedule."""
        return self.model.pipe.scheduler.config.num_train_timesteps

    def own(self, pictures: Latents, draws: Draws, times: Sequence[int]) -> list[Lesson]:
        """Noise, to be seen in the pictures under it."""
        seen = [Noisy(pictures, noise_of(draws, pictures), time) for time in times]
        return [Lesson(one, one.noise) for one in seen]

    @torch.no_grad()
    def answered(self, pictures: Latents, draws: Draws, times: Sequence[int], texts: Sequence[str]) -> list[Lesson]:
        """Noise as the unedited model predicts it, guided where the edit is one of guidance."""
        base, words = unedited(self.model, self.edit, self.guidance_scale), self.model.encode(list(texts))
        seen = [Noisy(pictures, noise_of(draws, pictures), time) for time in times]
        return [Lesson(one, base(one, words).noise) for one in seen]

    def taught(self, pictures: Latents, draws: Draws, times: Sequence[int], texts: Sequence[str]) -> list[Lesson]:
        """Of an edit of guidance, guided predictions: their noise is none that was added."""
        if unedited(self.model, self.edit, self.guidance_scale).guided is None:
            return self.own(pictures, draws, times)
        return self.answered(pictures, draws, times, texts)


@dataclass(frozen=True, eq=False)
class OfTokens:
    """Lessons of a language model that writes pictures. They hold nothing random.

    Args:
        model: A Janus, without the edit.
        guidance_scale: As its pictures are drawn; the model's own if None.
    """

    model: Janus
    guidance_scale: float | None
    times: int = 1

    def own(self, pictures: Int64[Tensor, "rows tokens"], draws: Draws, times: Sequence[int]) -> list[Written]:
        """The tokens of the pictures."""
        return [Written(pictures, pictures)] * len(times)

    @torch.no_grad()
    def answered(
        self, pictures: Int64[Tensor, "rows tokens"], draws: Draws, times: Sequence[int], texts: Sequence[str]
    ) -> list[Written]:
        """What the unedited model holds for likely at each token."""
        told = Likelihood(self.model, self.guidance_scale).said(pictures, list(texts)).exp()
        return [Written(pictures, told)] * len(times)

    def taught(
        self, pictures: Int64[Tensor, "rows tokens"], draws: Draws, times: Sequence[int], texts: Sequence[str]
    ) -> list[Written]:
        """The tokens: what any edit does shows in how likely they are."""
        return self.own(pictures, draws, times)


def teacher_for(model: Model, edit: Change, guidance_scale: float | None) -> OfNoise | OfTokens:
    """Who makes the lessons of an attack.

    Args:
        model: The model, without the edit.
        edit: What is attacked.
        guidance_scale: As pictures are sampled; the model's own if None.
    """
    if isinstance(model, Janus):
        return OfTokens(model, guidance_scale)
    assert isinstance(model, Diffusion)  # which `applying` has seen to
    return OfNoise(model, edit, guidance_scale)


def noise_of(generators: Draws, like: Tensor) -> Tensor:
    """Standard normal noise for each row, each from its own generator."""
    drawn = [torch.randn(like.shape[1:], generator=one, dtype=like.dtype) for one in generators]
    return torch.stack(drawn).to(like.device)
