"""From the words of a hypothesis to parts of the model, and to the random parts that stand against them.

A control is drawn to change as much as the subject does, on the prompts that find the subject:
    features    as many others that change at about as many positions and about as strongly (`matched_changes`)
    heads       as many other heads of the same kind of attention
    layers      as many other sites of the same kind
    direction   the difference of means of two other words in the same sentences
    (1)  norm = √ mean over prompts of ‖(a° − a(x)) D‖²
    (2)  scale of a control at the subject's own site = norm of the subject / norm of the control
A control elsewhere (other heads, other layers) is taken out whole, as the subject is; its scale is 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from math import comb
from typing import TypeVar

import numpy as np
import torch

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_origin, dictionary_on, open_sae, site_of
from workbench.interpret.find_features import find_features
from workbench.models import Model
from workbench.studies.contexts import with_word
from workbench.studies.hypothesis import Study
from workbench.studies.matching import changes, matched_changes
from workbench.studies.observing import Observer
from workbench.studies.parts import Part
from workbench.studies.targets import steps

T = TypeVar("T")
NAMED = 4  # parts that are named one by one
ALL_COMBINATIONS = 10_000  # beyond so many, controls are drawn one by one


@dataclass(frozen=True, eq=False)
class Chosen:
    """The parts that a subject or a control consists of, in words, and how much changing them whole changes (1)."""

    words: str
    parts: tuple[Part, ...]
    norm: float = 0.0
    scale: float = 1.0


def choose(model: Model, study: Study, progress: Progress = SILENT) -> tuple[Part, ...]:
    """The subject's parts. Raises `WorkbenchError` for an unknown site, and features or heads that do not exist."""
    subject = study.subject
    if subject.features:
        return (_features(model, study, progress),)
    if subject.direction:
        observer = Observer(model, [subject.direction.site])
        others = [word for word in study.source.retain if word != study.source.name] or list(study.sparing)
        return (_direction(observer, study, study.source.name, others),)
    if subject.layers:
        return tuple(Part(model.site(alias).alias) for alias in dict.fromkeys(subject.layers))
    named = [(alias, head) for alias, heads in subject.heads.items() for head in dict.fromkeys(heads)]
    return _heads(model, named)


def words(study: Study, parts: Sequence[Part]) -> str:
    """What the subject is, for sentences."""
    subject = study.subject
    if subject.features:
        assert parts[0].features is not None
        numbers = parts[0].features.tolist()
        of = f" (found for {subject.features.of})" if subject.features.of else ""
        return f"{_counted('feature', numbers)} of {subject.features.sae}{of}"
    if subject.direction:
        return f"the direction of {subject.direction.of} at {subject.direction.site}"
    if subject.layers:
        return f"{_counted('layer', list(subject.layers))}"
    return " and ".join(f"{_counted('head', list(heads))} of {alias}" for alias, heads in subject.heads.items())


def controls(model: Model, study: Study, subject: Chosen, observer: Observer) -> list[Chosen]:
    """The random draws that stand against the subject, in words and with their scales (2).

    As many as the study asks for, or all that there are. Raises `WorkbenchError` if none is possible.
    """
    found = []
    for parts, about in islice(_draws(model, study, subject.parts, observer), study.controls):
        drawn = measured(about, parts, study, observer)
        same_site = [part.site for part in parts] == [part.site for part in subject.parts]
        if same_site and drawn.norm > 0 and subject.norm > 0:
            drawn = replace(drawn, scale=subject.norm / drawn.norm)  # (2)
        found.append(drawn)
    if not found:
        raise WorkbenchError(
            f"No control is possible: the model has no other {study.subject.kind} of the kind of {subject.words}.",
            "Name fewer in the subject, so that as many others are left.",
        )
    return found


def measured(about: str, parts: Sequence[Part], study: Study, observer: Observer) -> Chosen:
    """The parts with the norm of what changing them whole changes (1)."""
    total = torch.tensor(0.0, dtype=torch.float64)
    for part in parts:
        total += steps(part, study, observer).double().pow(2).sum(dim=(1, 2)).mean().cpu()
    return Chosen(about, tuple(parts), float(total.sqrt()))  # (1)


def sites_to_watch(model: Model, study: Study, parts: Sequence[Part]) -> list[str]:
    """The sites of the subject and of all controls that could be drawn."""
    own = [part.site for part in parts]
    if study.subject.kind not in ("heads", "layers"):
        return own
    return [alias for alias in model.sites() if kind_of(alias) in {kind_of(site) for site in own}]


def kind_of(alias: str) -> tuple[str, str]:
    """The component and the kind of a site: ("text", "mlp"), ("unet", "attn2"), ("unet", "block"), …"""
    first, *rest = alias.split(".")
    part = ".".join(word for word in rest if not word.isdigit() and word not in ("down", "mid", "up", "single"))
    depth = sum(word.isdigit() or word == "mid" for word in rest)
    return first, part or f"block at depth {depth}"


def _draws(
    model: Model, study: Study, parts: Sequence[Part], observer: Observer
) -> Iterator[tuple[tuple[Part, ...], str]]:
    if study.subject.features:
        yield from _feature_draws(study, parts[0], observer)
    elif study.subject.direction:
        yield from _direction_draws(study, observer)
    elif study.subject.layers:
        own = [part.site for part in parts]
        for some in _others(sites_to_watch(model, study, parts), own, study.seed):
            yield tuple(Part(alias) for alias in some), _counted("layer", some)
    else:
        attentions = [alias.removesuffix(".heads") for alias in sites_to_watch(model, study, parts)]
        every = [(alias, head) for alias in attentions for head in range(n_heads(model, alias))]
        own_heads = [(alias, head) for alias, named in study.subject.heads.items() for head in named]
        for heads in _others(every, own_heads, study.seed):
            yield _heads(model, heads), ", ".join(f"head {head} of {alias}" for alias, head in heads)


def _others(every: Sequence[T], own: Sequence[T], seed: int) -> Iterator[list[T]]:
    """Distinct random sets of as many others as `own` has, until there are no more."""
    return _sets([one for one in every if one not in own], len(own), seed)


def _sets(every: Sequence[T], size: int, seed: int) -> Iterator[list[T]]:
    """Distinct random sets of this size, until there are no more."""
    rng = np.random.default_rng(seed)
    if comb(len(every), size) <= ALL_COMBINATIONS:
        sets = list(combinations(every, size))
        yield from (list(sets[place]) for place in rng.permutation(len(sets)))
        return
    while True:
        yield [every[i] for i in sorted(rng.choice(len(every), size, replace=False))]


def _features(model: Model, study: Study, progress: Progress) -> Part:
    asked = study.subject.features
    assert asked is not None
    sae = open_sae(asked.sae)
    check_origin(sae, model)
    site, dictionary = site_of(sae, model), dictionary_on(sae, model)
    chosen = list(dict.fromkeys(asked.listed))
    if not chosen:
        table = find_features(model, sae, study.source, progress=progress)
        name = study.source.name
        chosen = table.of(name).feature.head(asked.top).tolist() if asked.top else table.contrast(name)
    if not chosen:
        raise WorkbenchError(
            f"No feature of {asked.sae} is {asked.of!r}'s alone.", "Ask for the best: `top: 4` beside `of`."
        )
    if beyond := [feature for feature in chosen if not 0 <= feature < dictionary.d_sae]:
        raise WorkbenchError(
            f"{asked.sae} has features 0 to {dictionary.d_sae - 1}, and the study names {beyond[0]}.",
            "Choose among these.",
        )
    return Part(site.alias, dictionary, torch.tensor(chosen, device=model.device))


def _feature_draws(study: Study, part: Part, observer: Observer) -> Iterator[tuple[tuple[Part, ...], str]]:
    found = changes(part, study, observer)
    assert part.features is not None
    for draw in range(study.controls):
        features = matched_changes(part.features, found, seed=1000 * study.seed + draw)
        yield (replace(part, features=features),), _counted("feature", features.tolist())


def _direction(observer: Observer, study: Study, word: str, others: Sequence[str]) -> Part:
    """The unit vector from the mean over sentences with one of `others` to the mean over the same with `word`."""
    assert study.subject.direction is not None
    alias, source = study.subject.direction.site, study.source
    with_it = with_word(source.prompts(), source.name, [word])
    without = [one for other in others for one in with_word(source.prompts(), source.name, [other])]
    means = [observer.of(alias, prompts).after_begin.mean(dim=(0, 1)) for prompts in (with_it, without)]
    difference = means[0] - means[1]
    if not difference.norm() > 0:
        raise WorkbenchError(
            f"At {alias}, prompts of {word!r} do not differ from others.", "Choose a later site for the direction."
        )
    return Part(alias, basis=(difference / difference.norm())[None])


def _direction_draws(study: Study, observer: Observer) -> Iterator[tuple[tuple[Part, ...], str]]:
    named = {study.concept.name, study.source.name}
    others = [word for word in dict.fromkeys((*study.source.retain, *study.sparing)) if word not in named]
    for there, back in _sets(others, 2, study.seed):
        yield (_direction(observer, study, there, [back]),), f"the direction from {back} to {there}"


def _heads(model: Model, named: Sequence[tuple[str, int]]) -> tuple[Part, ...]:
    by_site: dict[str, list[int]] = {}
    for alias, head in named:
        by_site.setdefault(alias, []).append(head)
    return tuple(_head_part(model, alias, heads) for alias, heads in by_site.items())


def _head_part(model: Model, alias: str, heads: Sequence[int]) -> Part:
    site, n = model.site(f"{alias}.heads"), n_heads(model, alias)
    if not all(0 <= head < n for head in heads):
        named = ", ".join(map(str, heads))
        raise WorkbenchError(f"{alias} has heads 0 to {n - 1}, and the study names {named}.", "Choose among these.")
    width = site.channels // n
    channels = [channel for head in heads for channel in range(head * width, (head + 1) * width)]
    return Part(site.alias, basis=torch.eye(site.channels, device=model.device)[channels])


def n_heads(model: Model, alias: str) -> int:
    """How many heads the attention of this alias has. Raises `WorkbenchError` for a site that is no attention."""
    module = model.module(model.site(alias).path)
    found = getattr(module, "heads", None) or getattr(module, "num_heads", None)
    if found is None:
        raise WorkbenchError(f"{alias} is no attention, so it has no heads.", "Name one such as text.2.attn.")
    return int(found)


def _counted(noun: str, names: Sequence[object]) -> str:
    """ "feature 3", "features 3 and 14", "12 features (3, 14, 15, …)"."""
    texts = [str(name) for name in names]
    if len(texts) > NAMED:
        return f"{len(texts)} {noun}s ({', '.join(texts[:3])}, …)"
    listed = texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
    return f"{noun}{'s' * (len(texts) > 1)} {listed}"
