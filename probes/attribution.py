"""Where words and features act: maps and lists computed from recorded tensors.

Cross-attention says how much of what a pixel reads comes from each token. Averaged over calls and sites this is a
picture for each word, as in DAAM (Tang et al. 2023, arXiv:2210.04885):
    (1)  A_t(y, x) = mean over sites of resize( mean over calls of P[call, (y, x), t] )
    (2)  A_word = Σ_{t ∈ tokens of the word} A_t
A is a share: over all tokens of the prompt, padding included, it sums to 1 at every pixel. DAAM sums over calls and
sites and averages a word's tokens; shares are used here since they can be compared between words, models and edits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import interpolate

from saes.errors import WorkbenchError


def token_maps(
    sites: Sequence[Float[Tensor, "_ rows _ tokens"]], size: int, grids: Sequence[tuple[int, int]] | None = None
) -> Float[Tensor, "rows tokens height width"]:
    """How much of each pixel's attention each token gets: equation (1).

    Args:
        sites: attention probabilities of each recorded module, `[calls, rows, pixels, tokens]`, pixels in row order.
        size: height and width of the maps.
        grids: height and width of each site; None: they are square.

    Returns:
        `[rows, tokens, size, size]`, shares in [0, 1].

    Raises:
        WorkbenchError: there are no sites, or the pixels of one do not fill its grid.
    """
    if not sites:
        raise WorkbenchError("There are no attention maps to show.", "Record at least one cross-attention site.")
    shapes = grids or [square_grid(site.shape[2]) for site in sites]
    resized = [_resize(_as_grid(site.mean(dim=0), grid), size) for site, grid in zip(sites, shapes, strict=True)]
    return torch.stack(resized).mean(dim=0)  # (1)


def activation_by_word(
    activations: Sequence[Float[Tensor, " _"]], tokens: Sequence[Sequence[str]]
) -> list[tuple[str, float]]:
    """One feature's mean activation on each token text over many prompts, for a feature card.

    Args:
        activations: activation on each token of each prompt. What lies beyond its tokens (padding) is left out.
        tokens: texts of each prompt's tokens.

    Returns:
        Text and mean activation, the strongest first, without tokens on which the feature never fires.
    """
    seen: dict[str, list[float]] = {}
    for values, texts in zip(activations, tokens, strict=True):
        for value, text in zip(values.tolist(), texts, strict=False):
            seen.setdefault(text, []).append(value)
    means = [(text, sum(values) / len(values)) for text, values in seen.items() if any(values)]
    return sorted(means, key=lambda pair: (-pair[1], pair[0]))


def feature_maps(
    z: Float[Tensor, "rows pixels features"], features: Sequence[int], size: int, grid: tuple[int, int] | None = None
) -> Float[Tensor, "rows chosen height width"]:
    """Where in the picture chosen features of an image site fire.

    Args:
        z: features, `[rows, pixels, d_sae]`, pixels in row order.
        features: the chosen ones.
        size: height and width of the maps.
        grid: height and width of the site; None: it is square.

    Returns:
        `[rows, chosen, size, size]`, in the features' own units.

    Raises:
        WorkbenchError: the pixels do not fill the grid.
    """
    chosen = z[:, :, list(features)]
    return _resize(_as_grid(chosen, grid or square_grid(z.shape[1])), size)


class Agreement(NamedTuple):
    """A rank correlation in [−1, 1], its 95 % interval, and the 97.5 % quantile of what shuffled labels give."""

    rho: float
    low: float
    high: float
    shuffled: float


def rank_agreement(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], *, draws: int = 1000, seed: int = 0
) -> Agreement:
    """Spearman's ρ between two scores of the same features, bootstrapped over features.

    Args:
        first: one score, `[n]`.
        second: the other, `[n]`.
        draws: number of bootstrap samples, and of shufflings.
        seed: seed of both.

    Returns:
        ρ with its interval and what shuffled labels give; all NaN if a score is constant.

    Raises:
        WorkbenchError: there are fewer than three features, which always agree or disagree.
    """
    if len(first) < 3:
        raise WorkbenchError(f"{len(first)} features have no order to agree on.", "Give three or more.")
    rho, rng = _spearman(first, second), np.random.default_rng(seed)
    if np.isnan(rho):
        return Agreement(rho, rho, rho, rho)
    picks = rng.integers(len(first), size=(draws, len(first)))
    drawn = [_spearman(first[pick], second[pick]) for pick in picks]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    shuffled = [_spearman(first, rng.permutation(second)) for _ in range(draws)]
    return Agreement(rho, float(low), float(high), float(np.quantile(shuffled, 0.975)))


def _spearman(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    ranks = rankdata(first) - (len(first) + 1) / 2, rankdata(second) - (len(second) + 1) / 2
    lengths = float(np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1]))
    return float(ranks[0] @ ranks[1]) / lengths if lengths else float("nan")


def square_grid(pixels: int) -> tuple[int, int]:
    """The grid of a square picture.

    Args:
        pixels: number of its pixels.

    Returns:
        Height and width.

    Raises:
        WorkbenchError: no square has that many pixels.
    """
    side = round(pixels**0.5)
    if side * side != pixels:
        raise WorkbenchError(f"{pixels} pixels are no square.", "Pass the height and width of the site as its grid.")
    return side, side


def _as_grid(
    values: Float[Tensor, "rows pixels columns"], grid: tuple[int, int]
) -> Float[Tensor, "rows columns height width"]:
    if grid[0] * grid[1] != values.shape[1]:
        raise WorkbenchError(f"{values.shape[1]} pixels do not fill {grid[0]}×{grid[1]}.", "Pass the site's own grid.")
    return values.mT.unflatten(-1, grid)


def _resize(maps: Float[Tensor, "rows columns _ _"], size: int) -> Float[Tensor, "rows columns height width"]:
    # Bilinear between pixel centres keeps shares within [0, 1] and their sum over tokens at 1; bicubic would overshoot.
    return interpolate(maps, size=(size, size), mode="bilinear", align_corners=False)
