"""The toy Janus as it ships: a folder that transformers opens as any other checkpoint, its figures, a short card."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import GenerationConfig, JanusForConditionalGeneration, JanusProcessor

from saes.disk import read_json, sha256_of, write_json
from workbench.toy.recipe.export import table
from workbench.toy.world import IMAGE_SIZE

SHIPPED = Path(__file__).parents[1] / "weights" / "janus"
WEIGHTS = "model.safetensors"
DEFAULTS = {"guidance_scale": 5.0, "image_size": IMAGE_SIZE}


def write(model: JanusForConditionalGeneration, processor: JanusProcessor, folder: Path) -> None:
    """Weights in fp16, configurations, and the tokenizer's files."""
    words = processor.tokenizer
    model.generation_config = GenerationConfig(
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
        do_sample=True, guidance_scale=DEFAULTS["guidance_scale"],
    )  # fmt: skip
    model.to(dtype=torch.float16).save_pretrained(folder)
    processor.save_pretrained(folder)
    write_json(folder / "workbench.json", DEFAULTS)


def read(folder: Path) -> JanusForConditionalGeneration:
    """The model of such a folder, in fp32 on the CPU."""
    return JanusForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def card(folder: Path, figures: list[dict], codes: list[dict], saes: Sequence[dict] = ()) -> None:
    """`figures.json` and `CARD.md`: what the model, its picture tokenizer and its SAEs were measured to do."""
    digest = sha256_of(folder / WEIGHTS)
    measured = {"measured": figures, "tokenizer": codes, **({"saes": list(saes)} if saes else {})}
    write_json(folder / "figures.json", {**measured, "sha256": {WEIGHTS: digest}})
    sections = {"Model": table(figures), "Picture tokenizer": table(codes)}
    sections |= {"SAEs": table(list(saes))} if saes else {}
    sections["Weights"] = f"`{WEIGHTS}`: {digest[:16]}"
    text = [INTRODUCTION, HISTORY, *(f"## {title}\n\n{body}" for title, body in sections.items())]
    (folder / "CARD.md").write_text("\n\n".join(text) + "\n")


def card_with_saes(folder: Path, saes: Sequence[dict]) -> None:
    """The card of a folder that has one, with the figures of SAEs trained since."""
    before = read_json(folder / "figures.json")
    card(folder, before["measured"], before["tokenizer"], saes)


INTRODUCTION = """# The toy Janus

An autoregressive text-to-image model in transformers' `JanusForConditionalGeneration`, trained from nothing on the same
invented world as the toy Stable Diffusion, by the stages `janus_…` of `workbench toy train`. A prompt is begin of
sentence, the words, begin of image; `JanusProcessor` of this folder makes it with `generation_mode="image"`. The tower
that reads pictures and the head that says words are untrained.

Rates are shares of pictures in which the oracle finds what the prompt asks for, with Wilson 95 % intervals; objects,
colours, styles, characters and pairs are asked for in combinations that no training picture shows. "floor" is what was
aimed at. Training goes on from these weights with

    workbench toy train --out out/janus --stage recogniser --stage janus_start --stage janus --stage janus_export"""

HISTORY = """These weights have seen 14,300 batches of 16 captions, the last 12,000 in 70 minutes of two shared cores.
Colours came first, then people and styles, then objects, whose shapes are still weak: that floor and those that need it
are missed. The loss ended at 2.0 nats a token. A lower temperature helps little: in 36 pictures a group, .8 draws
objects as often as 1.
Tried before: 36 tokens a picture, of which the oracle found half of the objects again; 144 keep .945 of them."""
