"""What each method costs on the toy: a fit in units of an image, and an image with the edit in units of one without.

    python benchmarks/edit_costs.py [--concept fox] [--rounds 5] [--images 8] [--methods ItD SLD …]

Methods and settings are those of `workbench compare --all`. Images are made in turns, without an edit and with it, and
the ratio is the median over the rounds. Seconds are those of the processor, in one thread, so that other work on the
machine counts little. There is no bound: SPM and SLD have benchmarks of their own.
"""

import argparse
import statistics
import time
from collections.abc import Sequence

import torch

from workbench import toy
from workbench.comparison.plan import read_comparison
from workbench.edits import Edit
from workbench.models import load
from workbench.testing.timing import timed, turns


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints a row a method."""
    entries = read_comparison(toy.all_methods()).methods
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concept", default="fox", choices=list(toy.concepts()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--methods", nargs="+", default=list(entries), choices=list(entries), metavar="METHOD")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, concept = load("toy", device="cpu"), toy.concepts()[asked.concept]
    prompts = [concept.prompts()[i % len(concept.prompts())] for i in range(asked.images)]

    def images() -> object:
        return model.generate(prompts, range(len(prompts)))

    image = timed(images) / len(prompts)
    print(f"{asked.concept}; an image without an edit takes {image:.3f} s; {asked.rounds} rounds of {asked.images}")
    for name in asked.methods:
        began = time.process_time()
        edit = entries[name].made(name).fit(model, [concept], seed=0)
        fit = time.process_time() - began

        def edited(edit: Edit = edit) -> None:
            with model.edited(edit):
                images()

        _, ratios = turns(images, edited, asked.rounds)
        print(f"{name:20} a fit is {fit / image:6.0f} images, an image {statistics.median(ratios):.3f}×  "
              f"(from {min(ratios):.3f} to {max(ratios):.3f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
