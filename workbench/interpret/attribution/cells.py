"""Words → cells of a picture that a Janus writes: what each cell's prediction attends to, and what it would lose.

Both maps are of given tokens c, in one pass over prompt and picture. The position that predicts cell k reads token
k − 1, or the begin-of-image token.
    (1)  A_w(k) = mean over layers and heads of the share of attention that this position pays to the tokens of w
    (2)  E_w(k) = log p(c_k | prompt, c_<k) − log p(c_k | prompt without w, c_<k)         in nats
In the prompt without w its tokens are padding, which is what stands for words in the row without a prompt, so that the
model has met it in training. (1) is where the model looks, (2) what comes of it: attention is no effect.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.hooks import AttentionRecorder, AttentionSite, Clock, Place
from workbench.interpret.attribution.likelihood import Codes, log_likelihood
from workbench.interpret.attribution.places import positions_of, words_of
from workbench.models import Janus, Model
from workbench.models.janus.model import as_janus
from workbench.models.prompts import TokenIds
from workbench.models.requests import pair
from workbench.settings import settled

BATCH = 8  # pictures at once


class WordEffects(NamedTuple):
    """Pictures, and for each what its cells would lose without its word (2), beside a control of equal size.

    Args:
        images: uint8 `[n, height, width, 3]`.
        maps: Nats `[n, side, side]`, a number a cell; negative where the token is likelier without the word.
        control: The same for as many other tokens of the prompt, mean over all that stand side by side.
    """

    images: UInt8[np.ndarray, "n height width 3"]
    maps: Float32[np.ndarray, "n side side"]
    control: Float32[np.ndarray, "n side side"]


@torch.no_grad()
def word_effects(
    model: Model,
    prompts: str | Sequence[str],
    words: str | Sequence[str],
    seeds: int | Sequence[int],
    *,
    progress: Progress = SILENT,
    **sampling: Any,
) -> WordEffects:
    """Draws pictures as `model.generate` does and asks what each cell's token owes to a word (2).

    Args:
        model: A Janus, with whatever edits are in place.
        prompts: One for all seeds, or one for each.
        words: One for all pictures, or one for each; its prompt has other tokens, at least as many.
        seeds: As for `model.generate`.
        progress: Shows the batches.
        sampling: Further arguments of `model.generate`.

    Returns:
        Pictures and maps.

    Raises:
        WorkbenchError: The model is no Janus, a prompt lacks its word, or has too few other tokens for the control.
    """
    janus = as_janus(model, "The effect of a word on cells")
    requests = pair(prompts, seeds)
    asked = words_of(words, len(requests))
    own = [positions_of(janus, one.prompt, word) for one, word in zip(requests, asked, strict=True)]
    others = [_others(janus, one.prompt, at) for one, at in zip(requests, own, strict=True)]
    settings, found = settled(model.settings, sampling), list[tuple[Codes, Tensor, Tensor]]()
    for start in progress(range(0, len(requests), BATCH), "words"):
        some = slice(start, start + BATCH)
        texts = [one.prompt for one in requests[some]]
        codes = janus.sample_codes(texts, [one.seed for one in requests[some]], batch_size=BATCH, **settings)
        maps = lost(janus, codes, texts, [[at, *more] for at, more in zip(own[some], others[some], strict=True)])
        control = torch.stack([each[1:].mean(dim=0) for each in maps])
        found.append((codes, torch.stack([each[0] for each in maps]), control))
    every, whole, other = (torch.cat(column) for column in zip(*found, strict=True))
    side = round(every.shape[1] ** 0.5)
    return WordEffects(janus.pictures(every), *(one.reshape(-1, side, side).numpy() for one in (whole, other)))


def attended(
    model: Janus, codes: Codes, prompts: list[str], places: Sequence[Sequence[Sequence[int]]]
) -> Float[Tensor, "rows words layers heads cells"]:
    """(1) before the mean: the share of attention of every head to every word.

    Args:
        model: The model.
        codes: All tokens of each picture.
        prompts: One for each picture.
        places: `places[row][word]` are positions in the prompt, equally many words in each row.

    Returns:
        Shares in [0, 1], on the CPU.
    """
    layers: list[Tensor] = []

    def add(site: AttentionSite, seen: Tensor, clock: Clock) -> None:
        tokens = clock.tokens
        assert tokens is not None, "the language model says what its positions hold"
        of_prompt = tokens.places != Place.PICTURE
        words = torch.zeros(len(seen), len(places[0]), seen.shape[-1], device=seen.device)
        for row, own in enumerate(places):
            for word, positions in enumerate(own):
                there = torch.isin(tokens.position[row], torch.tensor(list(positions), device=seen.device))
                words[row, word] = (there & of_prompt[row]).float()
        layers.append(torch.einsum("rhqk,rwk->rwhq", seen[:, :, -codes.shape[1] :], words).cpu())

    with AttentionRecorder(model, list(model.attention_sites().values()), add, role="cond", heads=True):
        model.hidden(codes, prompts)
    return torch.stack(layers, dim=2)


def lost(
    model: Janus, codes: Codes, prompts: list[str], places: Sequence[Sequence[Sequence[int]]]
) -> list[Float[Tensor, "words cells"]]:
    """(2) for every word of every row: `places[row][word]` are positions in the row's prompt."""
    whole = log_likelihood(model, codes, prompts)
    found: list[list[Tensor]] = [[] for _ in prompts]
    for word in range(max(map(len, places))):
        rows = [row for row, own in enumerate(places) if word < len(own)]
        ids = _without(model, [prompts[row] for row in rows], [places[row][word] for row in rows])
        left = log_likelihood(model, codes[rows], TokenIds((ids,)))
        for row, one in zip(rows, left, strict=True):
            found[row].append(whole[row] - one)
    return [torch.stack(own) for own in found]


def _without(model: Janus, prompts: list[str], places: Sequence[Sequence[int]]) -> Int64[Tensor, "rows positions"]:
    """The ids of prompts with padding at some positions."""
    layout = model.architecture.layout
    ids = layout.ids(prompts)
    first = ids.shape[1] - layout.attended(ids).sum(dim=1)
    for row, positions in enumerate(places):
        ids[row, [int(first[row]) + position for position in positions]] = layout.special.pad
    return ids


def _others(model: Janus, prompt: str, own: Sequence[int]) -> list[list[int]]:
    """As many other tokens of the prompt's words, side by side: all choices of them."""
    layout = model.architecture.layout
    (places,) = layout.tokens(layout.ids([prompt]), "cond").places.tolist()
    other = [position for position, place in enumerate(places) if place == Place.WORD and position not in own]
    found = [other[start : start + len(own)] for start in range(len(other) - len(own) + 1)]
    if not found:
        raise WorkbenchError(
            f"{prompt!r} has too few other tokens for a control of the word's own {len(own)}.", "Give a longer prompt."
        )
    return found
