"""Latents as the denoiser knows them, where they have a mean and a deviation of each channel (Playground)."""

from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_pipelines import sdxl, vae
from workbench.concepts import Concept
from workbench.erasure.esd import ESD
from workbench.erasure.uce import UCE
from workbench.fitting.trajectories import ddim
from workbench.models import Diffusion, load
from workbench.models.diffusion.autoencoder import decode, encode

STATISTICS = {"latents_mean": [-1.6, 1.1, 2.5, 0.3], "latents_std": [8.4, 5.9, 6.2, 5.7], "scaling_factor": 0.5}


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SDXL with such latents, and a scheduler that scales what the denoiser gets and says."""
    folder = tmp_path_factory.mktemp("playground") / "pipeline"
    pipe = sdxl()
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)
    pipe.register_modules(vae=vae(force_upcast=True, **STATISTICS), scheduler=scheduler)
    pipe.save_pretrained(folder)
    (folder / "workbench.json").write_text('{"steps": 4, "guidance_scale": 5.0, "image_size": 32}')
    return folder


@pytest.fixture(scope="module")
def model(playground: Path) -> Diffusion:
    return load(playground, device="cpu")


def test_images_of_latents_are_the_pipelines_own(model: Diffusion, playground: Path) -> None:
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(playground, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    asked = {"prompt": "a fox", "num_inference_steps": 4, "height": 32, "width": 32}
    latents, right = (
        pipe(**asked, generator=torch.Generator().manual_seed(1), output_type=kind).images for kind in ("latent", "np")
    )
    np.testing.assert_allclose(model.images(latents).astype(float), right * 255, atol=1)


def test_latents_of_images_are_what_images_of_latents_undoes() -> None:
    plain, known = (vae(**more).eval() for more in ({}, STATISTICS))
    known.load_state_dict(plain.state_dict())
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    mean, deviation = (torch.tensor(STATISTICS[name])[:, None, None] for name in ("latents_mean", "latents_std"))
    raw = encode(plain, images) / plain.config.scaling_factor
    torch.testing.assert_close(encode(known, images), (raw - mean) * 0.5 / deviation)
    np.testing.assert_array_equal(decode(known, encode(known, images)), decode(plain, encode(plain, images)))


def test_what_needs_a_noise_schedule_is_refused_and_all_else_works(model: Diffusion) -> None:
    fox = [Concept("fox", anchor="cat")]
    with pytest.raises(WorkbenchError, match="EDMDPMSolverMultistepScheduler has no noise schedule"):
        ddim(model, 4)
    with pytest.raises(WorkbenchError, match="has no noise schedule"):
        model.predicted_noise(model.noise([1]), 500, model.encode("a fox"))
    with pytest.raises(WorkbenchError, match=r"ESD does not work on .* which has no noise schedule"):
        ESD().fit(model, fox)
    with model.edited(UCE().fit(model, fox)):
        assert model.generate("a fox", 1).any()
