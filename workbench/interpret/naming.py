"""Naming the features of an SAE: runs prompts whose factors are known, and calls each feature after what it detects."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from probes.features import content_tokens, prompt_scores
from probes.naming import check_factors, name_features
from saes.dictionary import Code, Dictionary
from saes.files import SAE
from saes.names import FeatureName
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_origin, dictionary_on, end_token, site_of, tokenizer_of
from workbench.activations.reading import TEXT_BATCH
from workbench.hooks import Site
from workbench.interpret.find_features import feature_scores
from workbench.models import Model

GOOD = 0.5  # F₁ from which on a feature is called after its factor
RARE = 3  # a word that occurs less often gives no name


def name_sae(
    model: Model, sae: SAE, prompts: Sequence[str], factors: pd.DataFrame, *, seed: int = 0, progress: Progress = SILENT
) -> pd.DataFrame:
    """The table of `probes.naming.name_features` with the columns `name` and, at a text site, `word`.

    `factors` has a row a prompt and a column of True and False a factor. At a denoiser site a picture is made for every
    prompt. `word` is the word on which a feature's mean activation is largest. A feature is called after its factor,
    with the word if that is another ("fox (vixen)"); after the word alone if it detects no factor with an F₁ of ½ or
    more; and not at all ("") at a denoiser site then.
    """
    check_origin(sae, model)
    check_factors(factors, prompts, seed)
    site, dictionary = site_of(sae, model), dictionary_on(sae, model)
    if site.component == "image":
        table = name_features(feature_scores(model, site, dictionary, prompts, progress), factors, prompts, seed=seed)
        return table.assign(word="", name=table["factor"].where(table["f1"] >= GOOD, ""))
    scores, words = _read(model, site, dictionary, prompts, progress)
    table = name_features(scores, factors, prompts, seed=seed)
    table = table.assign(word=[words[feature] for feature in table["feature"]])
    return table.assign(name=[_name(row.factor if row.f1 >= GOOD else "", row.word) for row in table.itertuples()])


def feature_names(table: pd.DataFrame) -> dict[int, FeatureName]:
    """The rows of `name_sae` that have a name, as `saes.names.write_names` takes them."""
    return {
        row.feature: FeatureName(row.name, row.factor, round(row.precision, 4), round(row.recall, 4))
        if row.f1 >= GOOD else FeatureName(row.name)
        for row in table.itertuples(index=False) if row.name
    }  # fmt: skip


def _name(factor: str, word: str) -> str:
    if not factor or not word:
        return factor or word
    return factor if word in factor.split() else f"{factor} ({word})"


@torch.no_grad()
def _read(
    model: Model, site: Site, dictionary: Dictionary, prompts: Sequence[str], progress: Progress
) -> tuple[Float[Tensor, "prompts features"], list[str]]:
    """The strongest activation of each feature on each prompt, and the word on which each is strongest in the mean."""
    tokenizer, end = tokenizer_of(model, site), end_token(model, site)
    sums, counts = np.zeros((len(tokenizer), dictionary.d_sae)), np.zeros(len(tokenizer))
    parts = []
    for start in progress(range(0, len(prompts), TEXT_BATCH), "features by word"):
        with model.session(record=[site]) as session:
            model.encode(prompts[start : start + TEXT_BATCH])
        ((clock, x),) = session.records[site.alias]
        assert clock.token_ids is not None  # a text site
        content, code = content_tokens(clock.token_ids, end), dictionary.encode(x.to(model.device).float())
        parts.append(prompt_scores(code, content, dictionary.d_sae).cpu())
        inside = content & (clock.token_ids != end)
        _add(sums, counts, Code(code.values[inside], code.indices[inside]), clock.token_ids[inside])
    means = np.where(counts[:, None] >= RARE, sums / np.maximum(counts, 1)[:, None], 0.0)
    best = means.argmax(axis=0)
    named = [tokenizer.decode([token]).strip() if means[token, f] > 0 else "" for f, token in enumerate(best)]
    return torch.cat(parts), named


def _add(sums: np.ndarray, counts: np.ndarray, code: Code, ids: Int64[Tensor, " tokens"]) -> None:
    """Adds the activations of some tokens to the sums of their words."""
    rows = ids.cpu().numpy()
    np.add.at(sums, (rows[:, None], code.indices.cpu().numpy()), code.values.cpu().numpy())
    np.add.at(counts, rows, 1)
