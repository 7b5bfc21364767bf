"""Does a site carry a concept? What becomes of its pictures when the site does not hear the prompt.

    (1)  x(conditional row) := x(unconditional row) of the same picture, at the site, at every step
    (2)  moved = d(p₁, p₀) / d(p_∅, p₀)      d: root mean square over pixels, at equal seeds;
         p₀ the model's own picture of the prompt, p₁ under (1), p_∅ without a prompt
A Janus reads prompt and picture at every site, a step is one of its tokens, and (1) is done to both; its p_∅ is drawn
from the unconditional rows alone (guidance 0), which is what (1) comes to where all passes.
A method that edits features of a site cannot take away what (1) leaves: it should be asked before such a method is
fitted or compared. It needs neither an autoencoder nor a judge; a judge may say besides how often the concept is left.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from torch import Tensor

from probes.statistics import bootstrap_means, middle_95, pixel_drift
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.hooks import Clock, Site, SiteEdit
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE, GUIDANCE_BRANCHES
from workbench.models.images import Images
from workbench.settings import settled

LITTLE = 0.4  # of (2): below, a site is said to carry next to nothing of a prompt
PROMPTS = 4  # that `warn_if_idle` looks at
COLUMNS = ["site", "moved", "low", "high", "left", "n"]


def site_necessity(
    model: Model,
    sites: Sequence[str],
    prompts: Sequence[str],
    *,
    seeds: Sequence[int] | None = None,
    shows: Callable[[Images], Bool[np.ndarray, "n"]] | None = None,
    progress: Progress = SILENT,
    **sampling: Any,
) -> pd.DataFrame:
    """How much of what the prompts ask for passes through each site.

    Args:
        model: A model whose guidance has unconditional rows at its own scale.
        sites: Aliases of sites of the picture side.
        prompts: Such as `concept.prompts()`.
        seeds: Of the pictures, one for each prompt; 0, 1, … if left out.
        shows: Whether each of some pictures shows the concept, such as
            `lambda images: judge.score(images).present[:, 0] > 0.5`.
        progress: Shows the sites.
        **sampling: How pictures are sampled, such as `steps`: names of `model.settings`, which holds the defaults.

    Returns:
        A row for each site: `moved` (2), the mean over prompts with low and high (95 %, bootstrap over prompts), 0 for
        a site without which every picture is the same, about 1 for one without which the prompt might as well be
        empty; `left`, the share of pictures under (1) that still show the concept, NaN without `shows`; n prompts.

    Raises:
        WorkbenchError: There are no prompts, a site is not of the picture side, a setting is unknown, or the model
            samples without unconditional rows.
    """
    places = [_picture_site(model, alias) for alias in sites]
    own = list(range(len(prompts))) if seeds is None else list(seeds)
    settings = settled(model.settings, sampling)

    def pictures(words: list[str], **changed: Any) -> Images:
        return model.generate(words, own, **{**settings, **changed})

    before = pictures(list(prompts))
    if AUTOREGRESSIVE in model.capabilities:
        empty = pictures(list(prompts), guidance_scale=0.0)
    else:
        empty = pictures([""] * len(prompts))
    reach = pixel_drift(empty, before)
    rows = []
    for place in progress(places, "necessity"):
        with model.session(edits=[SiteEdit(place, _deaf)]):
            after = pictures(list(prompts))
        moved = pixel_drift(after, before) / np.maximum(reach, 1e-9)  # (2)
        low, high = middle_95(bootstrap_means(moved, np.arange(len(moved))))
        left = float(np.mean(shows(after))) if shows is not None else np.nan
        rows.append((place.alias, float(moved.mean()), low, high, left, len(moved)))
    return pd.DataFrame(rows, columns=COLUMNS)


def warn_if_idle(
    model: Model, site: Site, prompts: Sequence[str], seeds: Sequence[int], *, method: str, **sampling: Any
) -> None:
    """Warns if the pictures of a concept are nearly the same when a site does not hear the prompt.

    Args:
        model: The model.
        site: Where the method edits.
        prompts: That name the concept; the first `PROMPTS` are looked at.
        seeds: Of their pictures.
        method: What the warning calls the method.
        **sampling: How pictures are sampled.
    """
    if not {GUIDANCE_BRANCHES, AUTOREGRESSIVE} & model.capabilities or model.defaults.guidance_scale <= 1:
        return  # no unconditional rows to listen to instead
    some = slice(PROMPTS)
    (row,) = site_necessity(model, [site.alias], prompts[some], seeds=seeds[some], **sampling).to_dict("records")
    if row["moved"] < LITTLE:
        warnings.warn(
            f"{method} edits {site.alias}, and without the prompt's part of it the pictures of {prompts[0]!r} move by "
            f"{row['moved']:.0%} of the way to those of no prompt: what a site does not carry cannot be erased there. "
            "Compare sites with `wb.site_necessity`, and train an SAE at one that matters.",
            stacklevel=4,  # who called `fit`
        )


def _picture_site(model: Model, alias: str) -> Site:
    place = model.site(alias)
    if place.component != "image":
        raise WorkbenchError(
            f"{alias!r} is a site of the prompt, through which all of it passes.", "Name sites of the picture side."
        )
    return place


def _deaf(x: Float[Tensor, "rows ..."], clock: Clock) -> Float[Tensor, "rows ..."]:
    """(1)"""
    cond, uncond = clock.mask("cond"), clock.mask("uncond")
    if int(cond.sum()) != int(uncond.sum()):
        raise WorkbenchError(
            "The model samples without unconditional rows.", "Choose a guidance scale above 1, or another model."
        )
    changed = x.clone()
    changed[cond] = x[uncond]
    return changed
