"""What an edited model's sampler predicts for a prompt, with gradients to that prompt, through every kind of edit.

z_t is a picture x₀ with noise ε at timestep t, ε_e and E_e the denoiser and the text encoder with the edit in place.
    (1)  ε̂ = ε_e(z_t, t, E_e(p))                               edits of weights, layers and activations
    (2)  ε̂ = e_∅ + w (e_p − e_∅), as `workbench.attacks.guided`  edits of guidance and negative prompts
(1) is what published attacks differentiate. It does not see an edit of guidance, which joins predictions with and
without the prompt by a rule. The rule is told the number of the call that a sampler makes at t, and starts anew;
`history` lets it see that many noisier calls of the same picture before, so that its momentum is what it would be by
then. Predictions are noise, whatever the denoiser gives.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.attacks.gates import TreatedGates, Treatment
from workbench.attacks.guided import Guided
from workbench.attacks.likelihood import Likelihood
from workbench.edits import Edit
from workbench.models import Diffusion, Janus, Model, TokenEmbeddings, TokenIds
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.prediction import noised
from workbench.models.encoding import Encoding
from workbench.models.model import Change

MIDDLE = 500  # the timestep at which it is tried whether gradients pass


class Noisy(NamedTuple):
    """Pictures x₀, their noise ε, and the timestep of all."""

    x0: Latents
    noise: Latents
    timestep: int

    def latents(self, model: Diffusion) -> Latents:
        """z_t."""
        return noised(model.pipe.scheduler, self.x0, self.noise, self.timestep)


class Lesson(NamedTuple):
    """One gradient step: noisy pictures, a row for each prompt, and the noise that is to be seen in them."""

    seen: Noisy
    aim: Latents


class Reached(NamedTuple):
    """ε̂, and what the treatment of gates adds to the loss of each prompt."""

    noise: Latents
    overshoot: Float[Tensor, " rows"] | float


class Read(NamedTuple):
    """Encoded prompts, and what the treatment of gates adds to the loss of each."""

    encoding: Encoding
    overshoot: Float[Tensor, " rows"] | float


class Reach:
    """Asks the model as it is, with an edit in place. Made by `reaching`.

    Args:
        model: The model, in a block of `edited`.
        guidance_scale: w of (2); None for (1).
        gates: Those through which the edit is in place; None where it decides for itself.
        history: Calls that a rule of guidance sees before the one that counts.
    """

    def __init__(
        self, model: Diffusion, guidance_scale: float | None, gates: TreatedGates | None = None, history: int = 0
    ) -> None:
        self.model, self.gates, self.history = model, gates, history
        self.guided = None if guidance_scale is None else Guided(model, guidance_scale)

    def __call__(
        self,
        seen: Noisy,
        prompts: Sequence[str] | TokenIds | TokenEmbeddings | Encoding,
        branches: Sequence[float | None] = (None,),
    ) -> Reached:
        """ε̂ of a prompt for each picture.

        Args:
            seen: Pictures and noise, a row for each prompt.
            prompts: Gradients reach those that are embeddings. An encoding is taken as it is.
            branches: Which branch of a gate each is attacked in (`gates.BRANCHES`); None: the edit decides.
        """
        if self.gates is None:
            return Reached(self._predicted(seen, self._encoded(prompts)), 0.0)
        with self.gates.held(branches):
            encoding = self._encoded(prompts)
            self.gates.encoded(encoding)
            return Reached(self._predicted(seen, encoding), self.gates.overshoot())

    def losses(
        self,
        lesson: Lesson,
        prompts: Sequence[str] | TokenIds | TokenEmbeddings | Encoding,
        branches: Sequence[float | None] = (None,),
    ) -> Float[Tensor, " rows"]:
        """The mean squared error of the noise that each prompt sees, and what a held gate adds; as for a prediction."""
        answer = self(lesson.seen, prompts, branches)
        return (answer.noise - lesson.aim.to(answer.noise)).square().flatten(1).mean(dim=1) + answer.overshoot

    def read(self, prompts: TokenEmbeddings, branches: Sequence[float | None] = (None,)) -> Read:
        """Prompts through the text encoders alone; arguments as for a prediction."""
        if self.gates is None:
            return Read(self.model.encode(prompts), 0.0)
        with self.gates.held(branches):
            return Read(self.model.encode(prompts), self.gates.overshoot())

    def _encoded(self, prompts: Sequence[str] | TokenIds | TokenEmbeddings | Encoding) -> Encoding:
        """Embeddings that are those of ids whose text is known open what a prompt opens, as the text would."""
        if isinstance(prompts, Encoding):
            return prompts
        encoding = self.model.encode(prompts)
        if self.gates is None or not isinstance(prompts, TokenEmbeddings):
            return encoding
        return replace(encoding, prompts=tuple(self.model.texts(TokenIds(prompts.ids))))

    def _predicted(self, seen: Noisy, cond: Encoding) -> Latents:
        latents, t = seen.latents(self.model).to(self.model.device), seen.timestep
        if self.guided is None:
            return self.model.predicted_noise(latents, t, cond)  # (1)
        rules = self.guided.rules(self.model.defaults.steps)
        with torch.no_grad():
            for earlier in self._earlier(seen):
                self.guided(earlier.latents(self.model), earlier.timestep, cond, rules, self._call(earlier.timestep))
        return self.model.to_noise(self.guided(latents, t, cond, rules, self._call(t)), latents, t)  # (2)

    def _earlier(self, seen: Noisy) -> Iterator[Noisy]:
        last = self.model.pipe.scheduler.config.num_train_timesteps - 1
        for place in range(self.history):
            yield seen._replace(timestep=round(last - (last - seen.timestep) * place / self.history))

    def _call(self, timestep: int) -> int:
        """The number of the denoiser's call at a timestep, of those that make a picture."""
        length, steps = self.model.pipe.scheduler.config.num_train_timesteps, self.model.defaults.steps
        return min(steps - 1, int((1 - timestep / length) * steps))


@contextmanager
def reaching(
    model: Model, edit: Change, treatment: Treatment, *, guidance_scale: float | None = None, history: int = 0
) -> Iterator[Any]:
    """The edit in place, to be looked through: by a `Reach`, or by the `Likelihood` of a Janus.

    Args:
        model: SD1, SD2, SDXL or Janus.
        edit: Any.
        treatment: Of its gates, if it has some.
        guidance_scale: w of (2), or that of a Janus's own draws; the model's own if None.
        history: As for `Reach`.
    """
    decides = isinstance(edit, Edit) and edit.decides()
    gates = TreatedGates(treatment) if decides else None
    with model.edited(_Through(edit, gates) if decides else edit):  # type: ignore[arg-type]
        if isinstance(model, Janus):
            yield Likelihood(model, guidance_scale, gates)
        else:
            assert isinstance(model, Diffusion)  # which has been checked
            yield Reach(model, _scale(model, guidance_scale), gates, history)


def unedited(model: Diffusion, edit: Change, guidance_scale: float | None = None) -> Reach:
    """Asks the model without the edit for what an edit of guidance is compared with: (2) without rules, else (1).

    Args:
        model: The model, without the edit.
        edit: Put in place for a moment, to see whether it acts on guidance.
        guidance_scale: w of (2); the model's own if None.
    """
    with model.edited(edit):
        scale = _scale(model, guidance_scale)
    return Reach(model, scale)


def _scale(model: Diffusion, guidance_scale: float | None) -> float | None:
    """w where an edit in place acts on guidance, None where none does."""
    if not (model.guiding.guides or model.guiding.negatives):
        return None
    return model.defaults.guidance_scale if guidance_scale is None else guidance_scale


class _Through(NamedTuple):
    """An edit whose decisions are made by gates."""

    edit: Edit
    gates: TreatedGates

    def installed(self, model: Any) -> AbstractContextManager:
        return self.edit.installed_by(model, self.gates)


def check_reached(
    model: Model,
    edit: Change,
    prompt: str,
    what: str,
    treatment: Treatment,
    to: Literal["prompt", "start"] = "prompt",
) -> None:
    """Refuses what a white-box attack cannot work on, at the cost of one pass and back.

    Args:
        model: Any model.
        edit: Any.
        prompt: A prompt that will be attacked.
        what: The attack, as the subject of a sentence.
        treatment: Of the edit's gates.
        to: What the gradient is wanted for: the prompt's embeddings, or the noise that a picture starts from.

    Raises:
        WorkbenchError: No gradient comes back through the edit.
    """
    given = model.token_embeddings(prompt)
    embeddings = tuple(one.detach().requires_grad_(to == "prompt") for one in given.embeddings)
    with torch.enable_grad(), reaching(model, edit, treatment) as reach:
        answer, start = _answer(reach, TokenEmbeddings(given.ids, embeddings))
        leaves = embeddings if to == "prompt" else (start,)
        found = torch.autograd.grad(answer.square().sum(), leaves, allow_unused=True) if answer.requires_grad else ()
    if not any(one is not None and bool(one.isfinite().all()) and bool(one.any()) for one in found):
        raise WorkbenchError(
            f"{what} follows gradients, and through this edit none comes back to the {to}.",
            "Attack it by replay or noised, which need none.",
        )


def _answer(reach: Reach | Likelihood, prompts: TokenEmbeddings) -> tuple[Tensor, Tensor]:
    """What is said of some picture, and the start that a gradient may be wanted for."""
    if isinstance(reach, Likelihood):
        codes = torch.zeros(1, reach.model.pipe.cells, dtype=torch.int64)
        return reach.said(codes, prompts), codes
    noise = reach.model.noise([0]).to(reach.model.device, prompts.embeddings[0].dtype).requires_grad_()
    return reach(Noisy(torch.zeros_like(noise), noise, MIDDLE), prompts).noise, noise
