"""How much longer one piece of work takes than another, on a machine that has other work too."""

import statistics
import time
from collections.abc import Callable


def turns(plain: Callable[[], object], edited: Callable[[], object], rounds: int) -> tuple[float, list[float]]:
    """The median seconds of `plain`, and the ratio of each pair; who goes first alternates. One pair warms up."""
    seconds, ratios = [], []
    for number in range(rounds + 1):
        order = [plain, edited] if number % 2 else [edited, plain]
        taken = {call: timed(call) for call in order}
        if number:
            seconds.append(taken[plain])
            ratios.append(taken[edited] / taken[plain])
    return statistics.median(seconds), ratios


def timed(call: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start
