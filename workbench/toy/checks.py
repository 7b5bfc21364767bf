"""SAEBench's checks on the toy, where every caption's factors are known, each beside random weights.

A row is a prompt: the mean of its rows at the site (`saes.pooling`). A factor is what the caption asks for, whatever
word it uses. A quarter of the prompts is held out of every probe.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probes.absorption import absorption
from probes.naming import judgeable
from probes.perturbation import Coded, scr, tpp
from probes.sparse_probing import DENSE, KS, enough, sparse_probing
from saes.config import SAEConfig
from saes.controls import random_weights
from saes.disk import replacing
from saes.errors import WorkbenchError
from saes.files import SAE, load
from saes.pooling import prompt_means
from saes.progress import SILENT, Progress
from saes.stability import matched, random_directions
from saes.store import ActivationStore
from saes.sweep import log_density
from workbench.toy.captions import Example
from workbench.toy.captions import examples as draw
from workbench.toy.world import ARTISTS, CHARACTERS, COLOURS, THINGS

Factors = dict[str, Bool[Tensor, " prompts"]]
TRAINED, RANDOM, NEURONS = "trained", "random weights", "neurons"
N_PERTURBED, N_REMOVED = 10, 20  # latents taken out: a factor has three words or fewer, a contrast of objects twelve
CHECKS = "checks.parquet"
OBJECTS = ("cat or fox", "car or truck", "fish or whale", "church or house")  # each is told from the next
HUES = (("red", "pink"), ("blue", "purple"), ("yellow", "green"))


def factors(examples: Sequence[Example]) -> Factors:
    """What each caption asks for: every object (by any of its words), artist, character and named colour; the slime.

    What only the scene shows does not count: "a painting by mira voss" leaves its object open.

    Args:
        examples: Captions with their scenes.

    Returns:
        Whether each caption asks for it, `[captions]`, by name.
    """
    scenes, words = [example.scene for example in examples], [example.caption.split() for example in examples]
    names = {thing.name: {thing.name, *thing.synonyms} for thing in THINGS.values()}
    found = {thing: [not synonyms.isdisjoint(said) for said in words] for thing, synonyms in names.items()}
    found |= {artist: [scene.artist == artist for scene in scenes] for artist in ARTISTS}
    found |= {who: [scene.character == who for scene in scenes] for who in CHARACTERS}
    found |= {colour: [colour in said for said in words] for colour in COLOURS}
    found |= {"slime": [scene.slime for scene in scenes]}
    return {name: torch.tensor(values) for name, values in found.items()}


def captioned_factors(n: int, seed: int = 0) -> tuple[list[str], pd.DataFrame]:
    """Captions with their factors, as `name_sae` takes them.

    Args:
        n: How many captions.
        seed: Draws others.

    Returns:
        The captions, and a row for each with a column a factor. Factors too rare to be chosen on one half of the
        captions and judged on the other are left out.
    """
    drawn = draw(n, seed)
    captions = [each.caption for each in drawn]
    table = pd.DataFrame({name: values.numpy() for name, values in factors(drawn).items()})
    return captions, judgeable(table, captions, seed)


def relatives(known: Factors) -> Factors:
    """Each object or its relative, such as cat or fox: a concept that the words of two objects share.

    Args:
        known: `factors` with all objects.

    Returns:
        Factors by name, such as "cat or fox".
    """
    return either(known, sorted({tuple(sorted((thing.name, thing.relative))) for thing in THINGS.values()}))


def either(known: Factors, groups: Iterable[tuple[str, ...]]) -> Factors:
    """Factors that hold where one of a group does.

    Args:
        known: `factors`.
        groups: Names of some of them.

    Returns:
        Factors by name, such as "red or pink".
    """
    return {" or ".join(group): torch.stack([known[each] for each in group]).any(0) for group in groups}


def check_all(
    store: ActivationStore,
    table: pd.DataFrame,
    saes_dir: Path,
    examples: Sequence[Example],
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """The checks of every SAE of a sweep, beside random weights.

    Args:
        store: The sweep's; its prompts are the captions of `examples`.
        table: The sweep's.
        saes_dir: Where the SAEs are; the checks are written there too, as `checks.parquet`.
        examples: Captions with their scenes, a thousand or more.
        seed: Draws the quarter of the prompts that is held out, and the random weights.
        progress: Shows the SAEs.

    Returns:
        A row an SAE and weights ("trained", "random weights"): accuracy_k for k = 1, 2, 5 beside neurons_k and `dense`
        (all neurons), means over factors; `absorbed`, the mean rate over concepts, and `latents`, how many the mean
        concept is split into; `tpp` with 10 and `scr` with 20 latents taken out; `stability`, the mean matched cosine
        with the SAEs that differ in nothing but their seed (NaN: there is none), for random weights with random
        directions.

    Raises:
        WorkbenchError: The store holds other prompts, or they are too few to probe for factors.
    """
    if store.prompts != [example.caption for example in examples]:
        raise WorkbenchError("The store holds other prompts than the captions.", "Harvest these captions.")
    held_out = torch.from_numpy(np.random.default_rng(seed).random(len(examples)) < 0.25)
    known = {name: y for name, y in factors(examples).items() if enough(y, held_out)}
    if not {*THINGS, *COLOURS} <= known.keys():
        raise WorkbenchError(f"{len(examples)} captions are too few to probe for factors.", "Draw a thousand or more.")
    rows, means = [], {site: prompt_means(store, site) for site in table["site"].unique()}
    for line in progress(list(table.itertuples()), "check"):
        sae = load(saes_dir / line.sae)
        for weights, one in ((TRAINED, sae), (RANDOM, random_weights(sae, seed))):
            coded = Coded(means[line.site], prompt_means(store, line.site, one), one.W_dec, held_out)
            rows.append({"sae": line.sae, "weights": weights, **check(coded, known)})
            rows[-1]["stability"] = _stability(table, line.sae, saes_dir, seed, weights == RANDOM)
    checks = pd.DataFrame(rows)
    with replacing(saes_dir / CHECKS) as temporary:
        checks.to_parquet(temporary, index=False)
    return checks


def check(coded: Coded, known: Factors) -> dict[str, float]:
    """All checks of one SAE but its stability.

    Args:
        coded: Means of the prompts' rows and of their codes.
        known: `factors` of the prompts.

    Returns:
        The columns of `check_all` by name.
    """
    probed = sparse_probing({"f": coded.f, NEURONS: coded.x}, known, coded.held_out, dense=[NEURONS])
    accuracy = probed.groupby(["input", "k"])["accuracy"].mean()
    concepts = known | relatives(known)
    taken = [absorption(coded.x, coded.f, coded.W_dec, y, coded.held_out) for y in concepts.values()]
    return {
        **{f"accuracy_{k}": accuracy["f", k] for k in KS},
        **{f"neurons_{k}": accuracy[NEURONS, k] for k in KS},
        "dense": accuracy[NEURONS, DENSE],
        "absorbed": float(np.nanmean([each.rate for each in taken])),
        "latents": float(np.mean([len(each.own) for each in taken])),
        "tpp": float(tpp(coded, known, [N_PERTURBED])["tpp"].iloc[0]),
        "scr": _removal(coded, relatives(known), either(known, HUES)),
    }


def _removal(coded: Coded, objects: Factors, hues: Factors) -> float:
    """Mean over correlations of an object with a hue, in both roles, that fool a probe; NaN if none does.

    Both are contrasts, one object (or hue) against another: the rest of the prompts and those that name both are left
    out. In the world's captions they are independent.
    """
    sides = [_contrasts([objects[name] for name in OBJECTS]), _contrasts(list(hues.values()))]
    shares = []
    for (y, y_told), (z, z_told) in product(*sides):
        rows = y_told & z_told
        some = Coded(coded.x[rows], coded.f[rows], coded.W_dec, coded.held_out[rows])
        for wanted, spurious in ((y, z), (z, y)):
            shares.append(float(scr(some, wanted[rows], spurious[rows], [N_REMOVED])["scr"].iloc[0]))
    told = [share for share in shares if not math.isnan(share)]
    return float(np.mean(told)) if told else math.nan


def _contrasts(options: list[Bool[Tensor, " n"]]) -> list[tuple[Bool[Tensor, " n"], Bool[Tensor, " n"]]]:
    """Each option against the next: where it is the first, and where it is exactly one of the two."""
    return [(one, one ^ other) for one, other in pairwise(options)]


def _stability(table: pd.DataFrame, name: str, saes_dir: Path, seed: int, random: bool) -> float:
    """The mean matched cosine with each SAE of another seed, or with as many random directions; latents that fire."""
    same = _siblings(table, name)
    if not same:
        return math.nan
    own = _alive(load(saes_dir / name), saes_dir / name)
    others = [_alive(load(saes_dir / other), saes_dir / other) for other in same]
    return float(np.mean([matched(own, random_directions(other, seed) if random else other).mean for other in others]))


def _siblings(table: pd.DataFrame, name: str) -> list[str]:
    """The SAEs of the same site and settings but for the seed."""
    settings = [column for column in ("site", *SAEConfig.model_fields) if column in table and column != "seed"]
    keys = table[settings].map(repr).agg("|".join, axis=1)
    (own,) = keys[table["sae"] == name]
    return [sae for sae in table["sae"][keys == own] if sae != name]


def _alive(sae: SAE, sae_dir: Path) -> Float[Tensor, "alive d"]:
    """Decoder rows of the latents that fire on held-out rows."""
    return sae.W_dec[log_density(sae_dir) > -10]
