"""SAeUron: Interpretable Concept Unlearning in Diffusion Models with Sparse Autoencoders (Cywiński & Deja 2025,
arXiv:2501.18052).

A concept is the features whose share of all activity is larger while its own pictures are made than while others are.
Where one of them fires above its average, it is driven to a negative multiple of itself; no weight changes. z is the
code of a position's activation x, d_i the decoder row of feature i, μ_i(c, t) the mean of z_i over positions and
prompts of concept c at timestep t, conditional rows only; ¬c are all other concepts, their prompts pooled.
    (1)  score_i(c, t) = μ_i(c, t) / (Σ_j μ_j(c, t) + ε) − μ_i(¬c, t) / (Σ_j μ_j(¬c, t) + ε)
    (2)  F(c, t) = {i : score_i(c, t) > quantile_τ(score(c, t))}
    (3)  z′_i = γ μ_i(c, t) z_i  if z_i > m_i(t), else z_i;   m_i(t) = mean of μ_i over all concepts
    (4)  x′ = x + Σ_i (z′_i − z_i) d_i
Other than the official code (1a4302a): it takes the error as x̂ − x and adds it, so that an edit of no feature gives
2x̂ − x; (4) keeps x. Its tables are counted by step and run out in a second picture; here they are looked up by the
value of the timestep, the nearest where a picture has other steps than the fit. A concept without others is refused,
where it falls back to plain means. With several concepts a feature takes the strongest of its multiples.

A Janus has no timesteps: it passes a picture once, cell by cell, so that all of a picture is one step, and its cells
are the positions that (1) to (4) are about. The edit acts on picture cells alone, when they are read; text positions
stay.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Lt
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from typing_extensions import Doc

from saes.dictionary import Code, Dictionary
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import dictionary_on, open_sae, site_of
from workbench.activations.positions import Frame, places
from workbench.activations.reading import Reading, read
from workbench.concepts import Concept
from workbench.edits import ActivationEdit, ComposedEdit
from workbench.edits.programs import DICTIONARY, OF_DICTIONARY, ActivationProgram
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.pictures import drawn_seeds
from workbench.hooks import Activation, Clock, Place, Site
from workbench.interpret.necessity import warn_if_idle
from workbench.knobs import Opens
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE, PICTURE_SITES
from workbench.papers import Reference
from workbench.shipped import sae_files

EPSILON = 1e-8
ONCE = 0.0  # stands for the timestep where a picture is passed once


@dataclass(frozen=True, kw_only=True)
class SAeUron(ErasureMethod):
    """Deactivation of a concept's features where pictures pass, step by step. Returns an `ActivationEdit`.

    `sae` is a folder or the name of a shipped SAE at a picture site; the edit carries a copy of its tensors. A table
    of the features' means is made first, from a picture of every prompt of the concepts and of what they retain.
    With several SAEs each is fitted by itself on the unedited model, and a `ComposedEdit` deactivates in all blocks:
    our extension, for concepts that no single block carries.
    How strong γ is depends on the size of the SAE's activations, through μ, and how many features τ chooses on the
    number of latents: both are to be chosen for each SAE, on pictures that no figure is made of.
    """

    sae: Annotated[
        str | tuple[str, ...],
        Opens(sae_files),
        Doc(
            "A shipped SAE or a folder, at a picture site, or several; the paper's: unet.up.1.1 for objects,"
            " unet.up.1.2 for styles, 20480 latents each, k 32."
        ),
    ] = "toy/unet.up.0.0"
    percentile: Annotated[
        float, Ge(0), Lt(100), Doc("τ; of 20480 features the paper's 99.999, 99.995 and 99.99 choose 1, 2 and 3.")
    ] = 99.999
    multiplier: Annotated[
        float, Doc("γ, in units of the SAE's activations; the paper's −1 for styles, and −1 … −30 for objects.")
    ] = -1.0
    rows: Annotated[
        Literal["both", "cond"], Doc('"cond": the unconditional half of guidance stays, as in some ports.')
    ] = "both"
    steps: Annotated[
        int | None, Ge(1), Doc("Denoising steps of the pictures for the table; None: the model's own.")
    ] = None

    name: ClassVar[str] = "saeuron"
    paper: ClassVar[Reference] = Reference(
        title="SAeUron: Interpretable Concept Unlearning in Diffusion Models with Sparse Autoencoders",
        authors="B. Cywiński, K. Deja",
        year=2025,
        arxiv="2501.18052",
        venue="ICML",
    )
    family: ClassVar[str] = "deactivation"
    supports: ClassVar[Supports] = Supports({PICTURE_SITES}, needs=("retain|captions",))
    cost: ClassVar[str] = "an image of every prompt of the concept and of what it retains; needs an SAE"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sae:
            raise WorkbenchError("SAeUron has no SAE.", "Name one, at a picture site.")

    def fit(
        self, model: Model, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> ActivationEdit | ComposedEdit:
        """Finds F, μ and m.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once.
            seed: Draws the seeds of the pictures, which are the same for each concept.
            progress: Told of each group of prompts.

        Returns:
            An edit of the SAE's site, with a copy of the SAE's tensors and a table for each timestep; of several SAEs
            their edits as one. Warns if a site carries next to nothing of the first concept.

        Raises:
            WorkbenchError: For an SAE that fits no picture site of the model, steps where there are none, and if no
                feature is more the concepts' than the others'.
        """
        self.supports.check("SAeUron", model, concepts)
        if self.steps is not None and AUTOREGRESSIVE in model.capabilities:
            raise WorkbenchError(f"{model.name} writes pictures without denoising steps.", "Leave the steps out.")
        names = (self.sae,) if isinstance(self.sae, str) else self.sae
        parts = []
        for name in names:
            site_of(open_sae(name), model, "image")  # refused before any picture is made
        for name in names:
            parts.append(replace(self, sae=name)._fit_one(name, model, concepts, seed, progress))
        return parts[0] if len(parts) == 1 else ComposedEdit(parts)

    def _fit_one(
        self, name: str, model: Model, concepts: Sequence[Concept], seed: int, progress: Progress
    ) -> ActivationEdit:
        sae = open_sae(name)
        site, dictionary = site_of(sae, model, "image"), dictionary_on(sae, model)
        sampling = self._sampling(model)
        groups = prompt_groups(concepts)
        seeds = drawn_seeds(max(map(len, groups.values())), seed)
        warn_if_idle(model, site, concepts[0].prompts(), seeds, method="SAeUron", **sampling)
        tables = {
            group: activation_table(model, site, dictionary, prompts, seeds[: len(prompts)], **sampling)
            for group, prompts in progress(groups.items(), "feature means")
        }
        found = locate(tables, [concept.name for concept in concepts], self.percentile)
        about = {**sampling, **({"scheduler": type(model.pipe.scheduler).__name__} if sampling else {})}
        return ActivationEdit(
            site=site.alias, width=site.channels, program=f"{__name__}:PROGRAM",
            tensors={name: tensor.cpu() for name, tensor in {**dictionary.tensors, **found._asdict()}.items()},
            **self.told(model, concepts, seed, {**about, **dictionary.settings}),
        )  # fmt: skip

    def _sampling(self, model: Model) -> dict[str, int]:
        if AUTOREGRESSIVE in model.capabilities:
            return {}
        return {"steps": model.defaults.steps if self.steps is None else self.steps}


class ActivationTable(NamedTuple):
    """`mean[p, t, i]`: the mean of feature i over the positions of prompt p's picture at `timesteps[t]`, descending.

    A picture that is passed once has one, `ONCE`.
    `density` is the share of all positions on which each feature fires.
    """

    timesteps: Float[Tensor, " steps"]
    mean: Float[Tensor, "prompts steps d_sae"]
    density: Float[Tensor, " d_sae"]


class Found(NamedTuple):
    """What an edit holds beside the dictionary; a column a feature of `features`, which is sorted."""

    timesteps: Float[Tensor, " steps"]
    features: Int64[Tensor, " found"]
    active: Bool[Tensor, "steps found"]  # (2)
    mu: Float[Tensor, "steps found"]  # of the concept; the largest where several concepts share a feature
    gate: Float[Tensor, "steps found"]  # m
    density: Float[Tensor, " d_sae"]


def prompt_groups(concepts: Sequence[Concept]) -> dict[str, tuple[str, ...]]:
    """The prompts of each concept, of each word that one retains and none erases, and of all captions together."""
    erased = [word for concept in concepts for word in concept.words()]
    groups = {concept.name: concept.prompts() for concept in concepts}
    for concept in concepts:
        alone = replace(concept, anchor="", synonyms=(), captions=())
        for word in concept.retain:
            if word.casefold() not in {each.casefold() for each in erased}:
                groups.setdefault(word, replace(alone, name=word, retain=()).prompts())
    captions = tuple(dict.fromkeys(text for concept in concepts for text in concept.kept_captions(erased)))
    groups |= {"captions": captions} if captions else {}
    if len(groups) < 2:
        raise WorkbenchError("All that the concept retains is erased as well.", "Retain something that is not erased.")
    return groups


def activation_table(
    model: Model, site: Site, dictionary: Dictionary, prompts: Sequence[str], seeds: Sequence[int], **sampling: Any
) -> ActivationTable:
    """Makes a picture of every prompt, each with its seed, and averages its code.

    Where a solver calls the denoiser twice at one timestep, the mean of the calls counts.
    """
    sums: dict[tuple[float, int], Tensor] = {}  # by timestep and first prompt of a batch
    calls: Counter[tuple[float, int]] = Counter()
    fired, positions = torch.zeros(dictionary.d_sae), 0

    def take(reading: Reading) -> None:
        nonlocal positions
        if not (reading.places == Place.PICTURE).all():  # the call of a Janus that reads the prompt
            return
        key = (ONCE if reading.timestep is None else reading.timestep, reading.prompts.start)
        code = dictionary.encode(reading.x)
        dense = code.values.new_zeros(len(code.values), dictionary.d_sae)
        dense.scatter_add_(1, code.indices.flatten(1), code.values.flatten(1))
        sums[key] = sums.get(key, 0) + dense.cpu() / code.values.shape[1]
        calls[key] += 1
        fired.add_(torch.bincount(code.indices[code.values > 0], minlength=dictionary.d_sae).cpu())
        positions += code.values[..., 0].numel()

    read(model, [site], prompts, take, seeds=seeds, **sampling)
    timesteps = sorted({timestep for timestep, _ in sums}, reverse=True)
    starts = sorted({start for _, start in sums})
    rows = [torch.cat([sums[timestep, start] / calls[timestep, start] for start in starts]) for timestep in timesteps]
    return ActivationTable(torch.tensor(timesteps), torch.stack(rows, dim=1), fired / positions)


def locate(tables: Mapping[str, ActivationTable], targets: Sequence[str], percentile: float) -> Found:
    """(1), (2) and m for each of the concepts `targets` against all other tables, joined over the targets.

    Raises `WorkbenchError` if nothing is found.
    """
    mu = {name: table.mean.mean(dim=0) for name, table in tables.items()}
    chosen = {target: above(scores_of(tables, target), percentile) for target in targets}
    anywhere = torch.stack(list(chosen.values())).any(dim=0)
    features = anywhere.any(dim=0).nonzero().flatten()
    if not len(features):
        raise WorkbenchError(
            "No feature is more active for the concept than for what it retains.",
            "Lower the percentile, or use an SAE that tells them apart.",
        )
    strongest = torch.stack([mu[target] * chosen[target] for target in targets]).amax(dim=0)
    return Found(
        timesteps=next(iter(tables.values())).timesteps,
        features=features,
        active=anywhere[:, features],
        mu=strongest[:, features],
        gate=torch.stack(list(mu.values())).mean(dim=0)[:, features],
        density=torch.stack([table.density for table in tables.values()]).mean(dim=0),
    )


def scores_of(tables: Mapping[str, ActivationTable], target: str) -> Float[Tensor, "steps d_sae"]:
    """(1) of a concept against all others, whose prompts count alike, whichever concept they are of."""
    others = torch.cat([table.mean for name, table in tables.items() if name != target])
    return importance(tables[target].mean.mean(dim=0), others.mean(dim=0))


def importance(
    concept: Float[Tensor, "steps d_sae"], others: Float[Tensor, "steps d_sae"]
) -> Float[Tensor, "steps d_sae"]:
    """How much more of all activity a feature is for the concept than for the others, at each step."""
    return concept / (concept.sum(dim=1, keepdim=True) + EPSILON) - others / (
        others.sum(dim=1, keepdim=True) + EPSILON
    )  # (1)


def above(scores: Float[Tensor, "steps d_sae"], percentile: float) -> Bool[Tensor, "steps d_sae"]:
    """Marks the scores above the percentile of their step, interpolated between features; ties at the top mark none."""
    return scores > scores.double().quantile(percentile / 100, dim=1, keepdim=True)  # (2)


def deactivation(x: Activation, clock: Clock, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Activation:
    """(3) and (4) with the tables of the timestep nearest to the call's, on the rows that the settings name."""
    rows = clock.mask("cond") if settings["rows"] == "cond" else torch.ones_like(clock.mask("cond"))
    step = int((tensors["timesteps"] - (ONCE if clock.timestep is None else clock.timestep)).abs().argmin())
    active, cells = tensors["active"][step], places(clock, x.shape[1], Frame())[rows] == Place.PICTURE
    if not cells.any() or not active.any():
        return x
    dictionary = Dictionary.from_tensors(tensors, settings)
    chosen = x[rows].to(dictionary.W_dec.dtype)
    change = code_change(
        dictionary.encode(chosen),
        tensors.get("gate_features", tensors["features"])[active],  # a control moves other features than it looks at
        settings["multiplier"] * tensors["mu"][step, active],
        tensors["gate"][step, active],
    )
    changed, change = x.clone(), change * cells[..., None]
    changed[rows] = (chosen + change @ dictionary.W_dec[tensors["features"][active]]).to(x.dtype)  # (4)
    return changed


def code_change(
    code: Code,
    features: Int64[Tensor, " found"],
    multiples: Float[Tensor, " found"],
    gate: Float[Tensor, " found"],
) -> Float[Tensor, "*rows found"]:
    """z′ − z of the features, from their multiples γμ and their gates m."""
    z = torch.stack([(code.values * (code.indices == feature)).sum(dim=-1) for feature in features], dim=-1)
    return torch.where(z > gate, (multiples - 1) * z, 0)  # (3)


PROGRAM = ActivationProgram(
    deactivation,
    tensors=(*DICTIONARY, "timesteps", "features", "active", "mu", "gate"),
    settings=(*OF_DICTIONARY, "rows", "multiplier"),
)
