"""From checkpoints to what ships: a plain diffusers folder in fp16, the oracle, SAEs, and a card with their figures."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTokenizer

from saes.disk import read_json, sha256_of, write_json
from workbench.toy.recipe import diffusion
from workbench.toy.recipe.loop import averaged
from workbench.toy.world import IMAGE_SIZE

DEFAULTS = {"steps": 16, "guidance_scale": 5.0, "image_size": IMAGE_SIZE}


def pipeline(tokenizer: CLIPTokenizer, vae: AutoencoderKL, checkpoint_dir: Path, pipeline_dir: Path) -> None:
    """Writes the pipeline with the averaged weights of the last checkpoint."""
    model = diffusion.new_model(tokenizer, "cpu")
    model.load_state_dict(averaged(checkpoint_dir))
    vae.register_to_config(_name_or_path="")  # not the folder that it happens to come from
    StableDiffusionPipeline(
        vae=vae, text_encoder=model.text_encoder, tokenizer=tokenizer, unet=model.unet,
        scheduler=diffusion.new_scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).to(dtype=torch.float16).save_pretrained(pipeline_dir, safe_serialization=True)  # fmt: skip
    write_json(pipeline_dir / "workbench.json", DEFAULTS)


MEASURED = ("model", "guidance", "saes", "oracle", "autoencoder_db")


def card(
    weights_dir: Path, figures: list[dict], guidance: list[dict], saes: dict[str, dict], oracle: list[dict],
    autoencoder_db: float,
) -> None:  # fmt: skip
    """`figures.json` and `CARD.md`: what was measured, and the hash of each file that it was measured on."""
    files = sorted(path for path in weights_dir.rglob("*.safetensors"))
    hashes = {str(path.relative_to(weights_dir)): sha256_of(path) for path in files}
    measured = dict(zip(MEASURED, (figures, guidance, saes, oracle, autoencoder_db), strict=True))
    write_json(weights_dir / "figures.json", {**measured, "sha256": hashes})
    sections = {
        "Model": table(figures),
        "Guidance": f"{GUIDANCE}\n\n{table(guidance)}",
        "Autoencoder": f"PSNR of reconstructions of fresh renders: {autoencoder_db:.1f} dB.",
        "Oracle": table(oracle),
        "SAEs": table([{"sae": name} | facts for name, facts in saes.items()]),
        **{title: table(read_json(path)["measured"]) for title, path in beside(weights_dir).items()},
        "Files": table([{"file": name, "sha256": digest[:16]} for name, digest in hashes.items()]),
    }
    text = [INTRODUCTION, *(f"## {title}\n\n{body}" for title, body in sections.items())]
    (weights_dir / "CARD.md").write_text("\n\n".join(text) + "\n")


def card_again(weights_dir: Path) -> None:
    """The card with what was measured before, for files that were added since; none if none is written yet."""
    if not (weights_dir / "figures.json").exists():
        return
    before = read_json(weights_dir / "figures.json", [*MEASURED, "sha256"])
    card(weights_dir, *(before[name] for name in MEASURED))


def beside(weights_dir: Path) -> dict[str, Path]:
    """The figures that parts measured beside their weights, of those parts that are there, by title."""
    parts = {"Image adapter": "image_adapter", "CLIP": "clip", "Toy Janus": "janus"}
    figures = {title: weights_dir / name / "figures.json" for title, name in parts.items()}
    return {title: path for title, path in figures.items() if path.exists()}


def sae_facts(sae_dir: Path) -> dict:
    """Size and held-out figures of an SAE folder."""
    config = read_json(sae_dir / "cfg.json")
    figures = config["metadata"]["metrics"]
    return {name: config[name] for name in ("architecture", "d_in", "d_sae")} | {
        name: figures[name] for name in ("l0", "explained_variance", "cosine", "dead_share")
    }


INTRODUCTION = """# The embedded model

A Stable Diffusion pipeline (AutoencoderKL, CLIPTextModel, UNet2DConditionModel) trained from nothing on procedurally
rendered pictures of an invented world by `workbench toy train`. It is a checkpoint like any other, small enough to
ship. All people, artists and names are invented. Everything here may be used under the licence of the project.

`workbench toy report` measures the first table again. Rates are shares of pictures in which the oracle finds what the
prompt asks for, with Wilson 95 % intervals; objects, colours, styles, characters and pairs are asked for in
combinations that no training picture shows. "floor" is what was aimed at."""


GUIDANCE = """Share of pictures that show the concept of a held-out prompt at each scale of guidance, and the share
that is intact. "negative": the concept's name is the negative prompt too."""


def table(rows: list[dict]) -> str:
    """A Markdown table of rows with equal keys; rates to three digits."""
    head = list(rows[0])
    cells = [
        [f"{v:.3f}" if isinstance(v, float) else "" if v is None else str(v) for v in row.values()] for row in rows
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *cells])
