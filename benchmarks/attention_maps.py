"""What maps of attention cost: pictures with the attention to a word recorded at every layer and step, and without.

    python benchmarks/attention_maps.py [MODEL]

Claim: at most 1.10× of generation. Both take turns in one process and each pair gives a ratio; seconds are those of the
processor, in one thread, so that other work on the machine does not count. MODEL is the toy unless given.
"""

import statistics
import sys
import time

import numpy as np
import torch

from workbench.interpret.attribution.words import word_maps
from workbench.models import Model, load

ROUNDS = 20
PROMPT, WORD = "a photo of a red fox", "fox"
SEEDS = range(4)


def seconds(model: Model, recorded: bool) -> tuple[float, np.ndarray]:
    """Processor seconds of the pictures, and the pictures."""
    start = time.process_time()
    images = word_maps(model, PROMPT, WORD, SEEDS).images if recorded else model.generate(PROMPT, SEEDS)
    return time.process_time() - start, images


def main() -> None:
    """Prints the ratio; the pictures must be the same."""
    torch.set_num_threads(1)
    model = load(*sys.argv[1:] or ["toy"], device="cpu")
    pairs = []
    for number in range(ROUNDS + 1):
        order = (False, True) if number % 2 else (True, False)
        taken = {recorded: seconds(model, recorded) for recorded in order}
        assert (taken[True][1] == taken[False][1]).all(), "recording changed a picture"
        pairs.append((taken[False][0], taken[True][0]))
    pairs = pairs[1:]  # the first one also warms up
    ratios = [recorded / plain for plain, recorded in pairs]
    low, high = np.quantile(ratios, [0.25, 0.75])
    plain = statistics.median(plain for plain, _ in pairs) / len(SEEDS)
    print(f"generation: {plain:.3f} s a picture; with maps of attention {statistics.median(ratios):.3f}×", end=" ")
    print(f"(median of {ROUNDS}, quartiles {low:.3f} to {high:.3f}; {len(model.attention_sites())} layers, every step)")


if __name__ == "__main__":
    main()
