"""SAE training: our loop against sae-lens's stock trainer and a plain torch loop, in one run.

sae-lens has a sparse option of its own, `use_sparse_activations`. It takes its turns too where it can train: on a CPU
its backward pass lacks an operator (sae-lens 6.54), which is then said in its place.

All take turns on the same rows, so that other work on the machine hits them alike. The ratios to trust are those
of processor seconds; wall time is printed beside them. The stock trainer and ours begin with the same weights and see
the same batches, so that their losses must agree: both are measured on one batch, before and after.

    python benchmarks/sae_training.py [--d-in 768 --d-sae 6144 --k 32 --batch 1024 --steps 4 --turns 3]
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saes import ActivationStore, SAEConfig, SiteRows, StoreSpec, StoreWriter
from saes.architectures import make_trainer

STOCK, SPARSE, PLAIN, OURS = "sae-lens, stock", "sae-lens, sparse", "plain torch loop", "ours"
RANK = 64  # directions that the made-up rows consist of


class Cost(NamedTuple):
    """Seconds of a few steps."""

    processor: float
    wall: float


class Loop(NamedTuple):
    """A way to train: `run(steps)` goes on training, `loss(x)` is the mean squared error it has reached on a batch."""

    run: Callable[[int], None]
    loss: Callable[[Tensor], float]


def make_store(store_dir: Path, d_in: int, rows: int) -> ActivationStore:
    """Normal rows of low rank about a mean, at float16, in eight shards."""
    site = {"width": d_in, "labels": ["prompt"]}
    prompts = tuple(f"prompt {number}" for number in range(80))
    writer = StoreWriter(store_dir, StoreSpec(model="none", sites={"site": site}, prompts=prompts, chunk_prompts=10))
    directions = torch.randn(RANK, d_in, generator=torch.Generator().manual_seed(0)) / RANK**0.5
    for chunk, members in enumerate(writer.spec.chunks):
        labels = torch.tensor(list(members), dtype=torch.int32).repeat_interleave(rows // 80)
        drawn = torch.randn(len(labels), RANK, generator=torch.Generator().manual_seed(chunk + 1))
        writer.write(chunk, {"site": SiteRows(drawn @ directions + 1, {"prompt": labels})})
    return writer.finish()


def stock_loop(
    config: SAEConfig, batches: Iterator[Tensor], d_in: int, *, sparse: bool = False
) -> tuple[Loop, dict[str, Tensor]]:
    """sae-lens as shipped: its TopK SAE, its trainer, its `fit`; and the weights that it begins with."""
    from sae_lens import SAETrainer, TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig

    torch.manual_seed(config.seed)
    sae = TopKTrainingSAE(
        TopKTrainingSAEConfig(d_in=d_in, d_sae=config.d_sae, k=config.k, use_sparse_activations=sparse)
    )
    trainer_config = SAETrainerConfig(
        total_training_samples=config.batch_size, train_batch_size_samples=config.batch_size,
        lr=config.lr, lr_end=config.lr, dead_feature_window=config.window,
    )  # fmt: skip
    trainer = SAETrainer(trainer_config, sae, batches)

    def run(steps: int) -> None:
        trainer.cfg.total_training_samples = trainer.n_training_samples + steps * config.batch_size
        with redirect_stderr(io.StringIO()):  # its progress bar
            trainer.fit()

    return Loop(run, lambda x: _loss(sae, x)), {name: value.clone() for name, value in sae.state_dict().items()}


def our_loop(config: SAEConfig, batches: Iterator[Tensor], d_in: int, weights: dict[str, Tensor]) -> Loop:
    """The steps of `saes.train`, from the given weights, on rows as they are."""
    trainer = make_trainer(config, torch.zeros(d_in), 1.0, "cpu")
    trainer.sae.load_state_dict(weights)

    def run(steps: int) -> None:
        for _ in range(steps):
            trainer.step(next(batches))
            trainer.n_training_steps += 1

    return Loop(run, lambda x: _loss(trainer.sae, x))


def plain_loop(config: SAEConfig, batches: Iterator[Tensor], d_in: int) -> Loop:
    """What one writes in ten lines: TopK by scatter, mean squared error, Adam; no auxiliary loss, no statistics."""
    decoder = torch.nn.functional.normalize(torch.randn(config.d_sae, d_in), dim=1)
    W_enc, W_dec = decoder.T.clone().requires_grad_(), decoder.clone().requires_grad_()
    b_enc, b_dec = torch.zeros(config.d_sae, requires_grad=True), torch.zeros(d_in, requires_grad=True)
    optimizer = torch.optim.Adam([W_enc, W_dec, b_enc, b_dec], lr=config.lr)

    def loss(x: Tensor) -> Tensor:
        best = ((x - b_dec) @ W_enc + b_enc).topk(config.k, dim=1)
        features = torch.zeros(len(x), config.d_sae).scatter(1, best.indices, best.values.relu())
        return (features @ W_dec + b_dec - x).square().sum(1).mean()

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(next(batches)).backward()
            optimizer.step()

    return Loop(run, lambda x: loss(x).item())


@torch.no_grad()
def _loss(sae: Any, x: Tensor) -> float:
    return float((sae(x) - x).square().sum(1).mean())


def cost(run: Callable[[int], None], steps: int) -> Cost:
    processor, wall = time.process_time(), time.perf_counter()
    run(steps)
    return Cost(time.process_time() - processor, time.perf_counter() - wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"d-in": 768, "d-sae": 6144, "k": 32, "batch": 1024, "steps": 4, "turns": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    config = SAEConfig(
        d_sae=asked.d_sae, k=asked.k, batch_size=asked.batch, samples=asked.batch * 10**6,
        lr=3e-4, dead_window=10**6, warm_up=0.0, decay=0.0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", asked.d_in, 16 * asked.batch)
        streams = [store.batches("site", asked.batch, epochs=None) for _ in range(4)]
        stock, weights = stock_loop(config, streams[0], asked.d_in)
        loops = {
            STOCK: stock,
            PLAIN: plain_loop(config, streams[1], asked.d_in),
            OURS: our_loop(config, streams[2], asked.d_in, weights),
            SPARSE: stock_loop(config, streams[3], asked.d_in, sparse=True)[0],
        }
        held_out = next(store.batches("site", asked.batch, split="validation"))
        before = {name: loop.loss(held_out) for name, loop in loops.items()}
        for name, loop in list(loops.items()):
            try:
                loop.run(1)  # to warm up
            except NotImplementedError as error:
                print(f"{name} cannot train here: {str(error).split(' with')[0]}.")
                del loops[name]
        best: dict[str, Cost] = {}
        for _ in range(asked.turns):
            for name, loop in loops.items():
                best[name] = min(best.get(name, Cost(float("inf"), 0)), cost(loop.run, asked.steps))
        after = {name: loop.loss(held_out) for name, loop in loops.items()}
    print(f"{'loop':17} {'tokens/s':>9} {'a cpu-s':>9} {'× stock (cpu)':>14} {'(wall)':>7} {'loss from':>10} {'to':>8}")
    for name, each in best.items():
        rows = asked.batch * asked.steps
        ratios = f"{best[STOCK].processor / each.processor:14.2f} {best[STOCK].wall / each.wall:7.2f}"
        losses = f"{before[name]:10.2f} {after[name]:8.3f}"
        print(f"{name:17} {rows / each.wall:9.0f} {rows / each.processor:9.0f} {ratios} {losses}")
    steps, off = 1 + asked.turns * asked.steps, after[OURS] / after[STOCK] - 1
    print(f"After {steps} equal steps, the loss of ours is {off:+.4%} off the stock trainer's.")


if __name__ == "__main__":
    main()
