"""Collects what a report shows of a model's inside: neighbours, what features add, what each edit changes where.

Everything is a table with the columns `concept` and, where it is about an edit, `condition`:
    neighbours   of `find_neighbours`
    effects      site, feature, erased (whether an edit takes it), ablation, gradient, integrated: means over prompts
    edges        of `feature_graph`, from the features that add most, and source_name, target_name
    change, fates, moved   the three tables of `inside`, features and attention under the last two names
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saes.files import SAE
from saes.names import read_names
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import dictionary_on, open_sae, site_of
from workbench.concepts import Concept
from workbench.edits import Edit
from workbench.interpret.attribution.effects import HOWS, feature_effects
from workbench.interpret.attribution.graph import feature_graph
from workbench.interpret.attribution.lens import concept_lens
from workbench.interpret.find_features import feature_scores
from workbench.interpret.inside import Inside, inside
from workbench.interpret.neighbours import find_neighbours
from workbench.models import Diffusion
from workbench.models.capabilities import NOISE_SCHEDULE
from workbench.shipped import sae_folder

MOST_FEATURES = 48  # whose effects are measured: each costs a run of the model
MOST_SOURCES, MOST_TARGETS, MOST_EDGES = 6, 24, 24  # of the graph from text to picture
Tables = dict[str, pd.DataFrame]


def interpret(
    model: Diffusion,
    concept: Concept,
    edits: Mapping[str, Edit],
    *,
    saes: Sequence[str | Path] = (),
    pictures: int = 8,
    progress: Progress = SILENT,
    **sampling: Any,
) -> Tables:
    """The tables about one concept.

    The effects are of the features that fire most on the concept's prompts, of the first SAE at a text site, along the
    direction from its anchor to it. Without an anchor, or without such an SAE, there are no effects.

    Args:
        model: The model, without any edit.
        concept: The concept.
        edits: Methods and controls by the names of their conditions; at least one.
        saes: Folders or shipped names, one a site; their features are followed through every edit.
        pictures: Prompts of the concept that are looked at.
        progress: Shows what is being measured.
        **sampling: How pictures are made: further arguments of `model.generate`.

    Returns:
        Tables by name, as this module's head lists them; what could not be measured is absent.

    Raises:
        WorkbenchError: An SAE is of another model, or an edit does not fit the model.
    """
    prompts, anchors, seeds = _prompts(concept, pictures)
    found = {
        name: inside(model, edit, prompts, seeds, saes=saes, progress=progress, **sampling)
        for name, edit in edits.items()
    }
    tables = _stacked(concept, found)
    if (text := _at(model, saes, "prompt")) is not None:
        sae = open_sae(text)
        if concept.anchor:
            erased = _erased(edits, site_of(sae, model).alias)
            tables["effects"] = _effects(model, sae, concept, (prompts, anchors, seeds), erased, progress, sampling)
            if (other := _at(model, saes, "image")) is not None:
                sources = tables["effects"].sort_values("ablation", ascending=False)["feature"].head(MOST_SOURCES)
                edges = _edges(model, (text, other), sources.tolist(), prompts, seeds, progress, sampling)
                tables["edges"] = edges.assign(concept=concept.name)
        if concept.retain or concept.synonyms:
            near = find_neighbours(
                model, concept, sae=sae, effects=NOISE_SCHEDULE in model.capabilities, progress=progress
            )
            tables["neighbours"] = near.assign(concept=concept.name)
    return tables


def _edges(
    model: Diffusion,
    folders: tuple[Path, Path],
    sources: Sequence[int],
    prompts: Sequence[str],
    seeds: Sequence[int],
    progress: Progress,
    sampling: Mapping[str, Any],
) -> pd.DataFrame:
    """What these text features feed among the picture's features that fire most on the prompts: the strongest edges,
    with the names of both ends."""
    source, target = map(open_sae, folders)
    scores = feature_scores(model, site_of(target, model), dictionary_on(target, model), prompts, **sampling)
    targets = scores.mean(dim=0).argsort(descending=True)[:MOST_TARGETS].tolist()
    graph = feature_graph(model, source, sources, target, targets, prompts, seeds, progress=progress, **sampling)
    edges = graph.head(MOST_EDGES)
    known = [{feature: named.name for feature, named in read_names(folder).items()} for folder in folders]
    return edges.assign(
        source_name=[known[0].get(feature, "") for feature in edges["source"]],
        target_name=[known[1].get(feature, "") for feature in edges["target"]],
    )


def _prompts(concept: Concept, n: int) -> tuple[list[str], list[str], list[int]]:
    """n prompts, those of the anchor in their place, and a seed each."""
    forms = len(concept.prompts())
    places = [place % forms for place in range(n)]
    anchors = concept.anchor_prompts() if concept.anchor else concept.prompts()
    return [concept.prompts()[i] for i in places], [anchors[i] for i in places], list(range(n))


def _stacked(concept: Concept, found: Mapping[str, Inside]) -> Tables:
    parts: dict[str, Callable[[Inside], pd.DataFrame]] = {
        "change": lambda one: one.change,
        "fates": lambda one: one.features,
        "moved": lambda one: one.attention[one.attention["prompt"] == one.attention["prompt"].iloc[0]],
    }
    return {
        name: pd.concat(
            [part(one).assign(concept=concept.name, condition=condition) for condition, one in found.items()],
            ignore_index=True,
        )
        for name, part in parts.items()
    }  # fmt: skip


def _at(model: Diffusion, saes: Sequence[str | Path], component: str) -> Path | None:
    """The folder of the first SAE at a site of the component."""
    folders = (sae_folder(sae) for sae in saes)
    return next((one for one in folders if site_of(open_sae(one), model).component == component), None)


def _erased(edits: Mapping[str, Edit], site: str) -> set[int]:
    """The features that the methods take away at a site."""
    features: set[int] = set()
    for name, edit in edits.items():
        if not name.startswith("random"):
            features.update(*(one.features.tolist() for one in edit.summary().features if one.site == site))
    return features


def _effects(
    model: Diffusion,
    sae: SAE,
    concept: Concept,
    cells: tuple[list[str], list[str], list[int]],
    erased: set[int],
    progress: Progress,
    sampling: Mapping[str, Any],
) -> pd.DataFrame:
    site = site_of(sae, model)
    loudness = feature_scores(model, site, dictionary_on(sae, model), cells[0]).mean(dim=0)
    features = loudness.argsort(descending=True)[: min(MOST_FEATURES, int((loudness > 0).sum()))].tolist()
    lens = concept_lens(model, *cells, **sampling)
    columns = {
        how: feature_effects(model, sae, features, lens, how=how, progress=progress).mean(dim=0).numpy() for how in HOWS
    }
    about = {
        "concept": concept.name,
        "site": site.alias,
        "feature": features,
        "erased": [f in erased for f in features],
    }
    return pd.DataFrame({**about, **columns})
