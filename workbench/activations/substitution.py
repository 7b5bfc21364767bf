"""What the model loses when a site holds an SAE's reconstruction instead of its own activations.

    (1)  x_t = √ᾱ x₀ + √(1−ᾱ) ε      diffusion;      x_t = (1−σ) x₀ + σ ε      rectified flow
    (2)  loss = E‖ε − ε_θ(x_t, t, prompt)‖²
Measured with the site as it is, with the reconstruction, and with the mean of the data in its place; `saes.metrics`
makes the share recovered of the three. Beside the loss stands how far the finished pictures move at equal seeds,
because a text site can leave the loss alone and still change what is in the picture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError, check_at_least
from saes.files import SAE, check_rebuilds, check_width
from saes.metrics import SubstitutionLosses, losses_of_several, substitution_losses
from workbench.hooks import Clock, Session, Site, SiteEdit
from workbench.models import Diffusion, Model
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.model import as_diffusion
from workbench.models.diffusion.prediction import noised, to_noise
from workbench.models.images import Images

Replace = Callable[[Tensor], Tensor]
CONDITIONS = ("clean", "substituted", "ablated")


@dataclass(frozen=True)
class Substitution:
    """Losses over all timesteps, the loss at each timestep (0 … 1000) by condition, and how far pictures move.

    `image_distance[condition]` is the mean over pictures of the root-mean-square difference from the clean picture of
    the same seed, in [0, 1].
    """

    losses: SubstitutionLosses
    timesteps: tuple[float, ...]
    curves: dict[str, tuple[float, ...]]
    image_distance: dict[str, float]


@torch.no_grad()
def measure_substitution(
    model: Model,
    sae: SAE,
    site: str,
    mean: Float[Tensor, " d"],
    prompts: Sequence[str],
    *,
    images: Images | None = None,
    n_timesteps: int = 8,
    seed: int = 0,
    batch_size: int = 16,
) -> Substitution:
    """Substitutes at one site, for conditional rows, which are what SAEs are trained on.

    `mean` is the mean of the training rows. `images` are true pictures of the prompts, one each; without them, the
    model's own are taken. Raises `WorkbenchError` for a model that does not denoise (`fidelity` measures the
    others), for an SAE of another width, for a coder that rebuilds no site, and if the ablation changes nothing.
    """
    model = as_diffusion(model, "The denoising loss")
    place = model.site(site)
    check_rebuilds(sae)
    check_width(sae, place.channels, site)
    seeds = [seed + index for index in range(len(prompts))]
    timesteps = _middles(n_timesteps)
    clean = model.generate(list(prompts), seeds, batch_size=batch_size)
    latents = _latents(model, prompts, clean if images is None else images)
    pictures, curves = [], []

    def loss_with(replace: Replace | None) -> float:
        with _session(model, place, replace):
            curves.append(_curve(model, prompts, latents, model.noise(seeds), timesteps, batch_size))
            pictures.append(model.generate(list(prompts), seeds, batch_size=batch_size) if replace else clean)
        return sum(curves[-1]) / n_timesteps

    return Substitution(
        losses=substitution_losses(sae, mean, loss_with),
        timesteps=timesteps,
        curves=dict(zip(CONDITIONS, curves, strict=True)),
        image_distance={name: distance(clean, moved) for name, moved in zip(CONDITIONS, pictures, strict=True)},
    )


@torch.no_grad()
def several_losses(
    model: Diffusion,
    saes: Mapping[str, SAE],
    site: str,
    mean: Float[Tensor, " d"],
    prompts: Sequence[str],
    images: Images,
    *,
    n_timesteps: int = 8,
    seed: int = 0,
    batch_size: int = 16,
) -> dict[str, SubstitutionLosses]:
    """The losses of `measure_substitution` for several SAEs of one site, without the pictures, which cost most."""
    place = model.site(site)
    for sae in saes.values():
        check_rebuilds(sae)
        check_width(sae, place.channels, site)
    timesteps, latents = _middles(n_timesteps), _latents(model, prompts, images)
    noise = model.noise([seed + index for index in range(len(prompts))])

    def loss_with(replace: Replace | None) -> float:
        with _session(model, place, replace):
            return sum(_curve(model, prompts, latents, noise, timesteps, batch_size)) / n_timesteps

    return losses_of_several(saes, mean, loss_with)


def _middles(n: int) -> tuple[float, ...]:
    """The middles of n equal parts of the schedule: at its very ends the loss is trivial."""
    check_at_least(1, n_timesteps=n)
    return tuple(1000 * (number + 0.5) / n for number in range(n))


def _latents(model: Diffusion, prompts: Sequence[str], images: Images) -> Latents:
    if len(images) != len(prompts):
        raise WorkbenchError(f"There are {len(prompts)} prompts and {len(images)} images.", "Give an image for each.")
    return model.latents(images)


def _session(model: Diffusion, site: Site, replace: Replace | None) -> Session:
    def transform(activation: Tensor, clock: Clock) -> Tensor:
        assert replace is not None
        return torch.where(clock.mask("cond")[:, None, None], replace(activation), activation)

    return model.session(edits=[SiteEdit(site, transform)] if replace else [])


def _curve(
    model: Diffusion,
    prompts: Sequence[str],
    latents: Latents,
    noise: Latents,
    timesteps: Sequence[float],
    batch_size: int,
) -> tuple[float, ...]:
    """The loss (2) at each timestep, over all prompts."""
    totals = [0.0] * len(timesteps)
    for start in range(0, len(prompts), batch_size):
        part = slice(start, start + batch_size)
        encoding = model.encode(list(prompts[part]))
        epsilon = noise[part].to(latents)
        for number, timestep in enumerate(timesteps):
            noisy = noised(model.pipe.scheduler, latents[part], epsilon, timestep)
            prediction = model.noise_prediction(noisy, timestep, encoding).to(latents)
            error = to_noise(model.pipe.scheduler, prediction, noisy, timestep) - epsilon
            totals[number] += float(error.square().flatten(1).mean(1).sum())
    return tuple(total / len(prompts) for total in totals)


def distance(images: Images, others: Images) -> float:
    """Mean over pictures of the root-mean-square difference, in [0, 1]."""
    squares = ((images.astype(np.float64) - others) / 255) ** 2
    return float(np.sqrt(squares.mean(axis=(1, 2, 3))).mean())
