"""What Safe Latent Diffusion costs: pictures with its third branch against plain guidance, taking turns in one process.

    python benchmarks/sld_overhead.py [MODEL] [--rounds 5]     whole generations; MODEL is the toy unless given
    python benchmarks/sld_overhead.py --larger                 a random pipeline of Stable Diffusion 1's form

Claim: at most 1.5× of plain guidance, which is what three rows instead of two cost where nothing is shared. The third
branch goes through the denoiser in the same call. Beside the ratio stands that of the denoiser alone, three rows a
picture against two: what is above 1.5 there is the machine's, whose caches other work shares. Seconds are those of the
processor, in one thread.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from workbench.concepts import Concept
from workbench.edits import Edit
from workbench.erasure.sld import SLD
from workbench.models import Model, load
from workbench.models.diffusion.loading import DEFAULTS_FILE
from workbench.testing.timing import turns

BOUND = 1.5
PICTURES = (1, 4)
PROMPT = "a photo of a fox"


def main() -> None:
    """Reads the command line and prints a line for each number of pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="toy")
    parser.add_argument("--larger", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not asked.larger:
        compare(asked.model, load(asked.model, device="cpu"), asked.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare("larger", larger(load(asked.model, device="cpu"), Path(folder, "larger")), asked.rounds)


def larger(model: Model, folder: Path) -> Model:
    """The same text encoder and autoencoder around a random UNet that is much wider, on 32×32 latents."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    model.pipe.unet = UNet2DConditionModel(
        sample_size=32, block_out_channels=(128, 256, 256), attention_head_dim=8, layers_per_block=1,
        cross_attention_dim=model.pipe.unet.config.cross_attention_dim,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    model.pipe.save_pretrained(folder, safe_serialization=True)
    defaults = {"steps": 4, "guidance_scale": 7.5, "image_size": 32 * model.pipe.vae_scale_factor}
    (folder / DEFAULTS_FILE).write_text(json.dumps(defaults))
    return load(folder, device="cpu")


def compare(name: str, model: Model, rounds: int) -> None:
    """Times both arms, and the denoiser alone, for each number of pictures at once."""
    edit = SLD(strength="max").fit(model, [Concept("fox")])
    with torch.no_grad():
        encoding = model.encode(PROMPT)
    for pictures in PICTURES:
        latents = model.noise(range(3 * pictures))
        plain = partial(model.generate, PROMPT, range(pictures), batch_size=pictures)
        seconds, ratios = turns(plain, partial(with_edit, model, edit, plain), rounds)
        two, three = (partial(model.noise_prediction, latents[: n * pictures], 500, encoding) for n in (2, 3))
        with torch.no_grad():
            alone = statistics.median(turns(two, three, 2 * rounds)[1])
        print(
            f"{name}, {pictures} at once: plain guidance {seconds:.2f} s; SLD {statistics.median(ratios):.3f}× "
            f"(from {min(ratios):.3f} to {max(ratios):.3f}; claim: at most {BOUND}×); three rows alone {alone:.3f}×"
        )


def with_edit(model: Model, edit: Edit, plain: Callable[[], object]) -> None:
    """The same with the edit in place."""
    with model.edited(edit):
        plain()


if __name__ == "__main__":
    main()
