"""Causal tracing in a Janus by what it draws: clean activations are put in place while it writes the picture.

`token_tracing` asks about tokens that are given; here the model goes its own way from the patch on, and a judge says
how many pictures show the concept. The cells of the picture are given what the clean picture had there.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from probes.statistics import wilson
from saes.progress import SILENT, Progress
from workbench.hooks import SiteEdit
from workbench.models import Janus
from workbench.models.images import Images
from workbench.settings import settled
from workbench.studies.token_runs import BATCH, Runs, token_runs
from workbench.studies.token_tracing import DONORS, ENDS
from workbench.studies.transplants import donors, parts, transplant

DRAWN = ("site", "token", "shown", "low", "high", "control", "control_low", "control_high", "clean", "corrupted")
Shows = Callable[[Images], Bool[np.ndarray, " n"]]


def drawn_trace(
    model: Janus,
    prompts: Sequence[str],
    word: str,
    others: Sequence[str],
    sites: Sequence[str],
    shows: Shows,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
    **sampling: Any,
) -> pd.DataFrame:
    """Draws the corrupted sentences with clean activations in place, and counts pictures that show the concept.

    Args:
        model, prompts, word, others, sites, seed, sampling: As for `token_tracing.trace_tokens`. Two pictures of each
            prompt are drawn for each site and part.
        shows: Whether each picture shows the concept, such as
            `lambda images: judge.score(images).present[:, 0] > 0.5`.
        progress: Shows the sites.

    Returns:
        The columns `DRAWN`, a row for each site and part (`transplants.TEXT` and "picture"): the share `shown` with its
        95 % interval (Wilson), the same of the control, and the shares of the clean and of the corrupted sentences as
        they are, all at the same seeds.

    Raises:
        WorkbenchError: As `tracing.trace` says.
    """
    runs = token_runs(model, prompts, word, others, sites, seed, sampling)
    settings = settled(model.settings, sampling)

    def shown(reading: str, edits: Sequence[Sequence[SiteEdit]]) -> Bool[np.ndarray, " n"]:
        return np.concatenate([_drawn(model, run, reading, own, shows, settings)
                               for run, own in zip(runs, edits, strict=True)])  # fmt: skip

    without = [float(shown(reading, [[] for _ in runs]).mean()) for reading in ENDS]
    rows = []
    for alias in progress(list(dict.fromkeys(sites)), "traced sites"):
        site = model.site(alias)
        given = [[donors(model, site, run.codes, run.prompts[name]) for run in runs] for name in DONORS]
        for part in dict.fromkeys(name for donor, run in zip(given[0], runs, strict=True)
                                  for name, mask in parts(donor.tokens, run.word).items() if mask.any()):  # fmt: skip
            found: list[float] = []
            for some in given:
                edits = [[transplant(site, donor, part, run.word)] for donor, run in zip(some, runs, strict=True)]
                hits = shown("corrupted", edits)
                found += [float(hits.mean()), *wilson(int(hits.sum()), len(hits))]
            rows.append((alias, part, *found, *without))
    return pd.DataFrame(rows, columns=list(DRAWN))


def _drawn(
    model: Janus, run: Runs, reading: str, edits: Sequence[SiteEdit], shows: Shows, settings: dict[str, Any]
) -> Bool[np.ndarray, " n"]:
    with model.session(edits=edits):
        images = model.generate(run.prompts[reading], run.seeds, batch_size=BATCH, **settings)
    return shows(images)
