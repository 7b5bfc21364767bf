"""AdvUnlearn with whole trajectories made once, against latents drawn anew for each loss, in one run.

    python benchmarks/remembered_rollouts.py [MODEL] [--iterations 2] [--rounds 3] [--attack-steps 4] [--steps 16]

Claim: an iteration with remembered rollouts is at least 4× as fast.
    remembered    latents and the frozen model's answers from whole trajectories, made beforehand
    fresh         as published: half a trajectory in the mean for each step of the search, for the loss that erases,
                  and for each prompt of the one that keeps
Both search and learn alike, from latents of the same distribution; that what is remembered is what the model says is
checked at the latents that are drawn. What is made beforehand is timed apart and counted once: the last line says after
how many iterations it has paid for itself. Seconds are those of the processor, in one thread, so that other work on the
machine does not count; the two take turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from saes.progress import SILENT
from workbench.erasure.advunlearn import AdvUnlearn, Lesson, Pair, retention
from workbench.fitting.embedding import encoded
from workbench.fitting.players import Player
from workbench.fitting.rollouts import Rollouts
from workbench.fitting.training import train
from workbench.models import Diffusion, load

BOUND, TEXT = 4.0, "a photo of a fox"
KEPT = [f"a photo of a {word}" for word in ("dog", "cat", "bear", "house", "car")]
REMEMBERED, FRESH = "remembered", "fresh"


class Prepared(NamedTuple):
    """Both rollouts of a way, and the seconds that it took to make them."""

    concepts: Rollouts
    kept: Rollouts
    seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints one line a way, what is remembered wrongly, and what preparation costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="toy")
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attack-steps", type=int, default=4)
    parser.add_argument("--steps", type=int, default=16)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = load(asked.model, device="cpu")
    how = {"iterations": asked.iterations, "attack_steps": asked.attack_steps, "steps": asked.steps, "trajectories": 1}
    ways = {name: AdvUnlearn(rollouts=name, warmup=0, **how) for name in (REMEMBERED, FRESH)}
    pair = ways[REMEMBERED].pair(model)
    prepared = {name: made(method, pair) for name, method in ways.items()}
    seconds = turns({name: fitted(ways[name], pair, one) for name, one in prepared.items()}, asked.rounds)
    each = {name: [one / asked.iterations for one in found] for name, found in seconds.items()}
    print(
        f"{model.name}, AdvUnlearn, {asked.rounds} rounds of {asked.iterations} iterations, "
        f"{asked.attack_steps} steps of the search, {asked.steps} of a trajectory"
    )
    for name, found in each.items():
        ratios = [one / ours for one, ours in zip(found, each[REMEMBERED], strict=True)]
        print(
            f"{name}: {statistics.median(found):.3f} s an iteration, {statistics.median(ratios):.2f}× as long as "
            f"remembered (from {min(ratios):.2f} to {max(ratios):.2f}; bound {BOUND}×)"
        )
    print(f"largest relative difference of answers, remembered and asked: {gap(model, prepared[REMEMBERED]):.1e}")
    saved = statistics.median(each[FRESH]) - statistics.median(each[REMEMBERED])
    one, by_default = prepared[REMEMBERED].seconds / (1 + len(KEPT)), 2 * AdvUnlearn().trajectories
    print(
        f"made beforehand: {one:.2f} s a trajectory; {by_default}, as by default, have paid for themselves after "
        f"{by_default * one / saved:.0f} iterations"
    )


def made(method: AdvUnlearn, pair: Pair) -> Prepared:
    """The rollouts of a way."""
    began = time.process_time()
    concepts, kept = (method._rollouts(pair, texts, "all", 0, SILENT) for texts in ([TEXT], KEPT))
    return Prepared(concepts, kept, time.process_time() - began)


def fitted(method: AdvUnlearn, pair: Pair, prepared: Prepared) -> Callable[[], object]:
    """Trains from the model's own weights."""
    start = {name: one.detach().clone() for name, one in pair.trained.items()}

    def run() -> object:
        for name, one in pair.trained.items():
            one.data.copy_(start[name])
        lesson = Lesson(pair, prepared.concepts, [TEXT])

        def loss(step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
            erasure = method.erasure(lesson, step, generator)
            return {"erasure": erasure, "retention": retention(pair, prepared.kept, KEPT, generator)}

        return train(Player(pair.trained, loss, method.plan))

    return run


@torch.no_grad()
def gap(model: Diffusion, prepared: Prepared) -> float:
    """Of what is remembered and what the model says when it is asked."""
    seen = prepared.kept.at(KEPT, torch.Generator().manual_seed(0))
    answers = model.noise_prediction(seen.latents, seen.timesteps, encoded(model, KEPT))
    return float((answers - seen.cond).norm() / seen.cond.norm())


def turns(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round by name; the order turns round each time. One round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name in list(runs) if number % 2 else list(runs)[::-1]:
            began = time.process_time()
            runs[name]()
            if number:
                seconds[name].append(time.process_time() - began)
    return seconds


if __name__ == "__main__":
    main()
