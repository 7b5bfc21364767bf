"""What adapters cost while pictures are made: one and ten of rank 1, gated row by row, against the model without.

    python benchmarks/spm_overhead.py [--rounds 15]            attention blocks of Stable Diffusion 1's shapes
    python benchmarks/spm_overhead.py --model toy [--rounds 5]  whole generations of a model

Claims, at the shapes of Stable Diffusion 1: at most 1.05× for one and 1.15× for ten. An adapter is beside every linear
layer and convolution of a block; the rest of a UNet, its residual blocks, has none and would only lower the ratios. A
model as small as the toy has no claim: its layers take little longer than calling a hook beside them does.
All arms take turns in one process; seconds are those of the processor, in one thread.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from workbench.edits import AdapterEdit
from workbench.edits.adapter import DOWN, UP
from workbench.erasure.spm import layers_of
from workbench.models import Model, load
from workbench.models.beside import Term, beside

BOUNDS = {1: 1.05, 10: 1.15}
SHAPES = ((320, 64), (640, 32), (1280, 16))  # channels, side of the latents
ROWS, TOKENS, D_TEXT, HEADS = 2, 77, 768, 8
PROMPT, PICTURES = "a photo of a fox", 4


def main() -> None:
    """Reads the command line and prints a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="whole generations of this model instead")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a tiny block, to see that it works")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if asked.model is not None:
        generations(load(asked.model, device="cpu"), asked.rounds)
        return
    print("claims: " + ", ".join(f"{count}: ≤ {bound}×" for count, bound in BOUNDS.items()))
    for channels, side in ((32, 8),) if asked.quick else SHAPES:
        block(channels, side, asked.rounds)


def block(channels: int, side: int, rounds: int) -> None:
    """One `Transformer2DModel`, as guidance calls it for one picture."""
    transformer = Transformer2DModel(HEADS, channels // HEADS, in_channels=channels, cross_attention_dim=D_TEXT).eval()
    x, text = torch.randn(ROWS, channels, side, side), torch.randn(ROWS, TOKENS, D_TEXT)
    layers = {name: one for name, one in transformer.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)}

    @torch.no_grad()
    def run() -> None:
        transformer(x, encoder_hidden_states=text)

    def edited(count: int) -> AbstractContextManager:
        gates = torch.rand(ROWS, count)
        return beside(transformer.get_submodule, terms(layers, count), lambda: lambda low: low * gates[:, None])

    compare(f"SD1 block, {channels} channels at {side}×{side}", run, edited, rounds)


def generations(model: Model, rounds: int) -> None:
    """Whole pictures, prompts and gates encoded too."""

    def run() -> None:
        model.generate(PROMPT, range(PICTURES), batch_size=PICTURES)

    edits = {count: edit_of(model, count) for count in BOUNDS}
    compare(f"{model.name}, {PICTURES} pictures at once", run, lambda count: model.edited(edits[count]), rounds)


def edit_of(model: Model, count: int) -> AdapterEdit:
    """So many random adapters, each for a target of its own."""
    tensors = {}
    for layer, both in terms(layers_of(model), count).items():
        for number in range(count):
            tensors[f"{number}:{layer}{DOWN}"] = both.down[number : number + 1].clone()
            tensors[f"{number}:{layer}{UP}"] = both.up[:, number : number + 1].clone()
    targets = [[f"fox number {number}"] for number in range(count)]
    return AdapterEdit(
        tensors=tensors, targets=targets, alphas=[1.0] * count, gate="both", settings={}, method="random",
        concepts=["fox"], base_fingerprint=model.fingerprint,
    )  # fmt: skip


def terms(layers: Mapping[str, nn.Module], count: int) -> dict[str, Term]:
    """Random adapters side by side, too small to matter."""
    return {name: Term(*factors(layer.weight, count)) for name, layer in layers.items()}  # type: ignore[arg-type]


def factors(weight: Tensor, count: int) -> tuple[Tensor, Tensor]:
    out, *inner = weight.shape
    return 1e-3 * torch.randn(count, *inner), 1e-3 * torch.randn(out, count)


def compare(name: str, run: Callable[[], None], edited: Callable[[int], AbstractContextManager], rounds: int) -> None:
    """Times the plain model and every number of adapters, in an order that changes from round to round."""
    ratios: dict[int, list[float]] = {count: [] for count in BOUNDS}
    plains = []
    for number in range(rounds + 1):
        counts = [0, *BOUNDS] if number % 2 else [*reversed(BOUNDS), 0]
        taken = {count: seconds(run, edited(count) if count else nullcontext()) for count in counts}
        if number:  # the first one warms up
            plains.append(taken[0])
            for count in BOUNDS:
                ratios[count].append(taken[count] / taken[0])
    shown = "; ".join(f"{count}: {_spread(ratios[count])}" for count in BOUNDS)
    print(f"{name}: {statistics.median(plains):.3f} s without; adapters {shown}", flush=True)


def seconds(run: Callable[[], None], edited: AbstractContextManager) -> float:
    """Processor seconds of one run, with what is in place around it."""
    with edited:
        start = time.process_time()
        run()
        return time.process_time() - start


def _spread(ratios: list[float]) -> str:
    low, _, high = statistics.quantiles(ratios, n=4)
    return f"{statistics.median(ratios):.3f}× [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
