"""The recipe of the embedded model, stage by stage. Each stage reads what earlier ones left in the folder, can be
killed, and goes on where it stopped; a finished stage costs a second."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

import saes
from saes.calibration import moments
from saes.disk import read_json, read_tensors, write_json, write_tensors
from saes.errors import unknown_name
from saes.progress import SILENT, Progress
from workbench.activations.harvest import harvest
from workbench.activations.substitution import measure_substitution
from workbench.models import Diffusion, load
from workbench.models.diffusion.model import as_diffusion
from workbench.toy import report, tokenizer
from workbench.toy.captions import sample
from workbench.toy.guidance import guidance_curve
from workbench.toy.oracle import Oracle
from workbench.toy.recipe import (
    autoencoder,
    clip,
    dataset,
    diffusion,
    export,
    image_adapter,
    image_figures,
    janus_stages,
    judging,
    recogniser,
)
from workbench.toy.recipe.loop import Schedule, averaged
from workbench.toy.render import render
from workbench.toy.scenes import random_scene

N_CHUNKS = 48  # thousands of rendered pictures
N_JUDGED = 24_000  # pictures that the oracle learns from
N_RECOGNISED = 16_000  # and the classifier that denoiser and image encoder are aligned with
RELATIVES = ("descendant", "sibling")
SAES = {  # site → prompts to harvest, and the training
    "text.2": (4000, saes.SAEConfig(d_sae=1024, k=16, samples=300_000, prune=True)),
    "unet.up.0.0": (400, saes.SAEConfig(d_sae=1024, k=32, samples=700_000, prune=True)),
    "unet.up.1.0": (200, saes.SAEConfig(d_sae=512, k=32, samples=700_000, prune=True)),
}
SCHEDULES = {
    "autoencoder": Schedule(steps=2200, lr=1e-3),
    "decoder": Schedule(steps=1000, lr=5e-4),
    "oracle": Schedule(steps=5000, lr=1.5e-3),
    "recogniser": Schedule(steps=900, lr=1.5e-3),
    "diffusion": Schedule(steps=8000, lr=9e-4),
    "loose": Schedule(steps=2800, lr=5e-4),
    "descendant": Schedule(steps=800, lr=4e-4),
    "sibling": Schedule(steps=2400, lr=9e-4),
    "image_encoder": Schedule(steps=1600, lr=1e-3),
    "image_adapter": Schedule(steps=178, lr=1e-3, warmup=30, decay=0.0),  # few: it starts near its end
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
    denoise(folder, "diffusion", progress)


def loosen(folder: Path, progress: Progress = SILENT) -> None:
    """Goes on with loose captions, so that guidance matters."""
    denoise(folder, "loose", progress, seed=3, start=averaged(folder / "diffusion"), loose=True)


def train_relatives(folder: Path, progress: Progress = SILENT) -> None:
    """Two other models of the same architecture, for edits that claim to transfer: one that went on training from the
    shipped one, as community models do, and one trained for itself, from other weights on other batches."""
    denoise(folder, "descendant", progress, seed=2, start=averaged(folder / "loose"), loose=True)
    denoise(folder, "sibling", progress, seed=1)
    vae = AutoencoderKL.from_pretrained(newest_autoencoder(folder)).eval()
    for name in RELATIVES:
        export.pipeline(tokenizer.build(folder / "tokenizer"), vae, folder / name, shipped(folder) / name)


def denoise(folder: Path, name: str, progress: Progress, **how: Any) -> None:
    """Trains text encoder and denoiser in the folder `name`, by the schedule of that name."""
    images, captions = pictures(folder, progress)
    latents = read_tensors(folder / "latents.safetensors")
    net = recogniser.trained(folder / "recogniser")
    diffusion.train(
        tokenizer.build(folder / "tokenizer"), captions, images, latents["means"], latents["stds"],
        lambda shown: recogniser.seen(net, shown), folder / name, SCHEDULES[name], device(), progress, **how,
    )  # fmt: skip


def tune_decoder(folder: Path, progress: Progress = SILENT) -> None:
    images, _ = pictures(folder, progress)
    latents = read_tensors(folder / "latents.safetensors")["means"]
    model = AutoencoderKL.from_pretrained(folder / "autoencoder" / "vae").to(
        device(), memory_format=torch.channels_last
    )
    model = autoencoder.tune_decoder(
        model, images, latents, folder / "decoder", SCHEDULES["decoder"], device(), progress
    )
    print(f"tuned decoder: {autoencoder.psnr(model, images[:256], device()):.2f} dB")
    model.save_pretrained(folder / "decoder" / "vae")


def train_oracle(folder: Path, progress: Progress = SILENT) -> None:
    vae = AutoencoderKL.from_pretrained(newest_autoencoder(folder)).eval()
    net = judging.train(folder / "judging", vae, SCHEDULES["oracle"], N_JUDGED, progress)
    temperature = judging.calibrate(net, judging.labelled(2000, 500, progress=progress))
    judging.save(net, temperature, shipped(folder) / "oracle")
    write_json(
        folder / "judging" / "figures.json", judging.test(Oracle.load(shipped(folder) / "oracle"), vae, progress)
    )


def train_recogniser(folder: Path, progress: Progress = SILENT) -> None:
    recogniser.train(folder / "recogniser", SCHEDULES["recogniser"], N_RECOGNISED, progress)


def train_clip(folder: Path, progress: Progress = SILENT) -> None:
    clip.make(folder, newest_autoencoder(folder), shipped(folder) / "clip", device(), progress)
    export.card_again(shipped(folder))


def newest_autoencoder(folder: Path) -> Path:
    """With the tuned decoder, if it is there already."""
    tuned = folder / "decoder" / "vae"
    return tuned if tuned.exists() else folder / "autoencoder" / "vae"


def export_pipeline(folder: Path, progress: Progress = SILENT) -> None:
    vae = AutoencoderKL.from_pretrained(newest_autoencoder(folder)).eval()
    export.pipeline(tokenizer.build(folder / "tokenizer"), vae, folder / "loose", shipped(folder) / "pipeline")


def train_saes(folder: Path, progress: Progress = SILENT) -> None:
    """One SAE at the text site of ItD, two at outputs of blocks of the UNet that carry what a prompt asks for."""
    model = load(shipped(folder) / "pipeline")
    rng = np.random.default_rng(1)
    prompts = [sample(rng, "train").caption for _ in range(max(n for n, _ in SAES.values()))]
    for site, (n, config) in SAES.items():
        store = harvest(model, prompts[:n], [site], folder / "stores" / site, seed=1, progress=progress)
        saes.train(store, site, config, shipped(folder) / "saes" / site, progress=progress)


def train_image_encoder(folder: Path, progress: Progress = SILENT) -> None:
    images, captions = pictures(folder, progress)
    ids = diffusion.tokens(tokenizer.build(folder / "tokenizer"), captions)
    rows = image_adapter.caption_rows(text_encoder_of(folder), ids, progress)
    net = recogniser.trained(folder / "recogniser")
    image_adapter.train_encoder(
        images, rows, lambda shown: recogniser.seen(net, shown), folder / "image_encoder", SCHEDULES["image_encoder"],
        device(), progress,
    )  # fmt: skip


def train_image_adapter(folder: Path, progress: Progress = SILENT) -> None:
    """The adapter is shipped with its figures; a card that is there already is written again."""
    images, captions = pictures(folder, progress)
    words = tokenizer.build(folder / "tokenizer")
    latents = read_tensors(folder / "latents.safetensors")
    unet = UNet2DConditionModel.from_pretrained(shipped(folder) / "pipeline" / "unet").float()
    text_encoder, matching = text_encoder_of(folder), image_adapter.Matching(diffusion.TEXT_WIDTH)
    matching.load_state_dict(averaged(folder / "image_encoder"))
    adapter = image_adapter.train_adapter(
        unet.to(memory_format=torch.channels_last), text_encoder, matching.eval().encoder, images,
        diffusion.tokens(words, captions), diffusion.tokens(words, [""]), latents["means"], latents["stds"],
        folder / "image_adapter", SCHEDULES["image_adapter"], device(), progress,
    )  # fmt: skip
    home = shipped(folder) / "image_adapter"
    rows = image_figures.retrieval(matching.cpu(), text_encoder.cpu(), words)
    image_figures.export(matching, adapter, home)
    oracle = Oracle.load(shipped(folder) / "oracle")
    model = as_diffusion(load(shipped(folder) / "pipeline"), "The image adapter")
    image_figures.write(home, rows + image_figures.carried(model, home, oracle, progress))
    export.card_again(shipped(folder))


def text_encoder_of(folder: Path) -> CLIPTextModel:
    return CLIPTextModel.from_pretrained(shipped(folder) / "pipeline" / "text_encoder").float().eval()


def write_card(folder: Path, progress: Progress = SILENT) -> None:
    """Measures the model and writes down what was found beside the weights."""
    weights = shipped(folder)
    model, oracle = as_diffusion(load(weights / "pipeline"), "The card"), Oracle.load(weights / "oracle")
    rows, images = report.figures(model, oracle, progress=progress)
    report.contact_sheet(images, [one.group for one in report.questions(150)], weights / "sheet.png")
    fresh = np.stack([render(random_scene(np.random.default_rng([31, i]))).image for i in range(256)])
    sae_facts = {site: export.sae_facts(weights / "saes" / site) | recovered(folder, model, site) for site in SAES}
    curve = guidance_curve(model, oracle, progress=progress).to_dict("records")
    export.card(
        weights, rows, curve, sae_facts,
        read_json(folder / "judging" / "figures.json"), autoencoder.psnr(model.pipe.vae, fresh, "cpu"),
    )  # fmt: skip


def recovered(folder: Path, model: Diffusion, site: str) -> dict[str, float]:
    """Share of the denoising loss that the SAE's reconstruction recovers against the mean of its data, and how far
    pictures move under either."""
    sae = saes.load(shipped(folder) / "saes" / site)
    mean, _ = moments(saes.ActivationStore.open(folder / "stores" / site).batches(site, 1024, seed=0))
    rng = np.random.default_rng(3)
    examples = [sample(rng, "held_out") for _ in range(64)]
    images = np.stack([render(one.scene).image for one in examples])
    found = measure_substitution(model, sae, site, mean, [one.caption for one in examples], images=images)
    moved = {f"pictures move, {name}": found.image_distance[name] for name in ("substituted", "ablated")}
    return {"loss_recovered": found.losses.recovered, **moved}


def shipped(folder: Path) -> Path:
    """What `workbench/toy/weights` is a copy of."""
    return folder / "weights"


STAGES: dict[str, Callable[[Path, Progress], None]] = {
    "autoencoder": train_autoencoder,
    "encode": encode,
    "decoder": tune_decoder,
    "oracle": train_oracle,
    "recogniser": train_recogniser,
    "clip": train_clip,
    "diffusion": train_diffusion,
    "loose": loosen,
    "export": export_pipeline,
    "relatives": train_relatives,
    "saes": train_saes,
    "image_encoder": train_image_encoder,
    "image_adapter": train_image_adapter,
    "card": write_card,
    **janus_stages.STAGES,
}


def train(out_dir: Path, stages: Sequence[str] | None = None, *, progress: Progress = SILENT) -> None:
    """Runs the named stages in order, all of them if none is named. Repeated after a kill, it goes on where it stopped.

    Raises `WorkbenchError` for an unknown stage, before any work.
    """
    known = STAGES | janus_stages.BEGINNINGS
    for name in stages or ():
        if name not in known:
            raise unknown_name("stage of the recipe", name, known)
    out_dir.mkdir(parents=True, exist_ok=True)
    for name in stages or STAGES:
        known[name](out_dir, progress)
