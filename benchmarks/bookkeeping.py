"""What an evaluation costs beside its model, and how long metrics and a report of 2,000 pictures take.

    python benchmarks/bookkeeping.py [--images 96] [--pictures 2000]

Evaluation: processor seconds of everything but `model.generate`, as a share of all (bound 10 %), on the toy at its own
settings. Metrics and report: wall-clock seconds (bounds 1 and 5) of a run of drawn pictures, so that no model waits.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import workbench as wb
from workbench import toy
from workbench.models import Model
from workbench.toy.render import render
from workbench.toy.scenes import random_scene

SHARE, METRICS, REPORT = 0.10, 1.0, 5.0


@contextmanager
def generating(model: Model, generate: Callable) -> Iterator[None]:
    """The model with another `generate` while the block runs."""
    model.generate = generate  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.generate


def share_beside_the_model(images: int) -> float:
    """The part of an evaluation's processor time that is not the model's, in [0, 1], over some `images`."""
    model, spent = wb.load("toy", device="cpu"), 0.0
    edit = wb.UCE().fit(model, [toy.concepts()["fox"]])
    suite, judge = toy.suite("fox", max(1, images // 8), 0), toy.Oracle.load()
    original = model.generate

    def timed(*args: object, **settings: object) -> np.ndarray:
        nonlocal spent
        began = time.process_time()
        made = original(*args, **settings)  # type: ignore[arg-type]
        spent += time.process_time() - began
        return made

    with tempfile.TemporaryDirectory() as folder, generating(model, timed):
        began = time.process_time()
        wb.evaluate(model, {"uce": edit}, suite, judge, Path(folder) / "run")
        return 1 - spent / (time.process_time() - began)


def seconds_of_metrics_and_report(pictures: int) -> tuple[float, float]:
    """Of a run whose pictures are drawn by the toy's renderer instead of by a model."""
    model, judge = wb.load("toy", device="cpu"), toy.Oracle.load()
    edit = wb.UCE().fit(model, [toy.concepts()["fox"]])
    drawn = np.stack([render(random_scene(np.random.default_rng(i))).image for i in range(64)])

    def instead(prompts: list[str], seeds: list[int], **settings: object) -> np.ndarray:
        return drawn[np.array(seeds) % len(drawn)]

    with tempfile.TemporaryDirectory() as folder:
        with generating(model, instead):
            suite = toy.suite("fox", max(1, pictures // 8), 0)
            run = wb.evaluate(model, {"uce": edit}, suite, judge, Path(folder) / "run", floor=0.0)
        began = time.perf_counter()
        wb.metrics(run)
        after = time.perf_counter()
        wb.report(run, Path(folder) / "report.html")
        return after - began, time.perf_counter() - after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--pictures", type=int, default=2000)
    asked = parser.parse_args()
    print(f"evaluate beside its model  {share_beside_the_model(asked.images):.1%}  (bound {SHARE:.0%})")
    metrics, report = seconds_of_metrics_and_report(asked.pictures)
    print(f"metrics of {asked.pictures} pictures  {metrics:.2f} s  (bound {METRICS:g} s)")
    print(f"report of {asked.pictures} pictures  {report:.2f} s  (bound {REPORT:g} s)")


if __name__ == "__main__":
    main()
