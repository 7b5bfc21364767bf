"""Finding a concept's features in a model: runs the prompts, encodes what the site hands over, and scores it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probes.feature_table import FeatureTable
from probes.features import Causal, PromptScores, content_tokens, feature_table, prompt_scores
from saes.dictionary import Dictionary
from saes.errors import WorkbenchError, unknown_name
from saes.files import SAE, check_width, load
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import ActivationEdit
from workbench.edits.programs import ACTIONS
from workbench.hooks import Clock, Site
from workbench.hooks.session import Keep
from workbench.models import Model
from workbench.models.autoencoder import Images
from workbench.shipped import sae_folder

TEXT_BATCH, IMAGE_BATCH = 64, 16
ALWAYS = (1000.0, 0.0)  # the window of a whole denoising
FINGERPRINT = re.compile("[0-9a-f]{64}")  # how our SAEs name their model; those of others may say anything

Reader = Callable[[Float[Tensor, "prompts positions d"], Bool[Tensor, "prompts positions"]], Tensor]


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
    it was trained. At a denoiser site a picture is made for every prompt. `m` is how many of a prompt's strongest
    features count for ItD's contrast, by default twice the SAE's k. With `score`, a function of images (one for all
    concepts, or one each by name), the `top` features of each concept are ablated one by one, and `effect` is what the
    score of the concept's images loses at equal `seeds`. Raises `WorkbenchError` if a concept retains nothing.
    """
    concepts = [concept] if isinstance(concept, Concept) else list(concept)
    opened = open_sae(sae)
    site, dictionary = site_of(opened, model), dictionary_on(opened, model)
    if not concepts:
        raise WorkbenchError("There is no concept to look for.", "Give at least one.")
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
    model: Model, site: Site, dictionary: Dictionary, prompts: Sequence[str], progress: Progress = SILENT
) -> Float[Tensor, "prompts d_sae"]:
    """How strongly each feature fires on each prompt, at its loudest content token (or pixel and step)."""

    def read(x: Float[Tensor, "prompts positions d"], content: Bool[Tensor, "prompts positions"]) -> Tensor:
        return prompt_scores(dictionary.encode(x), content, dictionary.d_sae).cpu()

    return observe(model, site, prompts, read, progress, "features")


def _scores(model: Model, site: Site, dictionary: Dictionary, concept: Concept, progress: Progress) -> PromptScores:
    prompts = (concept.prompts(), concept.retain_prompts())
    return PromptScores(*(feature_scores(model, site, dictionary, each, progress) for each in prompts))


def observe(
    model: Model, site: Site, prompts: Sequence[str], read: Reader, progress: Progress = SILENT, label: str = ""
) -> Float[Tensor, "prompts *rest"]:
    """Runs the prompts and returns `read(x, content)` of the site's conditional rows, a row a prompt.

    `x` is float32 and `content` marks the positions that count (all of a picture's). Where a component is called
    several times a batch, as in denoising, the largest value counts.
    """
    if not prompts:
        raise WorkbenchError("There are no prompts.", "Give at least one.")
    size = TEXT_BATCH if site.component == "text" else IMAGE_BATCH
    starts = range(0, len(prompts), size)
    return torch.cat([_observe(model, site, prompts[at : at + size], read, at) for at in progress(starts, label)])


def activations(model: Model, site: Site, prompts: Sequence[str]) -> Float[Tensor, "prompts positions d"]:
    """What a text site hands over for each prompt, padding included, in float32."""
    parts = []
    for start in range(0, len(prompts), TEXT_BATCH):
        with torch.no_grad(), model.session(record=[site]) as session:
            model.encode(prompts[start : start + TEXT_BATCH])
        parts.append(session.records[site.alias][0][1].float())
    return torch.cat(parts)


def _observe(model: Model, site: Site, prompts: Sequence[str], read: Reader, first: int) -> Tensor:
    found: list[Tensor] = []
    end = end_token(model, site) if site.component == "text" else -1

    def keep(_: Site, activation: Tensor, clock: Clock) -> None:
        rows = clock.mask("cond")
        if rows.any():
            content = torch.ones(activation.shape[:2], dtype=torch.bool, device=activation.device)
            if clock.token_ids is not None:
                content = content_tokens(clock.token_ids, end)
            new = read(activation[rows].float(), content[rows])
            found[:] = [torch.maximum(found[0], new) if found else new]

    run_batch(model, [site], prompts, keep, seed=first)
    return found[0]


@torch.no_grad()
def run_batch(
    model: Model, sites: Sequence[Site], prompts: Sequence[str], keep: Keep, *, seed: int = 0, steps: int | None = None
) -> None:
    """Runs prompts as one batch and hands what the sites see to `keep`. Pictures are made if a site lies in the
    denoiser, that of prompt number i with the seed `seed + i`; otherwise the prompts are only encoded."""
    with model.session(record=sites, keep=keep):
        if any(site.component == "denoiser" for site in sites):
            model.generate(prompts, range(seed, seed + len(prompts)), steps=steps, batch_size=len(prompts))
        else:
            model.encode(prompts)


def intervention(
    model: Model,
    sae: SAE | str | Path,
    features: Sequence[int],
    *,
    action: str = "scale",
    strength: float,
    window: tuple[float, float] = ALWAYS,
    concepts: Sequence[str] = (),
) -> ActivationEdit:
    """An edit that changes features by hand and keeps what the SAE does not explain.

    "scale" multiplies them by `strength` wherever they fire; "clamp" sets them to it, and "add" adds it, at all
    positions of a picture or at the words of a prompt, whether they fire or not. Conditional rows only, never the begin
    token. `window` is the highest and the lowest timestep (1000 … 0, both included) at which a denoiser site is
    changed. Raises `WorkbenchError` for features that the SAE lacks, an SAE of another model or width, an unknown
    action, and a window that no denoising passes or that belongs to a text site.
    """
    if action not in ACTIONS:
        raise unknown_name("action", action, ACTIONS)
    opened = open_sae(sae)
    check_origin(opened, model)
    site, dictionary = site_of(opened, model), Dictionary.of(opened)
    _check_window(window, site)
    chosen = torch.tensor(sorted(set(features)), dtype=torch.int64)
    if ((chosen < 0) | (chosen >= dictionary.d_sae)).any():
        raise WorkbenchError(f"The SAE has features 0 to {dictionary.d_sae - 1}.", "Choose among these.")
    needs_end = site.component == "text" and action != "scale"
    return ActivationEdit(
        site=site.alias, width=site.channels, program="change_features",
        tensors={**dictionary.tensors, "features": chosen},
        settings={
            **dictionary.settings, "action": action, "strength": strength, "window": list(window),
            "end": end_token(model, site) if needs_end else None,
        },
        method="intervention", concepts=concepts, base_fingerprint=model.fingerprint,
    )  # fmt: skip


def ablation(
    model: Model, sae: SAE | str | Path, features: Sequence[int], *, strength: float = 0.0, concepts: Sequence[str] = ()
) -> ActivationEdit:
    """An intervention that multiplies features by `strength`, which takes them out."""
    made = intervention(model, sae, features, action="scale", strength=strength, concepts=concepts)
    return replace(made, method="ablation")


def check_origin(sae: SAE, model: Model) -> None:
    """Raises `WorkbenchError` if the SAE names the weights that it was trained on, and they are not this model's."""
    trained_on = sae.cfg.metadata.model_name or ""
    if FINGERPRINT.fullmatch(trained_on) and trained_on != model.fingerprint:
        raise WorkbenchError(
            f"The SAE was trained on a model of other weights than {model.name}.",
            "Its features mean nothing here: train one on this model, or load the one that it belongs to.",
        )


def _check_window(window: tuple[float, float], site: Site) -> None:
    highest, lowest = window
    if not ALWAYS[0] >= highest >= lowest >= ALWAYS[1]:
        raise WorkbenchError(
            f"No denoising passes a timestep from {highest:g} down to {lowest:g}.",
            "Give the highest and the lowest timestep, of 1000 (noise) to 0 (picture).",
        )
    if site.component == "text" and tuple(window) != ALWAYS:
        raise WorkbenchError(
            f"{site.alias!r} is passed once, before the first timestep, so it has no window of timesteps.",
            "Leave the window out, or choose an SAE at a denoiser site.",
        )


def open_sae(sae: SAE | str | Path) -> SAE:
    """An SAE from a folder or by the name of a shipped one; a loaded SAE is returned as it is."""
    return load(sae_folder(sae)) if isinstance(sae, str | Path) else sae


def site_of(sae: SAE, model: Model) -> Site:
    """The site at which the SAE was trained. Raises `WorkbenchError` if it does not say, or its width is another."""
    alias = sae.cfg.metadata.hook_name
    if not alias:
        raise WorkbenchError("The SAE does not say at which site it was trained.", "Set `hook_name` in its metadata.")
    site = model.site(alias)
    check_width(sae, site.channels, alias)
    return site


def dictionary_on(sae: SAE, model: Model) -> Dictionary:
    """The SAE's tensors on the model's device."""
    found = Dictionary.of(sae)
    tensors = {name: tensor.to(model.device) for name, tensor in found.tensors.items()}
    return Dictionary.from_tensors(tensors, found.settings)


def strongest(sae: SAE, m: int | None) -> int:
    """How many of a prompt's strongest features count: m, or twice as many as fire on a row (the paper: 128, 64)."""
    if m is not None:
        return m
    if not (typical := getattr(sae.cfg, "k", None) or sae.cfg.metadata.l0):
        raise WorkbenchError("The SAE does not say how many features fire on a row.", "Set m.")
    return round(2 * typical)


def end_token(model: Model, site: Site) -> int:
    """The id of the token that ends a prompt for this site's encoder. Refuses encoders without a begin token (T5)."""
    tokenizer = tokenizer_of(model, site)
    if tokenizer.bos_token_id is None:
        raise WorkbenchError(
            f"Prompts of {site.alias!r} have no begin token, so their content cannot be told from padding.",
            "Choose a site of a CLIP text encoder.",
        )
    return tokenizer.eos_token_id


def tokenizer_of(model: Model, site: Site) -> Any:
    """The tokenizer of a text site's encoder."""
    return getattr(model.pipe, site.path.split(".")[0].replace("text_encoder", "tokenizer"))


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
        with model.edited(ablation(model, sae, features, concepts=(concept.name,))):
            return float(score(model.generate(prompts, list(seeds) * len(concept.prompts()))))

    return run
