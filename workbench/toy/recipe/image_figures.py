"""What the toy's image encoder and adapter were measured to do: tell pictures apart, and carry them into new ones."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from saes.disk import sha256_of, write_json, write_tensors
from saes.progress import SILENT, Progress
from workbench.fitting.trajectories import ddim
from workbench.models import Diffusion
from workbench.models.diffusion.image_prompt import ENCODER, Adapter, ImagePrompt
from workbench.models.images import Images
from workbench.toy.captions import Example, examples
from workbench.toy.oracle import KINDS, Oracle
from workbench.toy.recipe.diffusion import tokens
from workbench.toy.recipe.image_adapter import Matching, caption_rows, new_processor, pixel_values
from workbench.toy.recipe.judging import row
from workbench.toy.render import render
from workbench.toy.scenes import Scene
from workbench.toy.world import ARTISTS, THINGS

WEIGHTS = "ip_adapter.safetensors"
EACH = 6  # pictures of each of the 20 things and artists
BATCH = 30


def export(matching: Matching, adapter: Adapter, folder: Path) -> None:
    """Writes the layout that diffusers' `load_ip_adapter` reads, in fp16."""
    matching.encoder.half().save_pretrained(folder / ENCODER)
    new_processor().save_pretrained(folder / ENCODER)
    write_tensors(folder / WEIGHTS, {name: one.half().contiguous() for name, one in adapter.official().items()})


@torch.no_grad()
def retrieval(matching: Matching, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, n: int = 1200) -> list[dict]:
    """Shares of held-out pictures for which the caption that names what they show is nearer than all others of its
    kind: 14 things, 6 artists."""
    held_out = [one for one in examples(n, seed=77, split="held_out") if len(one.scene.objects) == 1]
    rows = []
    for kind, template, names in (
        ("thing of 14", "a picture of a {}", list(THINGS)), ("artist of 6", "a painting by {}", list(ARTISTS))
    ):  # fmt: skip
        asked = [one for one in held_out if kind.startswith("thing") or one.scene.artist]
        words = caption_rows(text_encoder, tokens(tokenizer, [template.format(name) for name in names]))
        found = torch.cat([matching(pixels, words)[0].argmax(1) for pixels in pixels_of(asked)])
        truth = [names.index(shown(one.scene) if "thing" in kind else one.scene.artist) for one in asked]
        rows.append(row("held out", f"picture → {kind}", found.numpy() == np.array(truth)))
    return rows


def shown(scene: Scene) -> str:
    return scene.objects[0].thing


def pixels_of(asked: list[Example]) -> list[Tensor]:
    images = np.stack([render(one.scene).image for one in asked])
    return [pixel_values(images[start : start + 100]) for start in range(0, len(images), 100)]


def carried(model: Diffusion, folder: Path, oracle: Oracle, progress: Progress = SILENT) -> list[dict]:
    """With the empty prompt and a picture of a concept: in which share of the pictures the oracle finds that concept.

    Controls: pictures made with a picture of the concept's relative, and with none.
    """
    names = [*THINGS, *ARTISTS]
    made = generated(model, ImagePrompt.open(folder, model), pictures_of(names), progress)
    alone = model.generate("", range(2 * BATCH), batch_size=BATCH, progress=progress)
    found, without = (oracle.score(images).present >= oracle.threshold for images in (made, alone))
    rows = []
    for what, group in (("things", list(THINGS)), ("artists", list(ARTISTS))):
        own, other = [], []
        for name in group:
            relative = (THINGS | ARTISTS)[name].relative  # type: ignore[operator]
            column, here, there = list(KINDS).index(name), names.index(name), names.index(relative)
            own.append(found[here * EACH : (here + 1) * EACH, column])
            other.append(found[there * EACH : (there + 1) * EACH, column])
        columns = [list(KINDS).index(name) for name in group]
        rows.append(row("empty prompt", f"{what}: with its picture", np.concatenate(own)))
        rows.append(row("empty prompt", f"{what}: with its relative's picture", np.concatenate(other)))
        rows.append(row("empty prompt", f"{what}: with no picture", without[:, columns].ravel()))
    return rows


def pictures_of(names: list[str]) -> Images:
    """`EACH` fresh pictures of every thing, plain, and of every artist, in this order.

    Not only held-out combinations: some things have none without a style.
    """
    scenes = [one.scene for one in examples(4000, seed=78) if len(one.scene.objects) == 1]
    plain = [scene for scene in scenes if not (scene.artist or scene.slime or scene.marks)]
    chosen = [
        scene
        for name in names
        for scene in [one for one in (scenes if name in ARTISTS else plain) if name in (one.artist, shown(one))][:EACH]
    ]
    assert len(chosen) == EACH * len(names)
    return np.stack([render(scene).image for scene in chosen])


@torch.no_grad()
def generated(model: Diffusion, prompter: ImagePrompt, images: Images, progress: Progress = SILENT) -> Images:
    """A new picture for each image, of the empty prompt, guided away from no image."""
    scheduler, none, parts = ddim(model, model.defaults.steps), model.encode("", role="uncond"), []
    with prompter.attached(model) as beside:
        for start in progress(range(0, len(images), BATCH), "pictures from pictures"):
            r = prompter.tokens(images[start : start + BATCH])
            x = model.noise(range(start, start + len(r))).to(model.device)
            for t in scheduler.timesteps.tolist():
                cond, uncond = (beside.noise_prediction(x, t, none, image) for image in (r, None))
                x = scheduler.step(uncond + model.defaults.guidance_scale * (cond - uncond), t, x).prev_sample
            parts.append(model.images(x))
    return np.concatenate(parts)


def write(folder: Path, rows: list[dict]) -> None:
    """The figures beside the weights that they were measured on."""
    hashes = {str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*.safetensors"))}
    write_json(folder / "figures.json", {"measured": rows, "sha256": hashes})
