"""Words → pixels: how much attention each place of a picture pays to a word, as it is made (DAAM).

Equations (1) and (2) are those of `probes.attribution`. The tokens of a word are added up inside the hook, so that a
map costs no more memory than one call.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from probes.attribution import feature_maps, token_maps
from saes.progress import SILENT, Progress
from workbench.hooks import AttentionRecorder, AttentionSite, Clock
from workbench.interpret.attribution.cells import attended
from workbench.interpret.attribution.places import positions_of, words_of
from workbench.models import Janus, Model
from workbench.models.requests import pair

MAP_SIZE = 32  # pixels a side of a map
BATCH = 16


class WordMaps(NamedTuple):
    """Pictures, and for each the share of attention in [0, 1] that every place of it pays to its word."""

    images: UInt8[np.ndarray, "n image_height image_width 3"]
    maps: Float32[np.ndarray, "n height width"]


def word_maps(
    model: Model,
    prompts: str | Sequence[str],
    words: str | Sequence[str],
    seeds: int | Sequence[int],
    *,
    size: int = MAP_SIZE,
    progress: Progress = SILENT,
    **sampling: Any,
) -> WordMaps:
    """Makes pictures as `model.generate` does and maps the attention to a word of each: mean over heads, layers, steps.

    Of a Janus, each cell has the attention of the position that predicts it (`cells`), where other cells and the chat
    template have their shares too.

    One prompt goes with all seeds and one seed with all prompts, as there; one word goes with all. `sampling` is
    further arguments of `model.generate`. Raises `WorkbenchError` for a word that its prompt lacks.
    """
    cells = pair(prompts, seeds)
    asked = words_of(words, len(cells))
    asked_at = [[positions_of(model, cell.prompt, word)] for cell, word in zip(cells, asked, strict=True)]
    images, maps = [], []
    for start in progress(range(0, len(cells), BATCH), "attention"):
        batch = cells[start : start + BATCH]
        given = [cell.prompt for cell in batch], [cell.seed for cell in batch]
        if isinstance(model, Janus):
            codes = model.sample_codes(*given, batch_size=BATCH, **sampling)
            images.append(model.pictures(codes))
            shares = attended(model, codes, given[0], asked_at[start : start + BATCH]).mean(dim=(2, 3))
            maps.append(feature_maps(shares.mT, [0], size)[:, 0])
            continue
        with WordRecorder(model, asked_at[start : start + BATCH]) as recorder:
            images.append(model.generate(*given, batch_size=BATCH, **sampling))
        maps.append(recorder.maps(size)[:, 0])
    return WordMaps(np.concatenate(images), torch.cat(maps).numpy())


class WordRecorder:
    """Adds up the attention to words while its `with` block runs, in memory that does not grow with the calls.

    `places[row][word]` are the positions of a word in the prompt of a conditional row; each row has equally many words.
    Every call in the block has these rows, in this order.
    """

    def __init__(self, model: Model, places: Sequence[Sequence[Sequence[int]]]) -> None:
        self._places = places
        self._sums: dict[str, Tensor] = {}
        self._calls: dict[str, int] = {}
        self._recorder = AttentionRecorder(model, list(model.attention_sites().values()), self._add, role="cond")

    def __enter__(self) -> "WordRecorder":
        self._recorder.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._recorder.__exit__(*raised)

    def maps(self, size: int = MAP_SIZE) -> Float[Tensor, "rows words height width"]:
        """The mean over calls and sites, on the CPU. Raises `WorkbenchError` if nothing ran."""
        means = [(self._sums[alias] / self._calls[alias])[None].cpu() for alias in self._sums]
        return token_maps(means, size)

    def _add(self, site: AttentionSite, seen: Float[Tensor, "rows pixels tokens"], clock: Clock) -> None:
        words = torch.zeros(len(seen), seen.shape[-1], len(self._places[0]), device=seen.device)
        for row, own in enumerate(self._places):
            for word, positions in enumerate(own):
                words[row, positions, word] = 1.0
        self._sums[site.alias] = self._sums.get(site.alias, 0.0) + seen @ words  # (2)
        self._calls[site.alias] = self._calls.get(site.alias, 0) + 1
