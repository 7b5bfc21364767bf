"""ESD with all that the frozen model has to say remembered, against asking it at every iteration, in one run.

    python benchmarks/cached_teacher.py [MODEL] [--iterations 4] [--rounds 5] [--trajectories 4] [--steps 16]

Claim: an iteration with remembered answers and text is at least 1.3× as fast as each of the others.
    remembered     frozen trajectories, the teacher's answers and the encoded texts made beforehand
    asked          the same latents, but text is encoded and the teacher asked at every iteration
    by the student `sampler="student"`, as published: the model in training draws its own latents
The first two learn the same: their losses are compared. What is made beforehand is timed apart and counted once: the
last line says after how many iterations it has paid for itself against the student's own latents. Seconds are those of
the processor, in one thread, so that other work on the machine does not count; the three take turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from saes.progress import SILENT
from workbench.erasure.esd import ESD, Seen, View
from workbench.fitting.copies import own_denoiser
from workbench.fitting.players import Player
from workbench.fitting.selectors import select, wanted
from workbench.fitting.training import train
from workbench.models import Model, load

BOUND, TEXT = 1.3, "a photo of a fox"
REMEMBERED, ASKED, BY_STUDENT = "remembered", "asked", "by the student"


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints one line a way, and what the preparation costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="toy")
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trajectories", type=int, default=4)
    parser.add_argument("--steps", type=int, default=16)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = load(asked.model, device="cpu")
    method = ESD(iterations=asked.iterations, trajectories=asked.trajectories, steps=asked.steps)
    began = time.process_time()
    view = method._frozen(model, [TEXT], 0, SILENT)
    prepared = time.process_time() - began
    seconds, losses = turns(ways(method, model, view), asked.rounds)
    each = {name: [one / asked.iterations for one in found] for name, found in seconds.items()}
    print(f"{model.name}, ESD-x, {asked.rounds} rounds of {asked.iterations} iterations, {asked.steps} steps")
    for name, found in each.items():
        ratios = [one / ours for one, ours in zip(found, each[REMEMBERED], strict=True)]
        print(f"{name}: {statistics.median(found):.3f} s an iteration, {statistics.median(ratios):.2f}× as long as "
              f"remembered (from {min(ratios):.2f} to {max(ratios):.2f}; bound {BOUND}×)")  # fmt: skip
    gap = max(abs(a - b) / b for a, b in zip(losses[REMEMBERED], losses[ASKED], strict=True))
    print(f"largest relative difference of the losses, remembered and asked: {gap:.1e}")
    saved = statistics.median(each[BY_STUDENT]) - statistics.median(each[REMEMBERED])
    one = prepared / asked.trajectories
    print(f"made beforehand: {one:.2f} s a trajectory; {ESD().trajectories}, as by default, have paid for themselves "
          f"after {ESD().trajectories * one / saved:.0f} iterations instead of the student's own")  # fmt: skip


def ways(method: ESD, model: Model, view: View) -> dict[str, Callable[[], list[float]]]:
    """Each trains a fresh student and gives its losses."""

    def fitted(seen: Callable[[Model, torch.Generator], Seen]) -> Callable[[], list[float]]:
        student = own_denoiser(model, wanted(method.train))
        trained = select(student, method.train)
        start = {name: one.detach().clone() for name, one in trained.items()}

        def run() -> list[float]:
            for name, one in trained.items():
                one.data.copy_(start[name])
            return train(
                Player(trained, lambda _, draw: method.loss(model, student, seen(student, draw)), method.plan)
            ).losses

        return run

    def asked(student: Model, generator: torch.Generator) -> Seen:
        found = view.drawn(method.batch, generator)
        cond, uncond = model.encode(found.prompts), model.encode("", role="uncond")  # each time anew
        with torch.no_grad():
            answers = [model.noise_prediction(found.latents, found.timesteps, text) for text in (cond, uncond)]
        return found._replace(target=method.target(answers[0], *answers))

    return {
        REMEMBERED: fitted(lambda _, draw: view.drawn(method.batch, draw)),
        ASKED: fitted(asked),
        BY_STUDENT: fitted(lambda student, draw: method.online(model, student, [TEXT], draw)),
    }


def turns(
    runs: dict[str, Callable[[], list[float]]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each round and the losses, by name; the order turns round each time. One round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    losses = {}
    for number in range(rounds + 1):
        for name in list(runs) if number % 2 else list(runs)[::-1]:
            began = time.process_time()
            losses[name] = runs[name]()
            if number:
                seconds[name].append(time.process_time() - began)
    return seconds, losses


if __name__ == "__main__":
    main()
