"""Collects the evidence of a report from the running model: feature cards, ablations, attention maps.

It is done once, after the evaluation, with the edits that lie in the run folder and on the run's own prompts and seeds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probes.attribution import activation_by_word
from probes.features import selectivity_auc
from probes.statistics import bootstrap_means, middle_95
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.reading import Reading, read
from workbench.concepts import Concept
from workbench.conditions import UNEDITED
from workbench.edits import ActedOn, ActivationEdit, Edit, load_edit
from workbench.edits.interventions import CHANGE_FEATURES
from workbench.evaluation.judges import Judge, shown
from workbench.evaluation.runs import Run
from workbench.interpret.attribution.pictures import chosen_values
from workbench.interpret.attribution.words import word_maps
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE
from workbench.models.encoding import TokenRow
from workbench.models.word_places import places
from workbench.reports.evidence import Ablation, AttentionPair, AttentionText, Evidence, FeatureCard, SAEFacts, Strip
from workbench.reports.picturing import picture_cards


def collect(
    run: Run,
    model: Model,
    concept: Concept,
    judge: Judge,
    condition: str,
    *,
    facts: SAEFacts | None = None,
    cards: int = 4,
    images: int = 16,
    maps: int = 2,
    progress: Progress = SILENT,
) -> Evidence:
    """The evidence about one concept under one condition of a finished run; join several with `joined`.

    Feature cards are made for edits of features, for the most selective ones: with prompts at a text site, with
    pictures at all others. Each feature is ablated on the run's own target prompts. Attention maps are made for target
    prompts that hold the concept's name, in a diffusion model.

    Args:
        run: A finished run.
        model: The run's model, without any edit.
        concept: With the prompts that its features are looked for in.
        judge: It must know the concept.
        condition: One with an edit.
        facts: What is known of the autoencoder.
        cards: Features at most, at each site.
        images: Target prompts at most on which each is ablated.
        maps: Target prompts at most whose attention is shown.
        progress: Shows cards and maps.

    Returns:
        Cards, attention, densities by site, the facts, and cards with pictures.

    Raises:
        WorkbenchError: The condition has no edit.
    """
    edit = _edit_of(run, concept.name, condition)
    rows = run.rows(UNEDITED, concept.name)
    target = _sampled_alike(run, rows[rows["role"] == "target"])
    made: list[FeatureCard] = []
    densities: dict[str, Any] = {}
    for acted in (one for one in edit.summary().features if model.site(one.site).component == "prompt"):
        firing = _firing(model, acted, concept)
        densities[acted.site] = firing.density.numpy()
        for place in progress(firing.most_selective(cards), f"feature cards of {concept.name}"):
            alone = _ablation_of(edit, acted, int(firing.features[place]))
            ablation = _ablation(run, model, alone, target.head(images), judge)
            made.append(_card(firing, place, concept.name, acted.site, ablation))
    drawn = [
        card
        for acted in edit.summary().features
        if model.site(acted.site).component == "image"
        for card in picture_cards(
            model, acted, concept, cards,
            lambda feature, acted=acted: _ablation(  # type: ignore[misc]
                run, model, _ablation_of(edit, acted, feature), target.head(images), judge
            ),
            progress, **run.spec.settings,
        )
    ]  # fmt: skip
    if AUTOREGRESSIVE in model.capabilities:
        return Evidence(saes=(facts,) if facts else (), pictures=tuple(drawn))
    named = [row for row in target.itertuples() if _reads(model, row.prompt, concept.name)]
    pairs = [
        _pair(run, model, edit, AttentionText(**about, prompt=row.prompt, seed=row.seed))
        for about in [{"concept": concept.name, "condition": condition, "word": concept.name}]
        for row in progress(named[:maps], f"attention to {concept.name}")
    ]
    return Evidence(tuple(made), tuple(pairs), (facts,) if facts else (), densities, pictures=tuple(drawn))


def joined(parts: Iterable[Evidence]) -> Evidence:
    """The evidence of several concepts as one.

    Args:
        parts: In order.

    Returns:
        All of them after one another; autoencoders that are the same are named once.
    """
    parts = list(parts)
    names = dict.fromkeys(name for part in parts for name in part.tables)
    return Evidence(
        cards=tuple(card for part in parts for card in part.cards),
        attention=tuple(pair for part in parts for pair in part.attention),
        saes=tuple(dict.fromkeys(facts for part in parts for facts in part.saes)),
        pictures=tuple(card for part in parts for card in part.pictures),
        densities={site: density for part in parts for site, density in part.densities.items()},
        tables={
            name: pd.concat([p.tables[name] for p in parts if name in p.tables], ignore_index=True) for name in names
        },
    )


def _edit_of(run: Run, concept: str, condition: str) -> Edit:
    for trial in run.spec.trials:
        if trial.concept == concept and (edit := trial.conditions.get(condition)):
            return load_edit(run.dir / "edits" / edit.hash)
    raise WorkbenchError(f"{run.dir} has no edit {condition!r} of {concept}.", "See the conditions: run.records().")


@dataclass(frozen=True, eq=False)
class _Firing:
    """How the edit's features fire on prompts with the concept (the first `n_target`) and on those without."""

    features: Tensor  # indices in the dictionary
    z: Float[Tensor, "prompts tokens chosen"]
    content: Bool[Tensor, "prompts tokens"]
    tokens: list[TokenRow]
    prompts: list[str]
    n_target: int
    density: Float[Tensor, " d_sae"]

    def scores(self) -> Float[Tensor, "prompts chosen"]:
        """The strongest activation on each prompt; the start token does not count."""
        return self.z.masked_fill(~self.content[..., None], 0).amax(dim=1)

    def auc(self) -> Float[Tensor, " chosen"]:
        """1 where a feature fires on every target prompt more than on any other."""
        scores = self.scores()
        return selectivity_auc(scores[: self.n_target], scores[self.n_target :])

    def most_selective(self, n: int) -> list[int]:
        """The columns of the most selective features, of equally selective ones the loudest first."""
        auc, mean = self.auc(), self.scores()[: self.n_target].mean(dim=0)
        return sorted(range(len(auc)), key=lambda place: (-float(auc[place]), -float(mean[place])))[:n]


def _firing(model: Model, acted: ActedOn, concept: Concept) -> _Firing:
    own = [*concept.prompts(), *concept.synonym_prompts()]
    prompts = [*own, *(concept.retain_prompts() or ("",))]
    dictionary, features = acted.dictionary, acted.features.cpu()
    counts, n_tokens = torch.zeros(dictionary.d_sae), 0
    z: list[Tensor] = []
    content: list[Tensor] = []

    def take(reading: Reading) -> None:
        nonlocal n_tokens
        code = dictionary.encode(reading.x.cpu())
        z.append(chosen_values(code, features))
        content.append(reading.content.cpu())
        counts.add_(torch.bincount(code.indices[code.values > 0], minlength=dictionary.d_sae))
        n_tokens += code.values[..., 0].numel()

    read(model, [model.site(acted.site)], prompts, take)
    density = (counts / n_tokens if acted.density is None else acted.density).cpu().float()
    rows = model.tokens(prompts)
    return _Firing(features, torch.cat(z), torch.cat(content), rows, prompts, len(own), density)


def _card(firing: _Firing, place: int, concept: str, site: str, ablation: Ablation | None) -> FeatureCard:
    feature, scores = int(firing.features[place]), firing.scores()[:, place]
    activations = [firing.z[prompt, : len(row.ids), place] for prompt, row in enumerate(firing.tokens)]
    words = activation_by_word([values[1:-1] for values in activations], [row.words[1:-1] for row in firing.tokens])
    return FeatureCard(
        concept=concept, site=site, feature=feature, density=float(firing.density[feature]),
        auc=float(firing.auc()[place]), target_mean=float(scores[: firing.n_target].mean()),
        retain_mean=float(scores[firing.n_target :].mean()), words=tuple(words[:5]), ablation=ablation,
        strips=tuple(
            Strip(
                prompt=firing.prompts[prompt], tokens=("⟨start⟩", *firing.tokens[prompt].words[1:-1], "⟨end⟩"),
                activations=tuple(activations[prompt].tolist()),
            )
            for prompt in scores.argsort(descending=True, stable=True)[:4].tolist()
        ),
    )  # fmt: skip


def _reads(model: Model, prompt: str, word: str) -> bool:
    """Whether a word stands in a prompt before it is cut."""
    end = len(model.tokens(prompt)[0].ids) - 1
    return any(place[-1] < end for place in places(model.pipe, model.pipe.tokenizer, prompt, word))


def _sampled_alike(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """The records whose pictures were sampled as the run says, and not as a row of a list does."""
    trials = {(one.suite, one.concept): one for one in run.spec.trials}
    places = zip(rows["suite"], rows["concept"], rows["row"], strict=True)
    return rows[[not trials[suite, concept].rows[place].sampling for suite, concept, place in places]]


def _ablation_of(edit: Edit, acted: ActedOn, feature: int) -> ActivationEdit:
    """One feature of those that the edit acts on, taken out alone."""
    return ActivationEdit(
        site=acted.site, width=acted.dictionary.W_dec.shape[1], program=CHANGE_FEATURES,
        tensors={**acted.dictionary.tensors, "features": torch.tensor([feature])},
        settings={**acted.dictionary.settings, "action": "scale", "strength": 0.0, "window": None},
        method="ablation", concepts=edit.concepts, base_fingerprint=edit.base_fingerprint,
    )  # fmt: skip


def _ablation(run: Run, model: Model, alone: Edit, rows: pd.DataFrame, judge: Judge) -> Ablation | None:
    """Makes the images of these rows without one feature and compares them with the run's own."""
    if rows.empty:
        return None
    prompts = rows["prompt"].tolist()
    with model.edited(alone):
        images = model.generate(prompts, rows["seed"].tolist(), **run.spec.settings)
    target = rows["expected"].iloc[0]
    without = shown(judge.score(images, prompts), judge, target, intact_only=False).astype(float)
    with_it = rows["shown"].to_numpy(float)
    low, high = middle_95(bootstrap_means(without - with_it, pd.factorize(rows["prompt"])[0]))
    return Ablation(with_it=with_it.mean(), without=without.mean(), low=low, high=high, n=len(rows))


def _pair(run: Run, model: Model, edit: Edit, about: AttentionText) -> AttentionPair:
    asked = (model, about.prompt, about.word, about.seed)
    before = word_maps(*asked, **run.spec.settings)
    with model.edited(edit):
        after = word_maps(*asked, **run.spec.settings)
    return AttentionPair(about, before.images[0], after.images[0], before.maps[0], after.maps[0])
