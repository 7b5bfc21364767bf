"""SAE training: tokens a second through our loop, against a plain torch TopK loop and sae-lens's dense step.

All three take turns in one run on the same rows, so that other work on the machine hits them alike. The ratios to
trust are those of processor seconds; wall time is printed beside them.

    python benchmarks/sae_training.py [--d-in 256 --d-sae 2048 --k 32 --batch 1024 --steps 10]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from saes import ActivationStore, SAEConfig, SiteRows, StoreSpec, StoreWriter
from saes.architectures import make_trainer
from saes.calibration import moments

REFERENCE = "plain torch loop"


class Cost(NamedTuple):
    """Seconds of a few steps."""

    processor: float
    wall: float


def make_store(store_dir: Path, d_in: int, rows: int) -> ActivationStore:
    """Rows of normal noise about a mean, at float16, in eight shards."""
    site = {"width": d_in, "labels": ["prompt"]}
    prompts = tuple(f"prompt {number}" for number in range(80))
    writer = StoreWriter(store_dir, StoreSpec(model="none", sites={"site": site}, prompts=prompts, chunk_prompts=10))
    for chunk, members in enumerate(writer.spec.chunks):
        labels = torch.tensor(list(members), dtype=torch.int32).repeat_interleave(rows // 80)
        generator = torch.Generator().manual_seed(chunk)
        writer.write(
            chunk, {"site": SiteRows(torch.randn(len(labels), d_in, generator=generator) + 1, {"prompt": labels})}
        )
    return writer.finish()


def our_loop(
    config: SAEConfig, batches: Iterator[Tensor], store: ActivationStore, *, dense: bool
) -> Callable[[], None]:
    """One step of `saes.train`: a batch from the store, then sae-lens's trainer."""
    mean, scale = moments(store.batches("site", config.batch_size))
    trainer = make_trainer(config, mean, scale, "cpu", dense=dense)

    def step() -> None:
        trainer.step(next(batches))
        trainer.n_training_steps += 1

    return step


def plain_loop(config: SAEConfig, batches: Iterator[Tensor], d_in: int) -> Callable[[], None]:
    """What one writes in ten lines: TopK by scatter, mean squared error, Adam; no auxiliary loss, no statistics."""
    decoder = torch.nn.functional.normalize(torch.randn(config.d_sae, d_in), dim=1)
    W_enc, W_dec = decoder.T.clone().requires_grad_(), decoder.clone().requires_grad_()
    b_enc, b_dec = torch.zeros(config.d_sae, requires_grad=True), torch.zeros(d_in, requires_grad=True)
    optimizer = torch.optim.Adam([W_enc, W_dec, b_enc, b_dec], lr=config.lr)

    def step() -> None:
        x = next(batches)
        best = ((x - b_dec) @ W_enc + b_enc).topk(config.k, dim=1)
        features = torch.zeros(len(x), config.d_sae).scatter(1, best.indices, best.values.relu())
        loss = (features @ W_dec + b_dec - x).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def cost(step: Callable[[], None], steps: int) -> Cost:
    processor, wall = time.process_time(), time.perf_counter()
    for _ in range(steps):
        step()
    return Cost(time.process_time() - processor, time.perf_counter() - wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"d-in": 256, "d-sae": 2048, "k": 32, "batch": 1024, "steps": 10, "turns": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    config = SAEConfig(
        d_sae=arguments.d_sae,
        k=arguments.k,
        batch_size=arguments.batch,
        samples=arguments.batch * 10**6,
        dead_window=10**6,
    )
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", arguments.d_in, 40 * arguments.batch)
        batches = store.batches("site", arguments.batch, epochs=None)
        loops = {
            REFERENCE: plain_loop(config, batches, arguments.d_in),
            "sae-lens, dense": our_loop(config, batches, store, dense=True),
            "ours": our_loop(config, batches, store, dense=False),
        }
        for step in loops.values():
            cost(step, 2)  # to warm up
        best: dict[str, Cost] = {}
        for _ in range(arguments.turns):
            for name, step in loops.items():
                best[name] = min(best.get(name, Cost(float("inf"), 0)), cost(step, arguments.steps))
    reference = best[REFERENCE]
    print(f"{'loop':18} {'tokens/s':>9} {'tokens/cpu-s':>13} {'ratio (cpu)':>12} {'ratio (wall)':>13}")
    for name, each in best.items():
        rows = arguments.batch * arguments.steps
        ratios = f"{reference.processor / each.processor:12.2f} {reference.wall / each.wall:13.2f}"
        print(f"{name:18} {rows / each.wall:9.0f} {rows / each.processor:13.0f} {ratios}")


if __name__ == "__main__":
    main()
