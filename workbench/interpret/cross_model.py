"""Do two models have the same features for a concept? Runs the same prompts through both and matches what fires.

The models may be of any kinds, and the autoencoders at any of their sites: all that is compared is how strongly a
feature fires on a prompt, at its loudest token, pixel or cell. Equations and control are those of
`probes.matched_features`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from probes.matched_features import feature_agreement
from saes.errors import WorkbenchError
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_origin, dictionary_on, open_sae, site_of
from workbench.interpret.find_features import feature_scores
from workbench.models import Model

Side = tuple[Model, SAE | str | Path]


def features_agree(
    first: Side,
    second: Side,
    prompts: Sequence[str],
    about: pd.DataFrame,
    *,
    per_concept: int = 3,
    seed: int = 0,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """How far features of two models for each concept agree, beside matched features of other concepts.

    Args:
        first: A model with an SAE of it: a folder, a shipped name, or a loaded one. Its features are looked for.
        second: Another; among its features they find their partners.
        prompts: Run through both. Where a site is on the picture's side, prompt i has the picture of seed i.
        about: What each prompt is about: a bool column for each concept, a row for each prompt.
        per_concept: How many features of each concept are matched, at least 1.
        seed: Of the halves that choose and judge, and of the bootstrap.
        progress: Shows the prompts.

    Returns:
        The table of `probes.matched_features.feature_agreement`.

    Raises:
        WorkbenchError: An SAE is of another model, numbers of prompts and rows differ, or as `feature_agreement`.
    """
    if len(prompts) != len(about):
        raise WorkbenchError(f"{len(prompts)} prompts and {len(about)} rows.", "Say of each prompt what it is about.")
    opened = [(model, open_sae(sae)) for model, sae in (first, second)]
    for model, sae in opened:
        check_origin(sae, model)
        site_of(sae, model)
    g, h = (_scores(model, sae, prompts, progress) for model, sae in opened)
    return feature_agreement(g, h, about, per_concept=per_concept, seed=seed)


def _scores(
    model: Model, sae: SAE, prompts: Sequence[str], progress: Progress
) -> Float[np.ndarray, "prompts features"]:
    return feature_scores(model, site_of(sae, model), dictionary_on(sae, model), prompts, progress).numpy()
