"""Finding a concept's features in a model: runs the prompts, encodes what the site hands over, and scores it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from probes.feature_table import FeatureTable
from probes.features import Causal, PromptScores, feature_table, prompt_scores
from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_origin, dictionary_on, open_sae, site_of, strongest
from workbench.activations.reading import Reading, score_prompts
from workbench.concepts import Concept, concept_list
from workbench.edits.interventions import ablation
from workbench.hooks import Site
from workbench.models import Model
from workbench.models.images import Images


def find_features(
    model: Model,
    sae: SAE | str | Path,
    concept: Concept | Sequence[Concept],
    *,
    m: int | None = None,
    score: Callable[[Images], float] | Mapping[str, Callable[[Images], float]] | None = None,
    top: int = 8,
    seeds: Sequence[int] = (0, 1),
    progress: Progress = SILENT,
) -> FeatureTable:
    """Which features of an SAE fire on a concept's prompts and not on those that it retains.

    `sae` is a folder, the name of a shipped one ("toy/text.2"), or a loaded sae-lens SAE; it says itself at which site
    it was trained. At a picture site a picture is made for every prompt. `m` is how many of a prompt's strongest
    features count for ItD's contrast, by default twice the SAE's k. With `score`, a function of images (one for all
    concepts, or one each by name), the `top` features of each concept are ablated one by one, and `effect` is what the
    score of the concept's images loses at equal `seeds`. Raises `WorkbenchError` if a concept retains nothing, and
    for an SAE of another model.
    """
    concepts = concept_list(concept)
    opened = open_sae(sae)
    check_origin(opened, model)
    site, dictionary = site_of(opened, model), dictionary_on(opened, model)
    for each in concepts:
        check_retains(each)
    scores = {each.name: _scores(model, site, dictionary, each, progress) for each in concepts}
    by_name = score if isinstance(score, Mapping) else dict.fromkeys(scores, score)
    causal = {
        each.name: Causal(_ablated(model, opened, each, judged, seeds), top)
        for each in concepts
        if (judged := by_name.get(each.name))
    }
    about = {"site": site.alias, "sae": str(sae) if isinstance(sae, str | Path) else "", "model": model.fingerprint}
    return feature_table(scores, strongest(opened, m), causal, about)


def feature_scores(
    model: Model,
    site: Site,
    dictionary: Dictionary,
    prompts: Sequence[str],
    progress: Progress = SILENT,
    **sampling: Any,
) -> Float[Tensor, "prompts d_sae"]:
    """How strongly each feature fires on each prompt, at its loudest content token (or pixel and step of a picture that
    is made with `sampling`, as by `model.generate`)."""

    def score(reading: Reading) -> Tensor:
        return prompt_scores(dictionary.encode(reading.x), reading.content, dictionary.d_sae).cpu()

    return score_prompts(model, site, prompts, score, progress, "features", **sampling)


def _scores(model: Model, site: Site, dictionary: Dictionary, concept: Concept, progress: Progress) -> PromptScores:
    prompts = (concept.prompts(), concept.retain_prompts())
    return PromptScores(*(feature_scores(model, site, dictionary, each, progress) for each in prompts))


def check_retains(concept: Concept) -> None:
    """Raises `WorkbenchError` if nothing says what the concept's features must not be."""
    if not concept.retain_prompts():
        raise WorkbenchError(
            f"{concept.name!r} retains nothing, so every feature of its prompts would count as its own.",
            'Name what must survive: retain=["dog", …] or captions=["two men at a table", …].',
        )


def _ablated(
    model: Model, sae: SAE, concept: Concept, score: Callable[[Images], float], seeds: Sequence[int]
) -> Callable[[Sequence[int]], float]:
    """The function that runs the model without some features and scores the concept's images."""
    prompts = [prompt for prompt in concept.prompts() for _ in seeds]

    def run(features: Sequence[int]) -> float:
        with model.edited(*([ablation(model, sae, features, concepts=(concept.name,))] if features else [])):
            return float(score(model.generate(prompts, list(seeds) * len(concept.prompts()))))

    return run
