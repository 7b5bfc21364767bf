"""Prompts and seeds made into pairs: what makes one picture each."""

from typing import Any, NamedTuple

import numpy as np

from saes.errors import WorkbenchError
from saes.plain import whole


class Request(NamedTuple):
    """What makes an image, besides the settings that all share: a text, or ids or embeddings of one row, and a seed."""

    prompt: Any
    seed: int


def pair(prompts: Any, seeds: Any) -> list[Request]:
    """One prompt with each seed, each prompt with one seed, or one by one.

    Args:
        prompts: A text, or a sequence of texts or of single prompts of another form.
        seeds: Whole numbers 0 … 2⁶³ − 1: one, or a sequence, of Python's, NumPy's or torch's.

    Raises:
        WorkbenchError: For none, numbers of prompts and seeds that do not match, and what is no seed.
    """
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    seeds = [_seed(seed) for seed in (np.atleast_1d(np.asarray(seeds, object)))]
    if not prompts or not seeds:
        raise WorkbenchError("There is nothing to generate.", "Give at least one prompt and one seed.")
    if len(prompts) != len(seeds) and 1 not in (len(prompts), len(seeds)):
        raise WorkbenchError(
            f"There are {len(prompts)} prompts and {len(seeds)} seeds.",
            "Give as many seeds as prompts, one prompt for all seeds, or one seed for all prompts.",
        )
    n_images = max(len(prompts), len(seeds))
    prompts = prompts * n_images if len(prompts) == 1 else prompts
    seeds = seeds * n_images if len(seeds) == 1 else seeds
    return [Request(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]


def _seed(given: Any) -> int:
    seed = whole(given)
    if seed is None or isinstance(given, str) or not 0 <= seed < 2**63:
        raise WorkbenchError(f"{given} is no seed.", "Give whole numbers from 0 to 9223372036854775807 (2⁶³ − 1).")
    return seed
