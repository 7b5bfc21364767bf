"""Words near a concept, for a model: encodes candidates as its text encoder does, and ranks them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from probes.neighbours import Shared, neighbour_table
from saes.errors import WorkbenchError
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_origin, dictionary_on, open_sae, site_of
from workbench.activations.reading import held
from workbench.concepts import Concept, check_concept, names_any
from workbench.fitting.rows import ends_of_text
from workbench.fitting.trajectories import trajectories
from workbench.hooks import Place
from workbench.interpret.find_features import feature_scores
from workbench.models import Diffusion, Model
from workbench.models.capabilities import AUTOREGRESSIVE, NOISE_SCHEDULE
from workbench.models.diffusion.model import as_diffusion

LATENTS, BATCH = 4, 64


def find_neighbours(
    model: Model,
    concept: Concept,
    among: Sequence[str] | None = None,
    *,
    sae: SAE | str | Path | None = None,
    effects: bool = False,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """Candidate words by their nearness to the concept: the table of `probes.neighbours`, with a column `known` that
    marks the concept's synonyms, which are always among them.

    `among` is the concept's `retain` words if left out. A word is what its prompts have in common: the mean, over the
    concept's templates, of the row that ends the text (it parts synonyms from other words better than the row of the
    word itself, for names of several tokens above all; of a Janus, what its last layer makes of the begin-of-image
    token), the mean of how strongly each feature of `sae` fires, and with `effects` what the word does to the predicted
    noise (`noise_effects`). Raises `WorkbenchError` if there is no candidate, for an SAE of another model, and for
    effects in a model that is no Stable Diffusion 1, 2 or XL.
    """
    given = check_concept(concept).retain if among is None else among
    words = [word for word in dict.fromkeys([*concept.synonyms, *given]) if word.casefold() != concept.name.casefold()]
    if not words:
        raise WorkbenchError(f"There are no candidates for neighbours of {concept.name!r}.", "Name some with `among`.")
    if effects:
        check_effects(model)
    filled = Concept(concept.name, synonyms=words, templates=concept.templates)
    prompts = [*filled.prompts(), *filled.synonym_prompts()]
    features = None
    if sae is not None:
        opened = open_sae(sae)
        check_origin(opened, model)
        fired = feature_scores(model, site_of(opened, model), dictionary_on(opened, model), prompts, progress)
        features = shared(fired, 1 + len(words))
    ends = shared(_ends(model, prompts, progress).double().cpu(), 1 + len(words))
    felt = None
    if effects:
        diffusion = as_diffusion(model, "Effects of words")
        felt = shared(noise_effects(diffusion, prompts, len(filled.prompts()), progress), 1 + len(words))
    table = neighbour_table(words, ends, features=features, effects=felt)
    return table.assign(known=table.word.isin(concept.synonyms))


def nearest(model: Model, concept: Concept, among: Sequence[str], n: int, *, progress: Progress = SILENT) -> list[str]:
    """The words that a model reads as nearest to a concept, of those that are no word of it and that no fit is told.

    Args:
        model: Any.
        concept: Its words, its anchor and what it retains are left out.
        among: The candidates.
        n: How many.
        progress: Shows the encoding.

    Returns:
        The words, the nearest first, by the centred cosine of `find_neighbours`.
    """
    told = {word.casefold() for word in (concept.anchor, *concept.retain)}
    words = [word for word in among if word.casefold() not in told and not names_any(word, concept.words())]
    if not words:
        return []
    table = find_neighbours(model, concept, words, progress=progress)
    return table[~table.known].sort_values("cosine", ascending=False).word.head(n).tolist()


def _ends(model: Model, prompts: Sequence[str], progress: Progress) -> Float[Tensor, "prompts d"]:
    if AUTOREGRESSIVE in model.capabilities:
        last = held(model, model.site("lm.norm"), prompts, progress, "ends of prompts")
        return last.x[last.places == Place.END]
    return ends_of_text(as_diffusion(model, "The nearness of words"), prompts, progress).flatten(1)


def check_effects(model: Model) -> None:
    """Raises `WorkbenchError` for a model that makes no pictures from noise by a schedule."""
    if NOISE_SCHEDULE not in model.capabilities:
        raise WorkbenchError(
            f"Effects are compared along trajectories of noise, and {model.name} ({model.kind}) has no noise schedule.",
            "Leave the effects out.",
        )


@torch.no_grad()
def noise_effects(
    model: Diffusion, prompts: Sequence[str], templates: int, progress: Progress = SILENT
) -> Float[Tensor, "prompts m"]:
    """The noise that the model predicts for each prompt at the same latents, less its mean over the prompts of the
    same template: what the words of the prompts do. The prompts come word by word, `templates` of each.

    The latents are `LATENTS` trajectories of the empty prompt after a third of the denoising, where noise still decides
    little and the prompt decides what there is to be seen.
    """
    steps = model.defaults.steps
    seen = trajectories(model, [""] * LATENTS, range(LATENTS), steps=steps, seen=1 + steps // 3, role="uncond")
    rows = []
    for start in progress(range(0, len(prompts), BATCH), "effects of words"):
        encoding = model.encode(prompts[start : start + BATCH])
        each = [
            model.predicted_noise(
                x.to(model.device).expand(len(encoding.roles), -1, -1, -1), seen.timesteps[-1], encoding
            )
            for x in seen.latents[:, -1]
        ]
        rows.append(torch.stack(each, dim=1).flatten(1).double().cpu())
    predicted = torch.cat(rows).unflatten(0, (-1, templates))
    return (predicted - predicted.mean(dim=0)).flatten(0, 1)


def shared(rows: Float[Tensor, "prompts m"], words: int) -> Shared:
    """The mean over each word's prompts, the first word's apart."""
    means = rows.unflatten(0, (words, -1)).mean(dim=1)
    return Shared(means[0], means[1:])
