"""How fast an evaluation makes, judges and stores pictures, against the bare diffusers pipeline, in one run.

    python benchmarks/evaluation_speed.py [--pictures 32] [--steps 10] [--rounds 3]

Claim: at least 0.85× the pictures per second of the pipeline alone.
    pipeline      diffusers' own call on the same prompts, in the same batches; pictures are thrown away
    evaluation    `wb.evaluate` of an edit: pictures with and without it, the oracle's looks, drifts, PNGs, tables
The toy's pictures are small, so that all that is not the model weighs most here. The two take turns; seconds are
those of the processor, in one thread.
"""

import argparse
import statistics
import tempfile
from itertools import count
from pathlib import Path

import torch

from workbench import toy
from workbench.concepts import Concept
from workbench.edits import Edit
from workbench.erasure.uce import UCE
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.suites import Suite
from workbench.models import Model, load
from workbench.testing.timing import turns

BOUND, BATCH = 0.85, 16


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line and prints a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, oracle, numbers = load("toy", device="cpu"), toy.Oracle.load(), count()
    edit = UCE().fit(model, [Concept("fox", anchor="fish")])
    rows = toy.suite("fox", -(-asked.pictures // 6), seed=1).rows[: asked.pictures]
    suite = Suite("fox", rows, "fish")
    with tempfile.TemporaryDirectory() as folder:
        seconds, ratios = turns(
            lambda: bare(model, suite, asked.steps),
            lambda: evaluated(model, suite, edit, oracle, asked.steps, Path(folder, str(next(numbers)))),
            asked.rounds,
        )
    shares = sorted(2 / ratio for ratio in ratios)  # an evaluation makes every picture twice, without and with the edit
    print(
        f"pipeline {len(rows) / seconds:.2f} pictures a second; evaluation {statistics.median(shares):.3f}× "
        f"(from {shares[0]:.3f} to {shares[-1]:.3f}; claim: at least {BOUND}×)"
    )


@torch.no_grad()
def bare(model: Model, suite: Suite, steps: int) -> None:
    """The pipeline's own call."""
    model.pipe.set_progress_bar_config(disable=True)
    for start in range(0, len(suite.rows), BATCH):
        rows = suite.rows[start : start + BATCH]
        model.pipe(
            [row.prompt for row in rows], num_inference_steps=steps, guidance_scale=model.settings["guidance_scale"],
            generator=[torch.Generator().manual_seed(row.seed) for row in rows], output_type="np",
        )  # fmt: skip


def evaluated(model: Model, suite: Suite, edit: Edit, oracle: toy.Oracle, steps: int, folder: Path) -> None:
    """The whole evaluation of one edit."""
    evaluate(model, {"UCE": edit}, suite, oracle, folder, batch_size=BATCH, steps=steps)


if __name__ == "__main__":
    main()
