"""Causal tracing: where, and when, a prompt's word decides what the model predicts.

After Meng et al. 2022 (arXiv:2202.05262). A sentence is read once with the concept's word (clean) and once with another
word of equal length (corrupted). One activation of the clean run is put into the corrupted run, at the same latents
and noise; ε are the predictions.
    (1)  restored = 1 − ‖ε_patched − ε_clean‖² / ‖ε_corrupted − ε_clean‖²
1 if the patch alone brings the clean prediction back, 0 if it does nothing, negative if it leads elsewhere. A sum over
the pixels and the observed steps stands in each norm. The control patches the activation of a third word: whatever
moves the prediction without carrying the concept restores nothing.

In text sites a patch is a part of the sentence (`TOKENS`), in picture sites a step of the denoising.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probes.statistics import bootstrap_means, middle_95
from saes.errors import WorkbenchError, check_at_least
from saes.progress import SILENT, Progress
from workbench.activations.positions import Frame, token_places
from workbench.activations.reading import Reading, held, makes_pictures, watched
from workbench.fitting.rows import subject_span
from workbench.fitting.trajectories import trajectories
from workbench.hooks import Clock, Place, Site, SiteEdit
from workbench.models import Diffusion, Model
from workbench.models.diffusion.architecture import Latents
from workbench.models.encoding import Encoding
from workbench.studies.contexts import check_lengths, check_readings, with_word

TOKENS = ("before", "the word", "after", "end", "padding")
COLUMNS = ("site", "step", "token", "restored", "low", "high", "control", "control_low", "control_high")
Squares = Float[np.ndarray, " prompts"]


class Predicted(NamedTuple):
    """Predictions `[prompts, …]` that one row of the trace compares."""

    patched: Tensor
    control: Tensor
    clean: Tensor
    corrupted: Tensor


class Runs(NamedTuple):
    """The three readings of the same sentences, and the latents at which all are compared."""

    clean: Encoding
    corrupted: Encoding
    unrelated: Encoding
    prompts: dict[str, list[str]]  # by the name of the reading
    timesteps: list[int]
    latents: Float[Tensor, "prompts steps channels height width"]


def trace(
    model: Diffusion,
    prompts: Sequence[str],
    word: str,
    others: Sequence[str],
    sites: Sequence[str],
    *,
    steps: int = 4,
    seed: int = 0,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """Traces `word` through `sites`. Prompt i is corrupted by word i of `others`, going round, and its control is the
    next one, so that two others at least are needed; `steps` evenly spaced steps of the denoising are compared.

    A row for each site and part of the sentence (text; step is NaN), or for each site and step (picture; token is
    ""). `restored` (1) with low and high (95 %, bootstrap over prompts), and the same of the control. SD1, SD2, SDXL.
    """
    check_at_least(1, steps=steps)
    runs = _runs(model, readings(model, prompts, word, others, sites), steps, seed)
    table = []
    for alias in progress(list(dict.fromkeys(sites)), "traced sites"):
        site = model.site(alias)
        rows = _by_step(model, site, runs) if makes_pictures([site]) else _by_part(model, site, runs, word)
        table += [{"site": alias, **about, **_shares(found, seed)} for about, found in rows]
    return pd.DataFrame(table, columns=list(COLUMNS))


def readings(
    model: Model, prompts: Sequence[str], word: str, others: Sequence[str], sites: Sequence[str]
) -> dict[str, list[str]]:
    """The three readings of each sentence: clean, corrupted, and unrelated for the control.

    Raises `WorkbenchError` for what no trace can be made of, as `trace` says.
    """
    others = list(dict.fromkeys(others))
    if len(others) < 2:
        raise WorkbenchError(
            "A trace needs two other words: one to corrupt with, one as control.", "Spare two at least: [cat, mug]."
        )
    if not prompts or not sites:
        raise WorkbenchError(f"There are no {'sites' if prompts else 'prompts'} to trace.", "Give at least one.")
    if word.casefold() in {other.casefold() for other in others}:
        raise WorkbenchError(f"The trace corrupts {word!r} with itself.", "Spare other words than the one traced.")
    read = {"clean": with_word(prompts, word, [word])}
    read["corrupted"] = with_word(prompts, word, others)
    read["unrelated"] = with_word(prompts, word, [*others[1:], others[0]])
    for sentences in zip(*read.values(), strict=True):
        check_readings(model, [sentences])
    check_lengths(model, read["clean"], [read["corrupted"], read["unrelated"]])
    return read


def restored(
    patched: Float[Tensor, "prompts *rest"],
    clean: Float[Tensor, "prompts *rest"],
    corrupted: Float[Tensor, "prompts *rest"],
) -> Float[Tensor, " prompts"]:
    """(1) for each prompt; NaN where corrupting changes nothing."""
    return 1 - _square(patched - clean) / _square(corrupted - clean)  # (1)


def token_parts(model: Diffusion, prompts: Sequence[str], word: str) -> dict[str, Bool[Tensor, "prompts positions"]]:
    """Which positions each of `TOKENS` covers: words before it, the word, those after it, the end token, the padding.

    The begin token is in none of them. A word is found as a whole: "fox" is not in "foxglove".
    """
    found = token_places(model.token_ids(prompts).ids[0], Frame(model.pipe.tokenizer.eos_token_id))
    spans = [subject_span(model, prompt, word) for prompt in prompts]
    first, stop = (torch.tensor([[getattr(span, side)] for span in spans]) for side in ("start", "stop"))
    position, words = torch.arange(found.shape[1]), found == Place.WORD
    masks = (
        words & (position < first), words & (first <= position) & (position < stop), words & (stop <= position),
        found == Place.END, found == Place.PADDING,
    )  # fmt: skip
    return dict(zip(TOKENS, masks, strict=True))


def _runs(model: Diffusion, read: dict[str, list[str]], steps: int, seed: int) -> Runs:
    total = max(steps, model.defaults.steps)
    seeds = range(seed, seed + len(read["corrupted"]))
    path = trajectories(model, read["corrupted"], seeds, steps=total, seen=total)
    chosen = np.linspace(0, total - 1, steps).round().astype(int).tolist()
    with torch.no_grad():
        clean, corrupted, unrelated = (model.encode(own) for own in read.values())
    return Runs(clean, corrupted, unrelated, read, [path.timesteps[i] for i in chosen], path.latents[:, chosen])


def _by_part(model: Diffusion, site: Site, runs: Runs, word: str) -> Iterator[tuple[dict[str, Any], Predicted]]:
    """Each part of the sentence, patched on all steps together."""
    clean, unrelated = (held(model, site, runs.prompts[name]) for name in ("clean", "unrelated"))
    expected = (_predictions(model, runs, runs.clean), _predictions(model, runs, runs.corrupted))
    for name, mask in token_parts(model, runs.prompts["clean"], word).items():
        if not mask.any():
            continue
        patched = []
        for donor in (clean.x, unrelated.x):
            with model.session(edits=[SiteEdit(site, _put(donor, mask.to(model.device)))]), torch.no_grad():
                encoding = model.encode(runs.prompts["corrupted"])
            patched.append(_predictions(model, runs, encoding))
        yield {"step": float("nan"), "token": name}, Predicted(patched[0], patched[1], *expected)


def _by_step(model: Diffusion, site: Site, runs: Runs) -> Iterator[tuple[dict[str, Any], Predicted]]:
    """Each observed step by itself, patched at all pixels."""
    for place, timestep in enumerate(runs.timesteps):
        latents, found = runs.latents[:, place], []
        donors: list[Reading] = []
        for encoding in (runs.clean, runs.corrupted, runs.unrelated):
            with watched(model, [site], donors.append, range(len(latents))):
                found.append(_prediction(model, latents, timestep, encoding))
        patched = []
        for donor in (donors[0].x, donors[2].x):
            everywhere = torch.ones(donor.shape[:2], dtype=torch.bool, device=donor.device)
            with model.session(edits=[SiteEdit(site, _put(donor, everywhere))]):
                patched.append(_prediction(model, latents, timestep, runs.corrupted))
        yield {"step": float(timestep), "token": ""}, Predicted(patched[0], patched[1], found[0], found[1])


def _put(donor: Tensor, mask: Bool[Tensor, "prompts positions"]) -> Callable[[Tensor, Clock], Tensor]:
    return lambda x, clock: torch.where(mask[..., None], donor.to(x.dtype), x)


def _predictions(model: Diffusion, runs: Runs, encoding: Encoding) -> Tensor:
    """The predictions at all observed steps, `[prompts, steps, …]`."""
    parts = [_prediction(model, runs.latents[:, place], t, encoding) for place, t in enumerate(runs.timesteps)]
    return torch.stack(parts, dim=1)


@torch.no_grad()
def _prediction(model: Diffusion, latents: Latents, timestep: int, encoding: Encoding) -> Tensor:
    return model.noise_prediction(latents, timestep, encoding).cpu()


def _square(x: Tensor) -> Tensor:
    return x.double().flatten(1).pow(2).sum(dim=1)


def _shares(found: Predicted, seed: int) -> dict[str, float]:
    """Both shares with their intervals."""
    numbers: dict[str, float] = {}
    for name, one in (("restored", found.patched), ("control", found.control)):
        values = restored(one, found.clean, found.corrupted).numpy()
        low, high = middle_95(bootstrap_means(values, np.arange(len(values)), seed=seed))
        prefix = "" if name == "restored" else "control_"
        numbers |= {name: float(values.mean()), f"{prefix}low": low, f"{prefix}high": high}
    return numbers
