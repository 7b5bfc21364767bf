"""Random features that change as often and as strongly as those of a hypothesis: the controls of its ablation.

Features that fire as often over all prompts need not fire at all on those that are tested, so that ablating them
changes nothing and shows nothing. Hence the match is on the tested concept's own prompts.
    (1)  Δz_f = z_f, where features are taken out; z_f in the sentence with the concept − z_f without, where patched in
    (2)  density_f = share of positions with Δz_f ≠ 0,    norm_f = ‖d_f‖ √ mean over prompts of Σ Δz_f²
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from workbench.studies.contexts import with_word
from workbench.studies.hypothesis import Study
from workbench.studies.observing import Observer
from workbench.studies.parts import Part

NEAREST = 8  # a control feature is drawn among so many of the nearest norm
FACTOR = 2.0  # … of those whose density is at most so many times larger or smaller


class Changes(NamedTuple):
    """Of each feature of a dictionary: how often and how strongly it changes (2), and whether it ever fires."""

    density: Float[Tensor, " d_sae"]
    norm: Float[Tensor, " d_sae"]
    alive: Bool[Tensor, " d_sae"]


def changes(part: Part, study: Study, observer: Observer) -> Changes:
    """The changes of all features of the part's dictionary on the prompts that find the subject."""
    assert part.dictionary is not None
    named = list(study.concept.prompts())
    after, before = observer.of(part.site, named).after_begin, None
    if study.claim == "sufficient" and observer.sees_sentences(part.site):
        before = observer.of(part.site, with_word(named, study.concept.name, study.sparing)).after_begin
    density, squares = _sums(part.dictionary, after, before)
    norm = squares.sqrt() * part.dictionary.W_dec.norm(dim=1)
    everything = observer.of(part.site, sorted(study.finding_prompts())).after_begin
    alive = _sums(part.dictionary, everything, None)[0] > 0
    return Changes(density, norm, alive)  # (2)


def matched_changes(features: Int64[Tensor, " k"], found: Changes, *, seed: int) -> Int64[Tensor, " k"]:
    """As many other features, one for each, none twice, all of which fire somewhere.

    Raises `WorkbenchError` if no other feature is of a feature's density.
    """
    generator, drawn = torch.Generator().manual_seed(seed), []
    free = found.alive.clone()
    free[features] = False
    for feature in features.tolist():
        near = free & _within(found.density, float(found.density[feature]))
        candidates = near.nonzero().flatten()
        if not len(candidates):
            raise WorkbenchError(
                f"No control is possible: no other feature changes at about {found.density[feature]:.1%} of the "
                f"positions, as feature {feature} does.",
                "Leave that feature out, or take a larger SAE.",
            )
        distance = (found.norm[candidates].clamp_min(1e-9).log() - found.norm[feature].clamp_min(1e-9).log()).abs()
        nearest = candidates[distance.argsort(stable=True)[:NEAREST]]
        pick = nearest[torch.randint(len(nearest), (), generator=generator)]
        free[pick] = False
        drawn.append(pick)
    return torch.stack(drawn)


def _within(density: Tensor, of: float) -> Tensor:
    return (density >= of / FACTOR) & (density <= of * FACTOR)


def _sums(dictionary: Dictionary, after: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """(1): the share of changed positions, and the mean over rows of the squares; row by row, to stay small."""
    changed, squares = torch.zeros(dictionary.d_sae), torch.zeros(dictionary.d_sae)
    for row in range(len(after)):
        z = dense(dictionary, after[row])
        if before is not None:
            z = z - dense(dictionary, before[row])
        changed += (z != 0).float().mean(dim=0).cpu()
        squares += z.pow(2).sum(dim=0).cpu()
    return changed / len(after), squares / len(after)


def dense(dictionary: Dictionary, x: Float[Tensor, "positions d"]) -> Float[Tensor, "positions d_sae"]:
    """The code with all its zeros."""
    code = dictionary.encode(x)
    return x.new_zeros(len(x), dictionary.d_sae).scatter_(1, code.indices, code.values)
