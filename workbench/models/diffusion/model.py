"""The handle on a diffusion pipeline: noise, latents, the denoiser, and guidance."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.models.architecture import Defaults
from workbench.models.diffusion import autoencoder, begun
from workbench.models.diffusion.architecture import DiffusionArchitecture, Latents, Reads
from workbench.models.diffusion.begun import Begun, beginning
from workbench.models.diffusion.guiding import Branch, Guiding, guided
from workbench.models.diffusion.prediction import Time, to_noise
from workbench.models.diffusion.sampling import draw
from workbench.models.encoding import Encoding, together
from workbench.models.images import Images, to_uint8
from workbench.models.model import Model
from workbench.models.one_pass import trace
from workbench.models.prompts import Given, as_prompts, joined, one_by_one
from workbench.models.provenance import Provenance
from workbench.models.requests import Request, pair

LARGEST_GUIDANCE = 1000


class Diffusion(Model):
    """A loaded diffusion pipeline: "sd1", "sd2", "sdxl", "sd3" or "flux". `pipe` is the diffusers pipeline itself.

    Gradients flow through `encode` and `noise_prediction` to whatever asks for them.
    """

    architecture: DiffusionArchitecture

    def __init__(
        self, name: str, architecture: DiffusionArchitecture, defaults: Defaults, provenance: Provenance
    ) -> None:
        super().__init__(name, architecture, defaults, provenance)
        self.guiding = Guiding()  # what edits in place do to guidance

    @property
    def settings(self) -> dict[str, bool | int | float | str]:
        """Steps, guidance and negative prompt, with their defaults."""
        scale = float(self.defaults.guidance_scale)
        return {"steps": self.defaults.steps, "guidance_scale": scale, "negative_prompt": ""}

    @torch.no_grad()
    def generate(  # type: ignore[override]  # its settings are named
        self,
        prompts: Given | Begun | Encoding,
        seeds: Any,
        *,
        guidance_scale: float | None = None,
        steps: int | None = None,
        negative_prompt: str = "",
        batch_size: int = 16,
        progress: Progress = SILENT,
    ) -> Images:
        """Images of the prompts. One prompt goes with all seeds, one seed with all prompts; else their numbers match.

        An image depends on its own prompt and seed alone, not on the batch that it is made in, up to one grey level:
        its noise is drawn on the CPU from its own generator.

        Args:
            prompts: Texts, token ids or token embeddings; `Begun`, these with starts of their own in the place of the
                seeds' noise; or an `Encoding`. A text beyond the token limit is cut with a warning.
            seeds: Whole numbers 0 … 2⁶³ − 1, one or a sequence, of Python's, NumPy's or torch's.
            guidance_scale: 1 or less leaves the unconditional rows out.
            steps: 1 up to the length of the training schedule.
            negative_prompt: Takes the place of the empty prompt.
            batch_size: Images at once.
            progress: Shows the batches.

        Returns:
            uint8 `[images, height, width, 3]`.

        Raises:
            WorkbenchError: For no prompts, numbers that do not match or lie outside these ranges, a negative prompt
                where the model has no unconditional rows, an edit of guidance where there is none, and pictures that
                come out as NaN.
        """
        if batch_size < 1:
            raise WorkbenchError(f"A batch of {batch_size} images cannot be made.", "Choose a batch_size of 1 or more.")
        rows = prompts.rows() if isinstance(prompts, Begun | Encoding) else one_by_one(as_prompts(prompts))
        requests = pair(rows, seeds)
        scale = self.defaults.guidance_scale if guidance_scale is None else guidance_scale
        steps = self.defaults.steps if steps is None else steps
        self._check_sampling(scale, steps)
        self.guiding.check(scale)
        uncond = self._uncond(self.guiding.negative_prompt(negative_prompt), scale)
        branches = self._branches() if uncond else []
        batches = [requests[start : start + batch_size] for start in range(0, len(requests), batch_size)]
        return np.concatenate(
            [self._batch(batch, uncond, branches, scale, steps) for batch in progress(batches, "images")]
        )

    def _uncond(self, negative_prompt: str, guidance_scale: float) -> Encoding | None:
        if not self.architecture.guides_within:
            return self.encode(negative_prompt, role="uncond") if guidance_scale > 1 else None
        if negative_prompt:
            raise WorkbenchError(
                f"{self.name} is guided without unconditional rows, so a negative prompt has no effect on it.",
                "Leave the negative prompt out.",
            )
        return None

    def _branches(self) -> list[Branch]:
        """The guides in place, their texts encoded where no recorder sees it."""
        with self.wiring.calls.aside():
            return [
                Branch(begin, None if prompt is None else self.encode(prompt, role="uncond"))
                for begin, prompt in self.guiding.guides
            ]

    def noise_prediction(self, latents: Latents, timestep: int | float | Tensor, encoding: Encoding) -> Latents:
        """The denoiser's raw output, without guidance, for latents as it sees them, at one timestep (0 … 1000) for all
        rows, or one for each. A denoiser that guides within is told the model's own scale.

        What it predicts (noise, v, or a velocity) depends on the model; `to_noise` turns it into noise. An encoding
        of one row stands for all latents. Edits in place that ask for the time of a call, such as SAeUron's, are called
        once for each row where the times differ.
        """
        rows = encoding.expand(latents.shape[0])
        latents = latents.to(self.device, rows.embeddings.dtype)
        time = torch.as_tensor(timestep, device=self.device)
        if self.is_edited and self.wiring.calls.has_followers and (time.flatten() != time.flatten()[0]).any():
            each = zip(latents.split(1), time, rows.rows(), strict=True)
            return torch.cat([self.noise_prediction(*one) for one in each])
        with self.wiring.calls.announced("image", rows.roles, rows.prompts):
            return self.architecture.predict(latents, time, rows, float(self.defaults.guidance_scale))

    def to_noise(self, prediction: Latents, latents: Latents, timestep: Time) -> Latents:
        """The noise that a raw prediction stands for. Methods that work with noise go through this."""
        return to_noise(self.pipe.scheduler, prediction, latents, timestep)

    def predicted_noise(self, latents: Latents, timestep: Time, encoding: Encoding) -> Latents:
        """The noise that the model sees in the latents, whatever its denoiser is trained to predict."""
        return self.to_noise(self.noise_prediction(latents, timestep, encoding), latents, timestep)

    def latents(self, images: Images) -> Latents:
        """The autoencoder's mean latents of images, scaled as the denoiser knows them."""
        return autoencoder.encode(self.pipe.vae, images)

    def images(self, latents: Latents) -> Images:
        """Images of latents, by the autoencoder. Raises `WorkbenchError` for latents that give NaN."""
        return autoencoder.decode(self.pipe.vae, latents)

    def noise(self, seeds: Sequence[int]) -> Latents:
        """The latents that `generate` starts from, one for each seed: standard normal, float32, on the CPU."""
        size = self.image_size // self.pipe.vae_scale_factor
        return draw(seeds, (self.architecture.latent_channels, size, size))[0]

    def prompt_maps(self, reads: Reads = "embeddings") -> dict[str, nn.Parameter]:
        """Weights `[out, d]` that are applied to encoded prompts as they are, by name.

        For SD1, SD2 and SDXL the keys and values of every cross-attention; for SD3 and Flux, whose blocks attend
        jointly, the one map that lifts tokens (or, with "pooled", the pooled embedding) into the transformer.
        """
        return self.architecture.prompt_maps(reads)

    def trace(self, prompts: str | Sequence[str], latents: Latents | None = None, timestep: int | float = 1000) -> Any:
        """Opens nnsight on one pass of the model: prompts are encoded and noise is predicted once, with gradients.

            with model.trace("a photo of a fox") as look:
                words = look.with_gradient("text.2").save()
                predicted = look["unet.out"].norm().save()
            torch.autograd.grad(predicted, words)

        `look[alias]` reads and replaces sites. The latents are noise with the row's number as its seed unless given.
        See `workbench.models.one_pass` for what nnsight asks of the block. Raises `WorkbenchError` where nnsight is
        missing, in a trace within a trace, for sites out of order, and for a block that is no literal `with`.
        """
        rows = [prompts] if isinstance(prompts, str) else list(prompts)
        latents = self.noise(range(len(rows))) if latents is None else latents
        return trace(self, self._one_pass, rows, latents, min(timestep, 999))

    def _one_pass(self, prompts: Sequence[str], latents: Latents, timestep: int | float) -> Latents:
        return self.noise_prediction(latents, timestep, self.encode(prompts))

    def _check_sampling(self, guidance_scale: float, steps: int) -> None:
        if not abs(guidance_scale) <= LARGEST_GUIDANCE:
            raise WorkbenchError(
                f"A guidance scale of {guidance_scale} makes no picture.",
                f"Choose one between -{LARGEST_GUIDANCE} and {LARGEST_GUIDANCE}; the model's default is "
                f"{self.defaults.guidance_scale:g}.",
            )
        longest = self.pipe.scheduler.config.num_train_timesteps
        if not 1 <= steps <= longest:
            raise WorkbenchError(f"{steps} steps cannot be made.", f"Choose 1 to {longest}.")

    def _batch(
        self,
        requests: Sequence[Request],
        uncond: Encoding | None,
        branches: Sequence[Branch],
        guidance_scale: float,
        steps: int,
    ) -> Images:
        """One batch through the pipeline, its rows announced in the order in which the pipeline joins them."""
        given = [one.prompt for one in requests]
        start = begun.together(given) if isinstance(given[0], Begun) else None
        cond = self._encoded(given if start is None else one_by_one(as_prompts(start.prompts)))
        uncond = uncond.expand(len(requests)) if uncond else None
        size = self.image_size // self.pipe.vae_scale_factor
        noise, generators = draw([one.seed for one in requests], (self.architecture.latent_channels, size, size))
        latents = self._packed(noise, start).to(self.device, cond.embeddings.dtype)
        roles = (*(uncond.roles if uncond else ()), *cond.roles)
        texts = cond.prompts
        pictures = None if texts is None else texts * (2 if uncond else 1)  # both branches are of the same pictures
        surgery = guided(self.wiring, self.architecture.denoiser.path, branches, len(requests), steps)
        calls = self.wiring.calls.announced("image", roles, pictures, lambda: len(self.pipe.scheduler.timesteps))
        whole = autoencoder.sliced(self.pipe.vae, len(requests) * self.image_size**2)
        cut = beginning(self.architecture, start, latents) if start else nullcontext()
        with calls, whole, cut, surgery if branches else nullcontext():
            pixels = self.pipe(
                **self.architecture.prompt_arguments(cond, uncond),
                latents=latents, generator=generators, guidance_scale=guidance_scale, num_inference_steps=steps,
                height=self.image_size, width=self.image_size, output_type="np",
            ).images  # fmt: skip
        return to_uint8(pixels, cond.embeddings.dtype)

    def _encoded(self, given: Sequence[Any]) -> Encoding:
        """The prompts of a batch, each of one row, as the denoiser gets them."""
        if not isinstance(given[0], Encoding):
            return self.encode(joined(given))
        whole = together(given)
        pooled = None if whole.pooled is None else whole.pooled.to(self.device)
        return replace(whole, embeddings=whole.embeddings.to(self.device), pooled=pooled)

    def _packed(self, noise: Latents, start: Begun | None) -> Tensor:
        """The noise of the seeds, or that of a start, as the pipeline takes it."""
        if start is not None and start.noise.shape != noise.shape:
            raise WorkbenchError(
                f"Starts of shape {tuple(start.noise.shape)} were given, and {self.name} begins with "
                f"{tuple(noise.shape)}.",
                "Take noise from model.noise(seeds), and latents from model.latents(images).",
            )
        return self.architecture.pack(noise if start is None else start.noise)


def as_diffusion(model: Model, what: str) -> Diffusion:
    """The model, which is a diffusion pipeline. Raises `WorkbenchError` if it is none; `what` is what needs one."""
    if not isinstance(model, Diffusion):
        raise WorkbenchError(f"{what} needs a diffusion model, and {model.name} is none.", "Choose another model.")
    return model
