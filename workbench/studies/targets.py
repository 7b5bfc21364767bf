"""What a part is moved to under each claim, and how far that moves the activation.

    necessary, specific    features: 0. All else: the mean over the same sentence with each other word of the study
    sufficient             what the part is in the same sentence with the concept's name
A picture has no sentence of its own, so there these are means over all prompts, one for each timestep.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.studies.contexts import check_lengths, swapped, with_word
from workbench.studies.hypothesis import Study
from workbench.studies.observing import Observer, by_key
from workbench.studies.parts import Part, Target


def target(part: Part, study: Study, observer: Observer) -> Target:
    """a° for every prompt of the study (text) or every timestep (picture)."""
    if study.claim != "sufficient" and part.features is not None:
        return Target()
    if observer.sees_sentences(part.site):
        return _by_prompt(part, study, observer)
    prompts = study.concept.prompts() if study.claim == "sufficient" else _without(study)
    seen = observer.of(part.site, prompts)
    return Target(*by_key(seen, part.coordinates(seen.x)))


def steps(part: Part, study: Study, observer: Observer) -> Float[Tensor, "rows positions d"]:
    """(a° − a(x)) D on the prompts that find the subject, with the begin token left alone."""
    seen = observer.of(part.site, _starts(study))
    a = part.coordinates(seen.x)
    if study.claim != "sufficient" and part.features is not None:
        to = torch.zeros_like(a)
    elif observer.sees_sentences(part.site):
        to = part.coordinates(observer.of(part.site, _ends(study)).x)
    else:
        means, keys = by_key(*_target_of_steps(part, study, observer))
        to = means[(seen.keys[:, None] == keys).int().argmax(dim=1)]
    found = part.contribution(to - a)
    found[:, : seen.begins] = 0
    return found


def _target_of_steps(part: Part, study: Study, observer: Observer) -> tuple:
    seen = observer.of(part.site, _ends(study))
    return seen, part.coordinates(seen.x)


def _starts(study: Study) -> list[str]:
    """The concept's own prompts, or with another word where the claim is that the concept can be patched in."""
    named = list(study.concept.prompts())
    return with_word(named, study.concept.name, study.sparing) if study.claim == "sufficient" else named


def _ends(study: Study) -> list[str]:
    """What `_starts` are moved towards."""
    return list(study.concept.prompts()) if study.claim == "sufficient" else _without(study)


def _without(study: Study) -> list[str]:
    return with_word(study.concept.prompts(), study.concept.name, study.sparing)


def _by_prompt(part: Part, study: Study, observer: Observer) -> Target:
    """For each sentence and word its own a°; sentences must be of equal length in tokens."""
    name, all_words = study.concept.name, (study.concept.name, *study.sparing)
    sentences = {word: [swapped(prompt, name, word) for prompt in study.prompts] for word in all_words}
    check_lengths(observer.model, sentences[name], [sentences[word] for word in study.sparing])
    flat = [prompt for own in sentences.values() for prompt in own]
    seen = observer.of(part.site, flat)
    a = part.coordinates(seen.x).unflatten(0, (len(all_words), -1))  # [words, sentences, positions, k]
    if study.claim == "sufficient":
        to = a[:1].expand_as(a)
    else:
        to = (a.sum(dim=0, keepdim=True) - a) / (len(all_words) - 1)
    return Target(to.flatten(0, 1), seen.keys)
