"""The recipe of the embedded model, stage by stage. Each stage reads what earlier ones left in the folder, can be killed,
and goes on where it stopped; a finished stage costs a second."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from saes.disk import read_tensors, write_tensors
from saes.progress import SILENT, Progress
from workbench.toy import tokenizer
from workbench.toy.recipe import autoencoder, dataset, diffusion
from workbench.toy.recipe.loop import Schedule

N_CHUNKS = 48  # thousands of rendered pictures
SCHEDULES = {
    "autoencoder": Schedule(steps=1600, lr=8e-4),
    "decoder": Schedule(steps=1200, lr=4e-4),
    "diffusion": Schedule(steps=12000, lr=8e-4, ema=0.9995),
}


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def pictures(folder: Path, progress: Progress) -> tuple[np.ndarray, list[str]]:
    dataset.render_all(folder / "data", N_CHUNKS, progress)
    return dataset.load(folder / "data")


def train_autoencoder(folder: Path, progress: Progress = SILENT) -> None:
    images, _ = pictures(folder, progress)
    model = autoencoder.train(images, folder / "autoencoder", SCHEDULES["autoencoder"], device(), progress)
    print(f"autoencoder: {autoencoder.psnr(model, images[:256], device()):.2f} dB")
    model.save_pretrained(folder / "autoencoder" / "vae")


def encode(folder: Path, progress: Progress = SILENT) -> None:
    images, _ = pictures(folder, progress)
    model = AutoencoderKL.from_pretrained(folder / "autoencoder" / "vae").to(device()).eval()
    means, stds = autoencoder.encode_all(model, images, device(), progress)
    write_tensors(folder / "latents.safetensors", {"means": means, "stds": stds})


def train_diffusion(folder: Path, progress: Progress = SILENT) -> None:
    _, captions = dataset.load(folder / "data")
    latents = read_tensors(folder / "latents.safetensors")
    words = tokenizer.build(folder / "tokenizer")
    diffusion.train(
        words, captions, latents["means"], latents["stds"], folder / "diffusion", SCHEDULES["diffusion"], device(), progress
    )


def tune_decoder(folder: Path, progress: Progress = SILENT) -> None:
    images, _ = pictures(folder, progress)
    latents = read_tensors(folder / "latents.safetensors")["means"]
    model = AutoencoderKL.from_pretrained(folder / "autoencoder" / "vae").to(device(), memory_format=torch.channels_last)
    model = autoencoder.tune_decoder(model, images, latents, folder / "decoder", SCHEDULES["decoder"], device(), progress)
    print(f"tuned decoder: {autoencoder.psnr(model, images[:256], device()):.2f} dB")
    model.save_pretrained(folder / "decoder" / "vae")


STAGES: dict[str, Callable[[Path, Progress], None]] = {
    "autoencoder": train_autoencoder,
    "encode": encode,
    "diffusion": train_diffusion,
    "decoder": tune_decoder,
}


def run(folder: Path, names: list[str], progress: Progress = SILENT) -> None:
    """Runs the named stages in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        STAGES[name](folder, progress)
