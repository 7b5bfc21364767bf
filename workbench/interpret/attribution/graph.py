"""Features → features: which features of a picture site each feature of a text site feeds.

A source i (text) is ablated, and the mean activation m of each target j (picture) is compared, at equal latents:
    (1)  w_ij = mean over rows of m_j − m_j(without i)          positive: i feeds j; negative: i holds j down
The control takes out of the same tokens as much of another direction: z_i r with a random r as long as i's decoder row.
An edge is kept only where |w_ij| is larger than whatever any control did to the same target.

In a Janus one sequence has both. Sources are ablated at the prompt's positions and targets read at the cells, given the
tokens that the unedited model draws; what leads from one to the other is attention in the layers between.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError, check_at_least
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_features, check_origin, dictionary_on, open_sae, site_of
from workbench.activations.positions import Frame, of_prompt, places
from workbench.activations.reading import Reading, watched
from workbench.hooks import Activation, Clock, Place, Places, Site, SiteEdit
from workbench.interpret.attribution.lens import SEEN, check_no_timesteps, looks_at
from workbench.interpret.attribution.pictures import chosen_values
from workbench.models import Janus, Model
from workbench.models.diffusion.model import as_diffusion
from workbench.models.requests import pair
from workbench.settings import settled

DRAWS = 3  # random directions for each source
Passes = Callable[[], None]  # runs the prompts' own pictures through the model once more


@torch.no_grad()
def feature_graph(
    model: Model,
    source: SAE | str | Path,
    sources: Sequence[int],
    target: SAE | str | Path,
    targets: Sequence[int],
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    seen: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress = SILENT,
    **sampling: Any,
) -> pd.DataFrame:
    """The edges from some features of a text SAE to some of a picture SAE, the strongest first.

    Columns: source, target (features), weight (1) in the target's units, share (of the
    target's mean activation with or without the source, whichever is more: in [−1, 1]), low, high (95 % of the weight,
    by the normal approximation over rows), control (the largest |weight| of any of the `draws` random
    directions of each source on this target). Edges not above their control are left out. The latents are the prompts'
    own pictures, made with `sampling` and noised to `seen` timesteps (`SEEN` if left out); in a Janus, their tokens.
    Raises `WorkbenchError` for SAEs at other kinds of sites, and in a Janus for a target that is passed before the
    source, or timesteps.
    """
    opened = open_sae(source), open_sae(target)
    sites = site_of(opened[0], model, "prompt"), site_of(opened[1], model, "image")
    for sae in opened:
        check_origin(sae, model)
    sources, targets = check_features(opened[0], sources), check_features(opened[1], targets)
    check_at_least(1, draws=draws)
    prompts, seeds = zip(*pair(prompts, seeds), strict=True)
    passes = _passes(model, prompts, seeds, seen, sampling)
    if isinstance(model, Janus):
        _check_order(model, sites, passes)
    means = _means(model, sites[1], dictionary_on(opened[1], model), targets, len(prompts), passes)
    whole, dictionary = means([]), dictionary_on(opened[0], model)
    draw, where = torch.Generator().manual_seed(seed), of_prompt if isinstance(model, Janus) else after_begin
    weights: list[Tensor] = []
    controls: list[Tensor] = []
    for feature in progress(sources, "edges"):
        own = dictionary.W_dec[feature]
        for direction, kept in ((own, weights), *((r, controls) for r in turned(own, draws, draw))):
            kept.append(whole - means([SiteEdit(sites[0], without(dictionary, feature, direction, where))]))  # (1)
    return _edges(torch.stack(weights), torch.stack(controls), whole, sources, targets)


def turned(own: Float[Tensor, " d"], draws: int, draw: torch.Generator) -> list[Float[Tensor, " d"]]:
    """Random directions as long as a decoder row."""
    return [r.to(own) * own.norm() / r.norm() for r in torch.randn(draws, len(own), generator=draw)]


def after_begin(found: Places) -> Bool[Tensor, "rows positions"]:
    """Where `ablation` acts: at all but the begin token."""
    return found != Place.BEGIN


def without(
    dictionary: Dictionary,
    feature: int,
    direction: Float[Tensor, " d"],
    where: Callable[[Places], Bool[Tensor, "rows positions"]] = after_begin,
) -> Callable[[Activation, Clock], Activation]:
    """A transform that takes z · `direction` away wherever the feature fires, as `ablation` does with its own row."""

    def transform(x: Activation, clock: Clock) -> Activation:
        z = chosen_values(dictionary.encode(x.to(direction.dtype)), torch.tensor([feature], device=x.device))
        z = z * clock.mask("cond")[:, None, None]
        z[~where(places(clock, x.shape[1], Frame()))] = 0
        return (x - z * direction).to(x.dtype)

    return transform


def _passes(
    model: Model, prompts: Sequence[str], seeds: Sequence[int], seen: int | None, sampling: Mapping[str, Any]
) -> Passes:
    """What runs the prompts' own pictures through the model: noised to some timesteps, or as tokens."""
    if isinstance(model, Janus):
        check_no_timesteps(seen)
        codes = model.sample_codes(prompts, list(seeds), **settled(model.settings, sampling))

        def read() -> None:
            model.hidden(codes, list(prompts))

        return read
    handle = as_diffusion(model, "The graph from text features to picture features")
    looks = looks_at(handle, prompts, seeds, SEEN if seen is None else seen, **sampling)

    def denoise() -> None:
        encoding = handle.encode(prompts)
        for x, t in looks:
            handle.noise_prediction(x, t, encoding)

    return denoise


def _check_order(model: Model, sites: tuple[Site, Site], passes: Passes) -> None:
    """Raises `WorkbenchError` for a target that nothing of the source can reach."""
    passed: list[Site] = []
    with model.session(record=list(dict.fromkeys(sites)), keep=lambda site, x, clock: passed.append(site)):
        passes()
    if passed.index(sites[1]) <= passed.index(sites[0]):
        raise WorkbenchError(
            f"{sites[1].alias!r} is passed no later than {sites[0].alias!r}, so that nothing leads there.",
            "Choose a target at a later site.",
        )


def _means(
    model: Model, site: Site, dictionary: Dictionary, targets: Sequence[int], rows: int, passes: Passes
) -> Callable[[Sequence[SiteEdit]], Float[Tensor, "rows targets"]]:
    """The function that gives the targets' mean activation over places of the picture and timesteps under edits."""
    chosen = torch.tensor(list(targets), device=model.device)

    def means(edits: Sequence[SiteEdit]) -> Float[Tensor, "rows targets"]:
        seen: list[Tensor] = []

        def take(reading: Reading) -> None:
            drawn = (reading.places == Place.PICTURE)[..., None]
            values = chosen_values(dictionary.encode(reading.x), chosen)
            seen.append((values * drawn).sum(dim=1) / drawn.sum(dim=1))

        with watched(model, [site], take, range(rows), edits=edits):
            passes()
        return torch.stack(seen).mean(dim=0).cpu()

    return means


def _edges(
    weights: Float[Tensor, "sources rows targets"],
    controls: Float[Tensor, "draws rows targets"],
    whole: Float[Tensor, "rows targets"],
    sources: Sequence[int],
    targets: Sequence[int],
) -> pd.DataFrame:
    mean, before, rows = weights.mean(dim=1), whole.mean(dim=0), weights.shape[1]
    reach = 1.96 * weights.std(dim=1) / rows**0.5 if rows > 1 else torch.zeros_like(mean)
    control = controls.mean(dim=1).abs().amax(dim=0)
    table = pd.DataFrame([
        {
            "source": source, "target": target, "weight": float(mean[i, j]),
            "share": float(mean[i, j] / torch.maximum(before[j], before[j] - mean[i, j])),
            "low": float(mean[i, j] - reach[i, j]), "high": float(mean[i, j] + reach[i, j]),
            "control": float(control[j]),
        }
        for i, source in enumerate(sources) for j, target in enumerate(targets) if mean[i, j].abs() > control[j]
    ], columns=["source", "target", "weight", "share", "low", "high", "control"])  # fmt: skip
    return table.sort_values("weight", key=abs, ascending=False, ignore_index=True)
