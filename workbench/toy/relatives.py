"""Which ranking of neighbours finds the relatives that the world gives a concept?

Relatives of a thing are its two synonyms, the thing that shares most of its shape, and that one's two synonyms; of an
artist or a character, likewise as far as there are any. Candidates are all words of the kind.
    (1)  precision of a target = |first n of the ranking ∩ relatives| / n,   n the number of its relatives: 5 for things
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from probes.statistics import bootstrap_means, middle_95
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.interpret.neighbours import find_neighbours
from workbench.models import Diffusion
from workbench.toy.vocabulary import concepts
from workbench.toy.world import ARTISTS, CHARACTERS, THINGS

RANKINGS = {  # column of the table → what it ranks by
    "reached": "random neighbours of the embedding",
    "cosine": "distance of embeddings",
    "feature_overlap": "shared features",
    "effect_overlap": "shared effect on the noise",
    "nearness": "embedding and effect together",
    "chance": "a random order",
}
KINDS: dict[str, dict[str, Any]] = {"things": THINGS, "artists": ARTISTS, "characters": CHARACTERS}
TEMPLATES = 3


def relatives(name: str) -> tuple[str, ...]:
    """The words that the world has near a thing, an artist or a character.

    Args:
        name: Of one of these.

    Returns:
        Its synonyms, its relative and that one's synonyms.
    """
    world = next(known for known in KINDS.values() if name in known)
    one = world[name]
    return (*one.synonyms, one.relative, *world[one.relative].synonyms)


def neighbour_precision(
    model: Diffusion, sae: SAE, *, kinds: Sequence[str] = tuple(KINDS), seed: int = 0, progress: Progress = SILENT
) -> pd.DataFrame:
    """(1) of every concept of some kinds by every ranking.

    Args:
        model: The toy.
        sae: Of a text site, whose features are compared.
        kinds: Keys of `KINDS`.
        seed: Draws the random order.
        progress: Shows the concepts.

    Returns:
        Columns: kind, target, ranking, n, precision in [0, 1].
    """
    rows = []
    for kind in kinds:
        words = [word for one in KINDS[kind].values() for word in (one.name, *one.synonyms)]
        rng = np.random.default_rng(seed)
        for name in progress(list(KINDS[kind]), f"neighbours of {kind}"):
            concept = concepts()[name]
            forms = (concept.templates or ())[:TEMPLATES]
            short = Concept(name, synonyms=concept.synonyms, templates=forms)
            table = find_neighbours(model, short, words, sae=sae, effects=True)
            table = table.assign(nearness=-table["rank"], chance=rng.random(len(table)))
            rows += [(kind, name, ranking, *_precision(table, ranking, relatives(name))) for ranking in RANKINGS]
    return pd.DataFrame(rows, columns=["kind", "target", "ranking", "n", "precision"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean precision by kind and ranking with a 95 % interval (bootstrap over targets).

    Args:
        table: Of `neighbour_precision`.

    Returns:
        Columns: kind, ranking, precision, low, high, targets; the best ranking of each kind first.
    """
    rows = []
    for (kind, ranking), own in table.groupby(["kind", "ranking"], sort=False):
        values = own["precision"].to_numpy(float)
        low, high = middle_95(bootstrap_means(values, np.arange(len(values))))
        rows.append((kind, RANKINGS[ranking], values.mean(), low, high, len(values)))
    found = pd.DataFrame(rows, columns=["kind", "ranking", "precision", "low", "high", "targets"])
    return found.sort_values(["kind", "precision"], ascending=[False, False], ignore_index=True)


def _precision(table: pd.DataFrame, ranking: str, wanted: Sequence[str]) -> tuple[int, float]:
    first = table.sort_values(ranking, ascending=False, kind="stable")["word"].head(len(wanted))
    return len(wanted), float(first.isin(wanted).mean())
