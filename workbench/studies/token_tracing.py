"""Causal tracing in a Janus: at which layer and position a prompt's word decides what the picture's tokens are.

After Meng et al. 2022 (arXiv:2202.05262), as `tracing` does for diffusion. The clean run reads a sentence with the
concept's word and the picture c that the model drew of it; the corrupted run reads the same picture behind the sentence
with another word of equal length. Clean activations are put into the corrupted run at one site, at a part of the
sentence, at the begin-of-image token, or at a row of the picture's cells. With ℓ the log-likelihood of c in the row of
the prompt (guidance is no part of it), summed over cells, and Σ over prompts:
    (1)  restored = Σ (ℓ_patched − ℓ_corrupted) / Σ (ℓ_clean − ℓ_corrupted)
1 if the patch alone brings back what the clean sentence says of its picture, 0 if it does nothing, negative if it leads
elsewhere. The control patches the activations of a third word in the same sentence, on the same picture. In the last
layer nothing is read from other positions any more, so there the begin-of-image token and the rows add up to 1.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from probes.statistics import middle_95, resamplings
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.hooks import Site, SiteEdit
from workbench.interpret.attribution.likelihood import log_likelihood
from workbench.models import Janus
from workbench.studies.token_runs import Runs, token_runs
from workbench.studies.tracing import COLUMNS
from workbench.studies.transplants import donors, parts, transplant

Sums = Float[Tensor, " prompts"]


def trace_tokens(
    model: Janus,
    prompts: Sequence[str],
    word: str,
    others: Sequence[str],
    sites: Sequence[str],
    *,
    seed: int = 0,
    progress: Progress = SILENT,
    **sampling: Any,
) -> pd.DataFrame:
    """Traces `word` through `sites`, teacher-forced on the clean pictures.

    Args:
        model: The model.
        prompts: Sentences that name the word once.
        word: The concept's.
        others: Prompt i is corrupted by word i of these, going round, and its control is the next one: two at least.
        sites: Aliases.
        seed: Picture i has the seed `seed + i`.
        progress: Shows the sites.
        sampling: Further arguments of `model.generate`, of the clean pictures.

    Returns:
        The columns of `tracing.COLUMNS`, a row for each site and part (`transplants.TEXT`, then "row 1", "row 2", … of
        the picture); step is NaN. `restored` (1) with low and high (95 %, bootstrap over prompts), and the same of the
        control.

    Raises:
        WorkbenchError: As `tracing.trace` says, and where the clean pictures are no likelier with the word than with
            others, so that there is nothing to restore.
    """
    runs = token_runs(model, prompts, word, others, sites, seed, sampling)
    clean, corrupted = (torch.cat([_likelihood(model, run, reading) for run in runs]) for reading in ENDS)
    _check_apart(clean - corrupted, word, seed)
    rows = []
    for alias in progress(list(dict.fromkeys(sites)), "traced sites"):
        for part, sums in _patched(model, model.site(alias), runs).items():
            found = [_shares(own - corrupted, clean - corrupted, seed) for own in sums]
            rows.append((alias, float("nan"), part, *found[0], *found[1]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


ENDS, DONORS = ("clean", "corrupted"), ("clean", "unrelated")


def _patched(model: Janus, site: Site, runs: Sequence[Runs]) -> dict[str, tuple[Sums, Sums]]:
    """ℓ of every prompt with each part patched, from the clean run and from the unrelated one."""
    side = round(model.pipe.cells**0.5)
    given = [[donors(model, site, run.codes, run.prompts[name]) for name in DONORS] for run in runs]
    masks = [parts(own[0].tokens, run.word, side) for own, run in zip(given, runs, strict=True)]
    found = {}
    for part in masks[0]:
        if any(mask[part].any() for mask in masks):
            sums = [
                [_likelihood(model, run, "corrupted", [transplant(site, donor, part, run.word, side)]) for donor in own]
                for run, own in zip(runs, given, strict=True)
            ]
            clean, control = (torch.cat(list(some)) for some in zip(*sums, strict=True))
            found[part] = (clean, control)
    return found


def _likelihood(model: Janus, run: Runs, reading: str, edits: Sequence[SiteEdit] = ()) -> Sums:
    """ℓ of each clean picture behind a reading of its sentence."""
    with model.session(edits=edits):
        return log_likelihood(model, run.codes, run.prompts[reading]).double().sum(dim=1)


def _shares(gained: Sums, lost: Sums, seed: int) -> tuple[float, float, float]:
    """(1) and its interval, over resampled prompts."""
    times = resamplings(len(gained), seed=seed)
    low, high = middle_95((times @ gained.numpy()) / (times @ lost.numpy()))
    return float(gained.sum() / lost.sum()), low, high  # (1)


def _check_apart(lost: Sums, word: str, seed: int) -> None:
    if middle_95(resamplings(len(lost), seed=seed) @ lost.numpy()).low <= 0:
        raise WorkbenchError(
            f"Pictures drawn with {word!r} are no likelier with it than with other words, so that nothing can be "
            "restored.",
            "Give more prompts, or a model that has learnt the word.",
        )
