"""Cards of features at sites that pictures pass: the pictures that they fire on most, and where in them."""

from collections.abc import Callable
from typing import Any

from probes.features import selectivity_auc
from saes.progress import Progress
from workbench.activations.harvest import grid_side
from workbench.concepts import Concept
from workbench.edits import ActedOn
from workbench.interpret.attribution.pictures import map_pictures
from workbench.interpret.attribution.words import MAP_SIZE
from workbench.interpret.find_features import feature_scores
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE
from workbench.reports.evidence import Ablation, PictureCard, PictureText

SHOWN = 3  # pictures on a card


def picture_cards(
    model: Model,
    acted: ActedOn,
    concept: Concept,
    most: int,
    ablated: Callable[[int], Ablation | None],
    progress: Progress,
    **sampling: Any,
) -> list[PictureCard]:
    """The most selective of an edit's features at a site, each on the pictures that it fires on most.

    A picture is made of every prompt of the concept, of its synonyms, and of what it retains.

    Args:
        model: The model, without any edit.
        acted: Features at a site that pictures pass.
        concept: With the prompts that the features are looked for in.
        most: Features at most.
        ablated: What pictures lose without one feature.
        progress: Shows the cards.
        **sampling: How pictures are sampled.

    Returns:
        A card a feature, the most selective first.
    """
    site, dictionary = model.site(acted.site), acted.dictionary
    own = [*concept.prompts(), *concept.synonym_prompts()]
    prompts = [*own, *(concept.retain_prompts() or ("",))]
    scores = feature_scores(model, site, dictionary, prompts, **sampling)[:, acted.features.cpu()]
    auc, mean = selectivity_auc(scores[: len(own)], scores[len(own) :]), scores[: len(own)].mean(dim=0)
    chosen = sorted(range(len(auc)), key=lambda place: (-float(auc[place]), -float(mean[place])))[:most]
    cells = AUTOREGRESSIVE in model.capabilities
    side = grid_side(site) if cells else None
    cards = []
    for place in progress(chosen, f"pictures of features of {concept.name}"):
        feature = int(acted.features[place])
        best = scores[:, place].argsort(descending=True, stable=True)[:SHOWN].tolist()
        asked = [(prompts[number], number) for number in best]  # the seeds of `feature_scores`
        found = map_pictures(model, site, dictionary, [feature], asked, side or MAP_SIZE, progress, **sampling)
        about = PictureText(
            concept=concept.name, site=acted.site, feature=feature, auc=float(auc[place]), cells=cells,
            target_mean=float(mean[place]), retain_mean=float(scores[len(own) :, place].mean()),
            prompts=tuple(text for text, _ in asked), ablation=ablated(feature),
        )  # fmt: skip
        cards.append(PictureCard(about, found.images, found.maps[:, :, 0].mean(axis=1)))
    return cards
