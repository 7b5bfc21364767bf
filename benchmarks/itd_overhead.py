"""What an ItD edit costs when images are made: with it against without it, taking turns in one process.

    python benchmarks/itd_overhead.py [MODEL] [--d-sae 2048]     whole generations; MODEL is the toy unless given
    python benchmarks/itd_overhead.py --sd14 [--d-sae 65536]     at the shapes of Stable Diffusion 1.4, random weights

Claims: at most 1.05× on the toy; at most 1.02× at the shapes of Stable Diffusion 1.4, where one denoising step is
timed and counted fifty times. The edit acts on every prompt, which is the dearest case. Its dictionary is random: speed
does not depend on the values. Seconds are those of the processor, in one thread, so that other work on the machine
does not count. ItD's own dictionary has 524,288 features; it and the UNet together need 8 GB.
"""

import argparse
import statistics

import torch
from torch import Tensor

from workbench.edits import ActivationEdit
from workbench.erasure.itd import PROGRAM
from workbench.hooks import Clock
from workbench.models import Model, load
from workbench.testing.timing import turns

SETTINGS = {"architecture": "topk", "k": 32, "strength": -8.0, "keep_error": False, "score_tokens": "content"}
PROMPTS, STEPS = 16, 50


def main() -> None:
    """Reads the command line and prints one line a claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="toy")
    parser.add_argument("--sd14", action="store_true")
    parser.add_argument("--d-sae", type=int)
    parser.add_argument("--rounds", type=int)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.no_grad():
        if asked.sd14:
            at_sd14_shapes(asked.d_sae or 2**16, asked.rounds or 3)
        else:
            whole_generations(load(asked.model, device="cpu"), asked.d_sae or 2048, asked.rounds or 5)


def whole_generations(model: Model, d_sae: int, rounds: int) -> None:
    """Batches of sixteen different prompts with the model's own sampler."""
    sites = [site for alias, site in model.sites().items() if alias.removeprefix("text.").isdigit()]
    site = sites[len(sites) * 2 // 3]
    edit = ActivationEdit(
        site=site.alias, width=site.channels, program="workbench.erasure.itd:PROGRAM",
        tensors=random_tensors(site.channels, d_sae),
        settings={**SETTINGS, "end": model.pipe.tokenizer.eos_token_id},
        method="itd", concepts=("everything",), base_fingerprint=model.fingerprint,
    )  # fmt: skip
    prompts = [f"a photo of a fox {number}" for number in range(PROMPTS)]

    def edited() -> None:
        with model.edited(edit):
            model.generate(prompts, range(PROMPTS))

    plain, ratios = turns(lambda: model.generate(prompts, range(PROMPTS)), edited, rounds)
    print(f"{model.name}, {site.alias}, {d_sae} features, {PROMPTS} images, {rounds} rounds")
    print(
        f"without: {plain:.2f} s; with: {statistics.median(ratios):.4f}× (from {min(ratios):.4f} to {max(ratios):.4f})"
    )


def at_sd14_shapes(d_sae: int, rounds: int) -> None:
    """A text encoder and a UNet of the published sizes: 1 prompt, guidance, 64×64 latents, 50 steps."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
        )
    ).eval()
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768).eval()
    token_ids = torch.cat([torch.tensor([49406]), torch.arange(300, 308), torch.full((68,), 49407)])[None]
    tensors, settings = random_tensors(768, d_sae), {**SETTINGS, "k": 64, "end": 49407}
    clock = Clock("text", 0, None, ("cond",), token_ids)
    layer = getattr(encoder, "text_model", encoder).encoder.layers[8]

    def edited() -> None:
        hook = layer.register_forward_hook(lambda _, args, out: PROGRAM.apply(out, clock, tensors, settings))
        encoder(token_ids)
        hook.remove()

    encoding = timed(lambda: encoder(token_ids))
    extra = statistics.median(timed(edited) - timed(lambda: encoder(token_ids)) for _ in range(5 * rounds))
    latents, embeddings = torch.randn(2, 4, 64, 64), encoder(token_ids).last_hidden_state.expand(2, -1, -1)
    step = statistics.median(timed(lambda: unet(latents, 500, embeddings)) for _ in range(rounds))
    whole = 2 * encoding + STEPS * step
    print(f"Stable Diffusion 1.4 shapes, {d_sae} features, 1 image, {STEPS} steps with guidance, {rounds} rounds")
    print(f"one step: {step:.2f} s; the edit: {extra:.3f} s an image; with it: {1 + extra / whole:.5f}×")


def random_tensors(d_in: int, d_sae: int) -> dict[str, Tensor]:
    """A dictionary and 64 features of it, with a threshold below every score."""
    return {
        "W_enc": torch.randn(d_in, d_sae), "b_enc": torch.zeros(d_sae),
        "W_dec": torch.randn(d_sae, d_in) / d_in**0.5, "b_dec": torch.zeros(d_in), "b_in": torch.zeros(d_in),
        "features": torch.arange(64), "tau": torch.tensor(-torch.inf),
    }  # fmt: skip


if __name__ == "__main__":
    main()
