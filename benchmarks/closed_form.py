"""What a closed-form edit costs, against the same equations solved map by map and concept by concept.

    python benchmarks/closed_form.py [--only sd14] [--out cost.html]     all sizes, about half an hour
    python benchmarks/closed_form.py --quick                             small shapes, to see that it works

Claims: UCE of 100 concepts at least 20× and RECE at least 10× as fast as the reference at the shapes of Stable
Diffusion 1.4, with results that differ by at most 1e-5; one concept by UCE there in at most a second.
Weights and text are random, of the real shapes: every key and value of cross-attention, 77 rows a prompt, 100 prompts
to preserve and the empty one; encoding the prompts is not counted. Rows are paired as UCE's code of 2023 does, for
names of two tokens and an anchor of one; RECE has one round unless said otherwise.
The reference does what the official codes do (unified-concept-editing f7222e6, RECE 403a67f): for every map it adds up
both matrices over all concepts and all kept prompts, then inverts; for every concept it adds up Σ WᵀW and Σ WᵀW⁰ over
all maps. It is timed in float32, as they run, with a matrix product a prompt where they sum outer products, and without
the values of all other maps, which they compute at each map: both would slow it down. Results are compared with its
float64 run, on every eighth map. Where it would take more than some minutes it is not run. Seconds are those of the
processor, in one thread, so that other work on the machine does not count. Each case has a process of its own, and its
memory is the highest that our edit needs beyond weights and text.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.edits import WeightEdit
from workbench.erasure.rece import Rounds, gram_of_maps, rounds
from workbench.fitting.least_squares import Gram, Moves, Ridge, Shift, deltas

Maps = Mapping[str, Tensor]
ROWS, SUBJECT, ANCHOR = 77, 2, 1  # rows of a prompt; where the last subject token of concepts and anchor is
N_KEPT, UCE_DAMPING, RECE_DAMPING, PRESERVE, REGULAR = 101, 0.5, 0.1, 0.1, 1e-3


class Shapes(NamedTuple):
    """The maps of a UNet that read the prompt: keys and values, all `[height, d]`."""

    d: int
    heights: tuple[int, ...]


def shapes(d: int, channels: Sequence[int], transformers: Sequence[int], layers: int = 2, every: int = 1) -> Shapes:
    """From a published UNet config: the levels that have cross-attention, going down, in the middle, and up again."""
    levels = [width for width, depth in zip(channels, transformers, strict=True) for _ in range(depth)]
    middle = [channels[-1]] * transformers[-1]
    once = levels * layers + middle + levels * (layers + 1)
    return Shapes(d, tuple(height for height in once for _ in "kv")[::every])


SHAPES = {
    "sd14": shapes(768, (320, 640, 1280), (1, 1, 1)),
    "sdxl": shapes(2048, (640, 1280), (2, 10)),
    "sdxl/10": shapes(2048, (640, 1280), (2, 10), every=10),  # every tenth map, so that the reference ends
    "tiny": shapes(24, (8, 16), (1, 2)),
}


class Case(NamedTuple):
    """One edit to time; `reference` says whether the other implementation runs too."""

    shape: str
    method: str
    concepts: int
    reference: bool
    epochs: int = 1

    @property
    def name(self) -> str:
        """Without the number of concepts."""
        return f"{self.shape}, {self.method}" + (f" of {self.epochs} round(s)" if self.method == "rece" else "")


ALL = [
    *(Case("sd14", "uce", n, n <= 100) for n in (1, 10, 100, 1000)),
    *(Case("sd14", "rece", n, n <= 100) for n in (1, 10, 100, 1000)),
    Case("sd14", "rece", 1, False, epochs=3),
    *(Case("sdxl/10", method, 10, True) for method in ("uce", "rece")),
    *(Case("sdxl", method, n, False) for method in ("uce", "rece") for n in (1, 10, 100, 1000)),
]
QUICK = [Case("tiny", method, n, True, epochs=2) for method in ("uce", "rece") for n in (1, 3)]


class Text(NamedTuple):
    """Encoded prompts `[n, 77, d]`, and that of the common anchor `[77, d]`."""

    concepts: Tensor
    anchor: Tensor
    kept: Tensor


class Measured(NamedTuple):
    """Seconds of both, MiB of ours, and the largest relative difference of their results."""

    case: Case
    ours: float
    memory: float
    reference: float | None = None
    difference: float | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints one line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=[name for name in SHAPES if name != "tiny"])
    parser.add_argument("--out", type=Path, help="a new HTML file: cost by the number of concepts")
    asked = parser.parse_args(arguments)
    found = []
    for one in map(measured, QUICK) if asked.quick else apart(case for case in ALL if asked.only in (None, case.shape)):
        print(line_of(one), flush=True)
        found.append(one)
    if asked.out:
        cost_by_concepts(found).write_html(asked.out)
        print(f"Wrote {asked.out}.")


def apart(cases: Iterator[Case]) -> Iterator[Measured]:
    """Each case in a fresh process, one after the other."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, max_tasks_per_child=1) as pool:
        yield from pool.map(measured, cases)


def line_of(one: Measured) -> str:
    """A case in words."""
    ours = f"{one.case.name}, {one.case.concepts} concept(s): {one.ours:.3f} s, {one.memory:.0f} MiB"
    if one.reference is None:
        return f"{ours}; reference not run"
    ratio = one.reference / one.ours
    return f"{ours}; reference {one.reference:.2f} s, {ratio:.1f}× as long; relative difference {one.difference:.1e}"


@torch.no_grad()
def measured(case: Case) -> Measured:
    """Times our edit (the median of up to three), then the reference, and compares."""
    torch.set_num_threads(1)
    maps, text = inputs(SHAPES[case.shape], case.concepts)
    before = peak()
    seconds, edit = timed(lambda: ours(maps, text, case))
    memory = peak() - before
    if seconds < 20:
        seconds = statistics.median([seconds, *(timed(lambda: ours(maps, text, case))[0] for _ in range(2))])
    if not case.reference:
        return Measured(case, seconds, memory)
    taken, _ = timed(lambda: reference(maps, text, case))
    fine = {name: W.double() for name, W in maps.items()}
    exact = reference(fine, Text(*(rows.double() for rows in text)), case, every=8)
    return Measured(case, seconds, memory, taken, difference(maps, edit, exact))


def inputs(shape: Shapes, concepts: int) -> tuple[Maps, Text]:
    """Random weights of the usual size, and text that has much in common from prompt to prompt, as CLIP's has."""
    rng = torch.Generator().manual_seed(0)
    maps = {f"{i}": torch.randn(height, shape.d, generator=rng) for i, height in enumerate(shape.heights)}
    for W in maps.values():
        W.mul_(shape.d**-0.5)
    common = torch.randn(ROWS, shape.d, generator=rng)
    rows = torch.randn(concepts + N_KEPT + 1, ROWS, shape.d, generator=rng).mul_(0.5).add_(common)
    rows[:, 0] = common[0]  # the begin token knows nothing of what follows
    return maps, Text(rows[:concepts], rows[-1], rows[concepts:-1])


def ours(maps: Maps, text: Text, case: Case) -> dict[str, Tensor]:
    """Tensors of a `WeightEdit`, by what UCE and RECE call."""
    ridge = Ridge(text.kept.shape[-1], UCE_DAMPING)
    for c, a in uce_pairs(text):
        ridge.move(c, a)
    ridge.keep(text.kept.flatten(0, 1), PRESERVE)
    return deltas(maps, ridge.solve() if case.method == "uce" else rece(ridge.solve(), maps, text, case.epochs))


def rece(start: Shift, maps: Maps, text: Text, epochs: int) -> Shift:
    """RECE's rounds after UCE."""
    kept, moves = Gram(len(start.left)), Moves(len(start.left))
    kept.add(text.kept.flatten(0, 1), PRESERVE)
    for c in text.concepts:
        moves.add(c, text.anchor)
    return rounds(start, gram_of_maps(maps), {Rounds(REGULAR, epochs): moves}, kept, damping=RECE_DAMPING)


def reference(maps: Maps, text: Text, case: Case, every: int = 1) -> dict[str, Tensor]:
    """The edited weights, in the dtype of what is given; with `every`, in the end only some of them."""
    some = list(maps)[::every]
    epochs = case.epochs if case.method == "rece" else 0
    pairs, damping, edited = uce_pairs(text), UCE_DAMPING, dict(maps)
    for last in [*[False] * epochs, True]:
        edited = {name: solved(edited[name], pairs, text.kept, damping) for name in (some if last else maps)}
        if not last:
            pairs = [(recalled(maps, edited, c), text.anchor) for c in text.concepts]
            damping = RECE_DAMPING
    return edited


def solved(W: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], kept: Tensor, damping: float) -> Tensor:
    """One map: v* are what it gives for the anchor."""
    mat1, mat2 = damping * W, damping * torch.eye(W.shape[1], dtype=W.dtype)
    for c, a in pairs:
        values = a @ W.T
        mat1 += values.T @ c
        mat2 += c.T @ c
    for k in kept:
        values = k @ W.T
        mat1 += PRESERVE * (values.T @ k)
        mat2 += PRESERVE * (k.T @ k)
    return mat1 @ torch.linalg.inv(mat2)


def recalled(original: Maps, current: Maps, c: Tensor) -> Tensor:
    """What reads now as one concept did at first."""
    mat1 = REGULAR * torch.eye(c.shape[1], dtype=c.dtype)
    mat2 = torch.zeros_like(mat1)
    for name, W in current.items():
        mat1 += W.T @ W
        mat2 += W.T @ original[name]
    return c @ (torch.linalg.inv(mat1) @ mat2).T


def uce_pairs(text: Text) -> list[tuple[Tensor, Tensor]]:
    """From the last subject token to the end, as many rows of both as the later subject leaves."""
    n = ROWS - max(SUBJECT, ANCHOR)
    return [(c[SUBJECT : SUBJECT + n], text.anchor[ANCHOR : ANCHOR + n]) for c in text.concepts]


def difference(maps: Maps, tensors: Mapping[str, Tensor], exact: Maps) -> float:
    """The largest over the maps of `exact` of max |Δ − Δ_exact| / max |Δ_exact|."""
    edit = WeightEdit(tensors=tensors, settings={}, method="", concepts=(), base_fingerprint="")
    found = []
    for name, W in exact.items():
        delta = W - maps[name]
        found.append(float((edit.delta(name) - delta).abs().max() / delta.abs().max()))
    return max(found)


def timed(call: Callable[[], dict[str, Tensor]]) -> tuple[float, dict[str, Tensor]]:
    """Processor seconds of one call, and what it gives."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def peak() -> float:
    """The most memory that this process has had so far, in MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cost_by_concepts(found: Sequence[Measured]):
    """Seconds by the number of concepts, both axes logarithmic; a line a method, shape and implementation."""
    import plotly.graph_objects as go

    lines: dict[str, list[tuple[int, float]]] = {}
    for one in found:
        name = one.case.name
        lines.setdefault(name, []).append((one.case.concepts, one.ours))
        if one.reference is not None:
            lines.setdefault(f"{name}: reference", []).append((one.case.concepts, one.reference))
    figure = go.Figure()
    for name, points in lines.items():
        dash = "dot" if name.endswith("reference") else "solid"
        figure.add_scatter(x=[n for n, _ in points], y=[s for _, s in points], name=name, line_dash=dash)
    figure.update_xaxes(type="log", title="concepts erased together")
    return figure.update_yaxes(type="log", title="processor seconds, one thread")


if __name__ == "__main__":
    main()
