"""What an edit changes inside a model: activations by layer and step, features that die and are born, attention moved.

Both models see the same latents at every call, those of the unedited trajectory (`hooks.replaying`), so that what
differs is what the edit does there, and not that the two pictures have parted since.
    (1)  change at a site and step = ‖x′ − x‖ / ‖x‖        x, x′ a picture's conditional row, without the begin token
    (2)  a feature died if it fired before and never after; it was born if it fires after and never did before
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_origin, dictionary_on, open_sae, site_of
from workbench.activations.reading import Reading, evenly, read_batch
from workbench.hooks import AttentionRecorder, AttentionSite, Clock, Site
from workbench.hooks.replaying import replayed, taped
from workbench.models import Diffusion
from workbench.models.encoding import token_row
from workbench.models.model import Change
from workbench.models.requests import Request, pair
from workbench.models.word_places import written_out

Activations = dict[tuple[str, int], tuple[float, Tensor]]  # (site, step) → timestep, [rows, places, d]
PARTS = {"attn", "attn1", "attn2", "mlp", "heads"}  # what a layer consists of; all other sites are whole layers
ROUNDING = 1e-4  # relative change that another number of rows in a call may make
POSITIONS = 144  # of larger pictures, so many places are looked at, evenly spread
MEMORY = 2**29  # bytes of activations of the unedited model that are kept at a time
MOST_ROWS = 16
START, END, PADDING = "⟨start⟩", "⟨end⟩", "⟨padding⟩"


class Inside(NamedTuple):
    """Before and after, as tables; means over pictures.

    `change`: site, step (call of its component, from 0), timestep (NaN at text sites), relative (1), low, high (95 % by
    the normal approximation over pictures), n. `features`: site, feature, before, after (mean activation over the
    tokens of prompts but the begin token and padding, or over places and steps), fires_before, fires_after (share of
    them on which it fires); features that never fire are left out. `attention`: site, prompt, position, token, before,
    after (share of the picture's attention, mean over places and steps; padding is one row).
    """

    change: pd.DataFrame
    features: pd.DataFrame
    attention: pd.DataFrame

    @property
    def died(self) -> pd.DataFrame:
        """The rows of features that fire only before, the strongest first. (2)"""
        gone = self.features[(self.features["fires_before"] > 0) & (self.features["fires_after"] == 0)]
        return gone.sort_values("before", ascending=False, kind="stable")

    @property
    def born(self) -> pd.DataFrame:
        """The rows of features that fire only after, the strongest first. (2)"""
        new = self.features[(self.features["fires_before"] == 0) & (self.features["fires_after"] > 0)]
        return new.sort_values("after", ascending=False, kind="stable")


@torch.no_grad()
def inside(
    model: Diffusion,
    edit: Change,
    prompts: str | Sequence[str],
    seeds: int | Sequence[int],
    *,
    sites: Sequence[str] | None = None,
    saes: Sequence[SAE | str | Path] = (),
    progress: Progress = SILENT,
    **sampling: Any,
) -> Inside:
    """Compares the model with and without the edit, picture by picture, at equal latents in every step.

    `edit` is of any kind. `sites` are those whose change is measured, by default every whole layer of the text encoders
    and the picture side. `saes` (folders, shipped names or loaded ones, one a site) say whose features are followed.
    `sampling` is further arguments of `model.generate`. An edit that does nothing gives exactly 0 everywhere. Raises
    `WorkbenchError` for unknown sites, SAEs of another model, and two SAEs at one site.
    """
    requests, followed = pair(prompts, seeds), _followed(model, saes)
    measured = [model.site(alias) for alias in (whole_layers(model) if sites is None else sites)]
    rows = _rows_at_once(measured, sampling.get("steps") or model.defaults.steps)
    network = model.module(model.architecture.image_side.path)
    changes, fired, attention = [], [], []
    for start in progress(range(0, len(requests), rows), "inside"):
        batch = requests[start : start + rows]
        before, after = (_Look(model, measured, followed) for _ in range(2))
        with taped(network) as tape:
            before.at(batch, sampling)
        with model.edited(edit), replayed(network, tape):
            after.at(batch, sampling)
        changes += _changes(before.activations, after.activations)
        fired.append((before.fired, after.fired))
        attention += _attention(model, batch, before.attention, after.attention)
    return Inside(_change_table(changes), _feature_table(fired), _attention_table(attention))


def untouched(change: pd.DataFrame) -> str:
    """A sentence where an edit changes nothing inside the network, "" where it does; takes `Inside.change`.

    Edits of guidance are such: they may change what comes out of the network, which is the site `….out`, and no more.
    """
    out = change["site"].str.endswith(".out")
    within, handed_over = change.loc[~out, "relative"], change.loc[out, "relative"]
    if (within > ROUNDING).any():
        return ""
    said = "Nothing inside the network changes at equal latents"
    if (handed_over > ROUNDING).any():
        return f"{said}, only what it hands over to guidance: by {handed_over.mean():.0%}, mean over steps."
    return f"{said} in the rows of the prompt. A negative prompt, for one, acts in the other rows."


def whole_layers(model: Diffusion) -> list[str]:
    """The sites that are no part of a layer: what each layer or block hands on as a whole."""
    return [alias for alias in model.sites() if not PARTS & set(alias.split("."))]


class _Followed(NamedTuple):
    """An SAE at its site."""

    site: Site
    dictionary: Dictionary


@dataclass(eq=False)
class _Fired:
    """Sums over places, by feature."""

    values: Float[Tensor, " d_sae"]
    fires: Float[Tensor, " d_sae"]
    places: int = 0


class _Look:
    """One run of some pictures, and what is seen of it: conditional rows only."""

    def __init__(self, model: Diffusion, measured: Sequence[Site], followed: Mapping[str, _Followed]) -> None:
        self.activations: Activations = {}
        self.fired = {alias: _Fired(*torch.zeros(2, sae.dictionary.d_sae)) for alias, sae in followed.items()}
        self.attention: dict[str, Float[Tensor, "rows tokens"]] = {}
        self._calls: dict[str, int] = {}
        self._model = model
        self._measured = {site.alias for site in measured}
        self._followed = followed
        self._sites = list(
            {site.alias: site for site in (*measured, *(sae.site for sae in followed.values()))}.values()
        )

    def at(self, requests: Sequence[Request], sampling: Mapping[str, Any]) -> None:
        """Makes the pictures."""
        model, (prompts, seeds) = self._model, zip(*requests, strict=True)
        with AttentionRecorder(model, list(model.attention_sites().values()), self._attend, role="cond"):
            read_batch(model, self._sites, prompts, self._take, seeds=seeds, pictures=True, **sampling)
        self.attention = {alias: (seen / self._calls[alias]).cpu() for alias, seen in self.attention.items()}

    def _take(self, reading: Reading) -> None:
        if reading.site.alias in self._followed:
            self._encode(reading.site.alias, reading.x[reading.content])
        if reading.site.alias in self._measured:
            seen = reading.without_begin().thinned(evenly(POSITIONS))
            time = math.nan if seen.timestep is None else seen.timestep
            self.activations[seen.site.alias, seen.call] = time, seen.x

    def _encode(self, alias: str, chosen: Float[Tensor, "places d"]) -> None:
        code, sums = self._followed[alias].dictionary.encode(chosen), self.fired[alias]
        where, values = code.indices.flatten().cpu(), code.values.flatten().cpu()
        sums.values.index_add_(0, where, values)
        sums.fires.index_add_(0, where, (values > 0).float())
        sums.places += len(chosen)

    def _attend(self, site: AttentionSite, seen: Float[Tensor, "rows pixels tokens"], clock: Clock) -> None:
        self.attention[site.alias] = self.attention.get(site.alias, 0.0) + seen.mean(dim=1)
        self._calls[site.alias] = self._calls.get(site.alias, 0) + 1


def _followed(model: Diffusion, saes: Sequence[SAE | str | Path]) -> dict[str, _Followed]:
    found: dict[str, _Followed] = {}
    for sae in map(open_sae, saes):
        check_origin(sae, model)
        site = site_of(sae, model)
        if site.alias in found:
            raise WorkbenchError(f"Two SAEs are at {site.alias}.", "Look inside once with each of them.")
        found[site.alias] = _Followed(site, dictionary_on(sae, model))
    return found


def _rows_at_once(sites: Sequence[Site], steps: int) -> int:
    """How many pictures fit into `MEMORY`, at least one."""
    numbers = sum(min(site.positions, POSITIONS) * site.channels for site in sites) * steps
    return min(MOST_ROWS, max(1, MEMORY // (2 * 4 * numbers))) if numbers else MOST_ROWS


def _changes(before: Activations, after: Activations) -> list[tuple[str, int, float, float]]:
    """Site, step, timestep and (1) of each picture."""
    rows = []
    for (alias, step), (timestep, x) in before.items():
        new = after[alias, step][1]
        change = (new - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)  # (1)
        rows += [(alias, step, timestep, value) for value in change.tolist()]
    return rows


def _change_table(changes: list[tuple[str, int, float, float]]) -> pd.DataFrame:
    table = pd.DataFrame(changes, columns=["site", "step", "timestep", "relative"])
    grouped = table.groupby(["site", "step", "timestep"], sort=False, dropna=False)["relative"]
    found = grouped.agg(relative="mean", spread="std", n="size").reset_index()
    reach = 1.96 * found.pop("spread").fillna(0.0) / found["n"] ** 0.5
    return found.assign(low=(found["relative"] - reach).clip(lower=0.0), high=found["relative"] + reach)


def _feature_table(fired: Sequence[tuple[dict[str, _Fired], dict[str, _Fired]]]) -> pd.DataFrame:
    rows: list[pd.DataFrame] = []
    for alias in fired[0][0]:
        columns = {}
        for name, sums in zip(("before", "after"), zip(*fired, strict=True), strict=True):
            places = sum(each[alias].places for each in sums)
            columns[name] = sum(each[alias].values for each in sums) / places
            columns[f"fires_{name}"] = sum(each[alias].fires for each in sums) / places
        table = pd.DataFrame({name: column.numpy() for name, column in columns.items()})
        table.insert(0, "feature", range(len(table)))
        table.insert(0, "site", alias)
        rows.append(table[(table["fires_before"] > 0) | (table["fires_after"] > 0)])
    empty = pd.DataFrame(columns=["site", "feature", "before", "fires_before", "after", "fires_after"])
    return pd.concat(rows, ignore_index=True) if rows else empty


def _attention(
    model: Diffusion, requests: Sequence[Request], before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> list[pd.DataFrame]:
    """A table a picture and site; padding is one row, at the first position beyond the encoding."""
    tables = []
    for row, asked in enumerate(requests):
        for alias, shares in before.items():
            tokens = token_labels(model, asked.prompt)
            table = pd.DataFrame(
                {"site": alias, "prompt": asked.prompt, "position": range(len(tokens)), "token": tokens}
            )
            table["before"], table["after"] = shares[row].tolist(), after[alias][row].tolist()
            table.loc[table["token"] == PADDING, "position"] = len(tokens)
            tables.append(table.groupby(list(table.columns[:4]), sort=False, as_index=False).sum())
    return tables


def _attention_table(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    joined = pd.concat(tables)
    return joined.groupby(["site", "prompt", "position", "token"], sort=False, as_index=False).mean()


def token_labels(model: Diffusion, prompt: str) -> list[str]:
    """What stands at each position of the encoded prompt, as a reader sees it."""
    labels: list[str] = []
    for segment in model.architecture.segments():
        row = token_row(segment.tokenizer, written_out(model.pipe, segment.tokenizer, prompt))
        special = {segment.tokenizer.eos_token_id: END} | {segment.tokenizer.bos_token_id: START}
        words = [special.get(token, word) for token, word in zip(row.ids, row.words, strict=True)]
        labels += [*words, *[PADDING] * (segment.length - len(words))]
    return labels
