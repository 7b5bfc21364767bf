"""What the features of one autoencoder do on some prompts, gathered in one pass and in memory that does not grow.

    (1)  z̄[p, l, f] = mean over what is read at place l of z_f               l a token, or a place of a picture
    (2)  g[p, f] = max over calls and content positions of z_f               the score of a prompt, as `probes.features`
    (3)  together(a, b) = Σ z̄_a z̄_b / √(Σ z̄_a² · Σ z̄_b²)                   sums over prompts and places, in [0, 1]
A text encoder is called once and its places are the tokens. The picture side is called at every step of a picture, and
its pixels are pooled to a grid of at most `GRID` a side, which a picture on a card does not resolve any finer. A
language model that writes pictures has both: the tokens of the prompt, and behind them the cells of the picture.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from probes.attribution import square_grid
from probes.features import prompt_scores
from saes.dictionary import Code, Dictionary
from workbench.dashboard.ranking import TARGETS, Kept, drawn_keys, n_drawn

GRID = 16
N_TOP = 8  # prompts on a card
ROWS = 1024  # of the table of all pairs of features, held at a time


class Nearest(NamedTuple):
    """For each feature, others from the nearest on, and how near they are."""

    features: Int64[Tensor, "d_sae n"]
    values: Float[Tensor, "d_sae n"]


@dataclass(eq=False)
class Gatherer:
    """Sees the rows of one site, batch by batch: `begin`, `see` for every call, `end`; then the figures are there."""

    dictionary: Dictionary
    n_tokens: int  # places of a prompt, which come first; 0 where no prompt passes
    pixels: int  # of a picture; 0 where none passes
    tokens: Sequence[Sequence[str]] = ()  # the words of each prompt's positions, in the order of the prompts
    begins: bool = True  # whether the first of them is a begin token
    rows: int = 0
    scores: list[Float[Tensor, "rows d_sae"]] = field(default_factory=list)
    top: Kept = field(init=False)  # the strongest prompts
    drawn: Kept = field(init=False)  # a uniform sample of those on which a feature fires
    timesteps: dict[float, Tensor] = field(default_factory=dict)  # timestep → Σ z over rows and pixels, [d_sae]

    def __post_init__(self) -> None:
        d_sae = self.dictionary.d_sae
        self.pooled = _pooled(self.pixels)
        self.n_cells = int(self.pooled.max()) + 1 if self.pixels else 0
        self.n_places = self.n_tokens + self.n_cells
        self.top, self.drawn = (Kept(d_sae, n, self.n_places) for n in (N_TOP, n_drawn(d_sae, self.n_places)))
        self.fired, self.total = torch.zeros(d_sae, dtype=torch.float64), torch.zeros(d_sae, dtype=torch.float64)
        spelt = self.tokens if self.n_tokens else ()
        self.words = {word: place for place, word in enumerate(sorted({w for row in spelt for w in row}))}
        self.word_sums, self.word_counts = torch.zeros(len(self.words), d_sae), torch.zeros(len(self.words))
        self.seen, self.products = 0, scipy.sparse.csr_array((d_sae, d_sae), dtype=np.float32)

    def begin(self, rows: int) -> None:
        """Starts a batch.

        Args:
            rows: How many prompts it has.
        """
        self.counts = torch.zeros(rows, self.n_places)
        self.sums = torch.zeros(rows, self.n_places, self.dictionary.d_sae)
        self.batch_scores = torch.zeros(rows, self.dictionary.d_sae)

    def see(
        self,
        x: Float[Tensor, "rows positions d"],
        content: Bool[Tensor, "rows positions"],
        position: Int64[Tensor, "rows positions"],
        pictured: Bool[Tensor, "rows positions"],
        timestep: float | None,
    ) -> None:
        """Takes in one call.

        Args:
            x: What the site holds, `[rows, positions, d]`.
            content: Which positions count, `[rows, positions]`.
            position: Number of each token, pixel or cell, `[rows, positions]`.
            pictured: Where these are numbers of pixels or cells, `[rows, positions]`.
            timestep: Of the call; None where there is none.
        """
        code = self.dictionary.encode(x)
        code = Code((code.values * content[..., None]).cpu(), code.indices.cpu())
        content, place = content.cpu(), self._place(position.cpu(), pictured.cpu())
        d_sae = self.dictionary.d_sae
        self.batch_scores = torch.maximum(self.batch_scores, prompt_scores(code, content, d_sae))  # (2)
        row = torch.arange(len(x))[:, None, None]
        flat = (row * self.n_places + place[..., None]) * d_sae + code.indices
        self.counts.scatter_add_(1, place, content.float())
        self.sums.view(-1).index_add_(0, flat.flatten(), code.values.flatten())
        summed = torch.zeros(d_sae).index_add_(0, code.indices.flatten(), code.values.flatten())
        self.fired += torch.bincount(code.indices[code.values > 0], minlength=d_sae)
        self.total += summed
        self.seen += int(content.sum())
        if timestep is not None:
            self.timesteps[timestep] = self.timesteps.get(timestep, torch.zeros(d_sae)) + summed

    def end(self) -> None:
        """Closes a batch: its prompts take their places among the strongest of each feature."""
        maps = self.sums / self.counts.clamp_min(1)[..., None]  # (1)
        flat = scipy.sparse.csr_array(maps.flatten(0, 1).numpy())
        self.products = self.products + flat.T @ flat
        self.top.take(self.batch_scores, self.batch_scores, maps, self.rows)
        self.drawn.take(drawn_keys(self.batch_scores, self.rows), self.batch_scores, maps, self.rows)
        if self.words:
            self._spell(maps)
        self.scores.append(self.batch_scores)
        self.rows += len(self.batch_scores)
        del self.sums

    def _place(
        self, position: Int64[Tensor, "rows positions"], pictured: Bool[Tensor, "rows positions"]
    ) -> Int64[Tensor, "rows positions"]:
        cell = self.n_tokens + self.pooled[position.clamp(0, self.pixels - 1)] if self.pixels else position
        return torch.where(pictured, cell, position.clamp_min(0))

    def _spell(self, maps: Float[Tensor, "rows places d_sae"]) -> None:
        for row, words in zip(maps, self.tokens[self.rows : self.rows + len(maps)], strict=False):
            first = int(self.begins)
            own = torch.tensor([self.words[word] for word in words[first:-1]], dtype=torch.int64)
            self.word_sums.index_add_(0, own, row[first : len(own) + first])
            self.word_counts.index_add_(0, own, torch.ones(len(own)))

    def loudest_words(self, n: int) -> list[list[str]]:
        """The words on which each feature is strongest, as a mean over their places.

        Args:
            n: How many at most.

        Returns:
            By feature, the loudest first; fewer if it fires on fewer, none where no prompt passes.
        """
        if not self.words:
            return [[] for _ in range(self.dictionary.d_sae)]
        means, words = self.word_sums / self.word_counts.clamp_min(1)[:, None], list(self.words)
        best = means.topk(min(n, len(words)), dim=0)
        pairs = zip(best.values.T.tolist(), best.indices.T.tolist(), strict=True)
        return [[words[at] for value, at in zip(*pair, strict=True) if value > 0] for pair in pairs]

    @property
    def bytes(self) -> int:
        """What the maps of the prompts that are kept take in a cache."""
        kept = self.top.n + len(TARGETS)
        return kept * self.dictionary.d_sae * self.n_places * self.top.maps.itemsize

    @property
    def density(self) -> Float[Tensor, " d_sae"]:
        """The share of content tokens and cells, or of pixels over all steps, on which each feature fires."""
        return (self.fired / max(self.seen, 1)).float()

    @property
    def mean_active(self) -> Float[Tensor, " d_sae"]:
        """Each feature's mean activation where it fires."""
        return (self.total / self.fired.clamp_min(1)).float()

    def together(self, n: int) -> Nearest:
        """The features that fire most on the same places.

        Args:
            n: How many for each feature.

        Returns:
            The nearest first, with (3); 0 where there are fewer.
        """
        norm = torch.from_numpy(np.sqrt(self.products.diagonal())).clamp_min(1e-12)

        def shared(rows: slice) -> Float[Tensor, "rows d_sae"]:
            products = torch.from_numpy(self.products[rows].toarray())
            return products / norm[rows, None] / norm[None, :]  # (3)

        found = _nearest(shared, self.dictionary.d_sae, n)
        return Nearest(found.features, found.values.clamp_min(0))

    def alike(self, n: int) -> Nearest:
        """The features whose decoder rows point in the most similar direction.

        Args:
            n: How many for each feature.

        Returns:
            The nearest first, with their cosine.
        """
        unit = torch.nn.functional.normalize(self.dictionary.W_dec.cpu().float(), dim=1)
        return _nearest(lambda rows: unit[rows] @ unit.T, len(unit), n)


def _nearest(likeness: Callable[[slice], Float[Tensor, "_ d_sae"]], d_sae: int, n: int) -> Nearest:
    """The n most alike others of each feature, from a thousand rows of the table of all pairs at a time."""
    best = []
    for start in range(0, d_sae, ROWS):
        rows = likeness(slice(start, start + ROWS))
        rows[torch.arange(len(rows)), torch.arange(start, start + len(rows))] = -2  # not itself
        best.append(rows.topk(min(n, d_sae), dim=1))
    return Nearest(torch.cat([each.indices for each in best]), torch.cat([each.values for each in best]))


def _pooled(pixels: int) -> Int64[Tensor, " pixels"]:
    """To which square of the grid each pixel belongs."""
    if not pixels:
        return torch.zeros(0, dtype=torch.int64)
    side, _ = square_grid(pixels)
    grid = max(n for n in range(1, min(side, GRID) + 1) if side % n == 0)
    along = torch.arange(side) // math.ceil(side / grid)
    return (along[:, None] * grid + along[None, :]).flatten()
