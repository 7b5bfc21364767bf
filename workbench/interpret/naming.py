"""Naming the features of an SAE: runs prompts whose factors are known, and calls each feature after what it detects."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64
from torch import Tensor

from probes.features import prompt_scores
from probes.naming import check_factors, name_features
from saes.dictionary import Code, Dictionary
from saes.files import SAE
from saes.names import FeatureName
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_origin, dictionary_on, site_of
from workbench.activations.positions import tokenizer_of
from workbench.activations.reading import Reading, score_prompts
from workbench.hooks import Place, Site
from workbench.models import Model

GOOD = 0.5  # F₁ from which on a feature is called after its factor
RARE = 3  # a word that occurs less often gives no name


def name_sae(
    model: Model, sae: SAE, prompts: Sequence[str], factors: pd.DataFrame, *, seed: int = 0, progress: Progress = SILENT
) -> pd.DataFrame:
    """The table of `probes.naming.name_features` with the columns `name` and, at a text site, `word`.

    `factors` is a bool DataFrame, one row per prompt, one column per factor. At a picture's site, a picture is made for
    every prompt. `word` is the word on which a feature's mean activation is largest. A feature is called after its
    factor, with the word if that is another ("fox (vixen)"); after the word alone if it detects no factor with an F₁ of
    ½ or more; and not at all ("") at a picture site then.
    """
    check_origin(sae, model)
    check_factors(factors, prompts, seed)
    site, dictionary = site_of(sae, model), dictionary_on(sae, model)
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


def _read(
    model: Model, site: Site, dictionary: Dictionary, prompts: Sequence[str], progress: Progress
) -> tuple[Float[Tensor, "prompts features"], list[str]]:
    """The strongest activation of each feature on each prompt, and the word on which each is strongest in the mean."""
    sums: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(dictionary.d_sae))
    counts: Counter[int] = Counter()

    def score(reading: Reading) -> Tensor:
        code = dictionary.encode(reading.x)
        if reading.token_ids is not None:
            words = reading.places == Place.WORD
            _add(sums, counts, Code(code.values[words], code.indices[words]), reading.token_ids[words])
        return prompt_scores(code, reading.content, dictionary.d_sae).cpu()

    scores = score_prompts(model, site, prompts, score, progress, "features by word")
    means = {token: total / counts[token] for token, total in sorted(sums.items()) if counts[token] >= RARE}
    if not means:
        return scores, [""] * dictionary.d_sae
    spelt = [tokenizer_of(model, site).decode([token]).strip() for token in means]
    table = np.stack(list(means.values()))
    return scores, [spelt[row] if table[row, f] > 0 else "" for f, row in enumerate(table.argmax(axis=0))]


def _add(sums: dict[int, np.ndarray], counts: Counter[int], code: Code, ids: Int64[Tensor, " tokens"]) -> None:
    """Adds the activations of some tokens to the sums of their words."""
    rows = zip(ids.tolist(), code.indices.cpu().numpy(), code.values.cpu().numpy(), strict=True)
    for token, features, values in rows:
        np.add.at(sums[token], features, values)
        counts[token] += 1
