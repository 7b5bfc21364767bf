"""Few-shot erasing at the shapes of Stable Diffusion 1: what a step costs beside one pass through the UNet.

    python benchmarks/few_shot.py                  CLIP-L as it is, before a UNet of a quarter of the width: a minute
    python benchmarks/few_shot.py --full           the whole UNet at 64 × 64 latents, pictures of 512 pixels; 8 GB
    python benchmarks/few_shot.py --quick          small shapes, to see that it works

Claim of the paper: a concept in under 10 s. That is on a GPU, and so it is said here of a GPU only (`--full` where
there is one). On a processor the figure is a ratio: a step of the fit (encoding two prompts with a gradient, the pass
through the denoiser and back, Adam on 59 M weights) over one such pass of the UNet for two latents, both in this run.
Weights are random, of the real shapes; pictures are noise. Seconds are those of the processor, in one thread, so that
other work on the machine does not count; on a GPU they are wall time.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import diffusers
import numpy as np
import torch
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from workbench import toy
from workbench.concepts import Concept
from workbench.erasure.few_shot import FewShot
from workbench.models import Diffusion
from workbench.models.architecture import Defaults
from workbench.models.diffusion.sd import SD1
from workbench.models.provenance import Provenance

Item = TypeVar("Item")
PICTURES, BATCH = 4, 2


class Shapes(NamedTuple):
    """Text encoder (layers, width, heads), channels of the UNet, side of the latents, channels of the autoencoder."""

    text: tuple[int, int, int]
    unet: tuple[int, ...]
    latents: int
    vae: tuple[int, ...]


CLIP_L = (12, 768, 12)
SHAPES = {
    "full": Shapes(CLIP_L, (320, 640, 1280, 1280), 64, (128, 256, 512, 512)),
    "reduced": Shapes(CLIP_L, (64, 128, 256, 256), 32, (8, 8, 8, 8)),
    "quick": Shapes((2, 32, 2), (32, 32, 32, 32), 8, (8, 8, 8, 8)),
}


@dataclass
class Stopwatch:
    """A progress that notes when each training step begins, and when the last one is over."""

    clock: Callable[[], float]
    marks: list[float] = field(default_factory=list)

    def __call__(
        self, items: Iterable[Item], label: str = "", total: int | None = None, note: Callable[[], str] | None = None
    ) -> Iterator[Item]:
        for item in items:
            self.marks.append(self.clock())
            yield item
        self.marks.append(self.clock())

    @property
    def steps(self) -> list[float]:
        """Seconds of each step."""
        return [after - before for before, after in zip(self.marks, self.marks[1:], strict=False)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, fits once, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--full", action="store_const", const="full", dest="size", default="reduced")
    sizes.add_argument("--quick", action="store_const", const="quick", dest="size")
    parser.add_argument("--steps", type=int, default=10, help="10 are the published fit: 5 epochs of 4 pictures")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = time.perf_counter if device == "cuda" else time.process_time
    model = random_model(SHAPES[asked.size], device)
    described = ", ".join(f"{name} {millions(model, name):.0f} M" for name in ("text_encoder", "unet"))
    print(
        f"{asked.size} shapes on {device}: {described} parameters, latents {SHAPES[asked.size].latents} px", flush=True
    )
    before = statistics.median(one_pass(model, clock) for _ in range(3))
    whole, steps = fit(model, asked.steps, clock)
    reference = statistics.median([before, *(one_pass(model, clock) for _ in range(2))])
    step = statistics.median(steps)
    print(f"one pass of the UNet, forward and backward, batch {BATCH}: {reference:.3f} s")
    print(f"one step of the fit, batch {BATCH}: {step:.3f} s, {step / reference:.2f}× the pass")
    print(f"whole fit, {PICTURES} pictures, {len(steps)} steps: {whole:.2f} s, of which steps {sum(steps):.2f} s")


def random_model(shapes: Shapes, device: str) -> Diffusion:
    """Stable Diffusion 1 with random weights of these shapes, and the toy's words."""
    tokenizer = CLIPTokenizer.from_pretrained(toy.path() / "tokenizer", model_max_length=77)
    layers, width, heads = shapes.text
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=77, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        parts = {
            "text_encoder": CLIPTextModel(text), "tokenizer": tokenizer,
            "unet": diffusers.UNet2DConditionModel(
                sample_size=shapes.latents, block_out_channels=shapes.unet, cross_attention_dim=width
            ),
            "vae": diffusers.AutoencoderKL(
                block_out_channels=shapes.vae, down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=8,
            ),
        }  # fmt: skip
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = diffusers.PNDMScheduler(**schedule, skip_prk_steps=True, steps_offset=1)
    pipe = diffusers.StableDiffusionPipeline(
        **parts, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    for name in ("text_encoder", "unet", "vae"):
        getattr(pipe, name).requires_grad_(False)
    return Diffusion("random", SD1(pipe), Defaults(50, 7.5, 8 * shapes.latents), Provenance({}, pipe))


def one_pass(model: Diffusion, clock: Callable[[], float]) -> float:
    """Seconds of the UNet, forward and back to the text that it reads; no text encoder, no update."""
    text = model.encode(["a fox"] * BATCH)
    text.embeddings.requires_grad_()
    latents, times = model.noise(range(BATCH)), torch.tensor([10, 900])
    began = clock()
    model.noise_prediction(latents, times, text).square().mean().backward()
    assert text.embeddings.grad is not None and float(text.embeddings.grad.abs().sum()) > 0  # waits for a GPU
    return clock() - began


def fit(model: Diffusion, steps: int, clock: Callable[[], float]) -> tuple[float, list[float]]:
    """Seconds of a whole fit from pictures on the disk to an edit, and of each of its steps."""
    watch, rng = Stopwatch(clock), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(PICTURES):
            noise = rng.integers(0, 256, (model.image_size, model.image_size, 3), dtype=np.uint8)
            Image.fromarray(noise).save(Path(folder) / f"{number}.png")
        method = FewShot(folder=folder, epochs=steps, max_steps=steps, batch=BATCH)
        began = clock()
        method.fit(model, [Concept("fox")], progress=watch)
        return clock() - began, watch.steps


def millions(model: Diffusion, part: str) -> float:
    """Parameters of a component."""
    return sum(one.numel() for one in getattr(model.pipe, part).parameters()) / 1e6


if __name__ == "__main__":
    main()
