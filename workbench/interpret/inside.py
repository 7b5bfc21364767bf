"""What an edit changes inside a model: activations by layer and step, features that die and are born, attention moved.

Both models see the same latents at every call, those of the unedited trajectory (`hooks.replaying`), so that what
differs is what the edit does there, and not that the two pictures have parted since. A Janus reads in both cases the
tokens that the unedited model drew, in one pass, and instead of steps there are parts of what it reads: words, chat
template, begin-of-image token, and rows of the picture (`activations.positions.Part`).
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
from workbench.activations.reading import Reading, evenly, read_batch, watched
from workbench.hooks import AttentionRecorder, AttentionSite, Clock, Site
from workbench.hooks.replaying import replayed, taped
from workbench.models import Janus, Model
from workbench.models.diffusion.model import as_diffusion
from workbench.models.encoding import token_row
from workbench.models.janus.lines import Codes
from workbench.models.model import Change
from workbench.models.requests import Request, pair
from workbench.models.word_places import written_out
from workbench.settings import settled

Activations = dict[tuple[str, int], Reading]  # by site and call
PARTS = {"attn", "attn1", "attn2", "mlp", "heads"}  # what a layer consists of; all other sites are whole layers
ROUNDING = 1e-4  # relative change that another number of rows in a call may make
POSITIONS = 144  # of larger pictures, so many places are looked at, evenly spread
MEMORY = 2**29  # bytes of activations of the unedited model that are kept at a time
MOST_ROWS = 16
START, END, PADDING, PICTURE = "⟨start⟩", "⟨end⟩", "⟨padding⟩", "⟨picture⟩"


class Inside(NamedTuple):
    """Before and after, as tables; means over pictures.

    `change`: site, part ("prompt" or "picture"; of a Janus "text", "template", "begin of image" or "picture"), step
    (call of its component, from 0; of a Janus the row of the picture), timestep (NaN but in denoising), relative (1),
    low, high (95 % by the normal approximation over pictures), n. `features`: site, feature, before, after (mean
    activation over the tokens of prompts but the begin token and padding, or over places and steps), fires_before,
    fires_after (share of them on which it fires); features that never fire are left out. `attention`: site, prompt,
    position, token, before, after (share of the picture's attention, mean over places and steps; padding is one row,
    and so are the cells that a Janus has written before).
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
    model: Model,
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

    `model` is a diffusion model or a Janus. `edit` is of any kind. `sites` are those whose change is measured, by
    default every whole layer of the text encoders and the picture side. `saes` (folders, shipped names or loaded ones,
    one a site) say whose features are followed.
    `sampling` is further arguments of `model.generate`. An edit that does nothing gives exactly 0 everywhere. Raises
    `WorkbenchError` for unknown sites, SAEs of another model, two SAEs at one site, and a model of another kind.
    """
    requests, followed = pair(prompts, seeds), _followed(model, saes)
    measured = [model.site(alias) for alias in (whole_layers(model) if sites is None else sites)]
    settings = settled(model.settings, sampling)
    rows = _rows_at_once(measured, settings.get("steps", 1))
    changes, fired, attention = [], [], []
    for start in progress(range(0, len(requests), rows), "inside"):
        batch = requests[start : start + rows]
        before, after = (_Look(model, measured, followed) for _ in range(2))
        if isinstance(model, Janus):
            codes = model.sample_codes(*map(list, zip(*batch, strict=True)), batch_size=len(batch), **settings)
            before.reading(batch, codes)
            with model.edited(edit):
                after.reading(batch, codes)
        else:
            network = as_diffusion(model, "Looking inside an edit").module(model.architecture.image_side.path)
            with taped(network) as tape:
                before.drawing(batch, settings)
            with model.edited(edit), replayed(network, tape):
                after.drawing(batch, settings)
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
    said = "Nothing inside the network changes at equal latents or tokens"
    if (handed_over > ROUNDING).any():
        return f"{said}, only what it hands over to guidance: by {handed_over.mean():.0%}, mean over steps."
    return f"{said} in the rows of the prompt. A negative prompt, for one, acts in the other rows."


def whole_layers(model: Model) -> list[str]:
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

    def __init__(self, model: Model, measured: Sequence[Site], followed: Mapping[str, _Followed]) -> None:
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

    def drawing(self, requests: Sequence[Request], sampling: Mapping[str, Any]) -> None:
        """Makes the pictures, of a diffusion model."""
        model, (prompts, seeds) = self._model, zip(*requests, strict=True)
        with AttentionRecorder(model, list(model.attention_sites().values()), self._attend, role="cond"):
            read_batch(model, self._sites, prompts, self._take, seeds=seeds, pictures=True, **sampling)
        self.attention = {alias: (seen / self._calls[alias]).cpu() for alias, seen in self.attention.items()}

    def reading(self, requests: Sequence[Request], codes: Codes) -> None:
        """Reads the tokens of pictures behind their prompts, with a Janus."""
        assert isinstance(self._model, Janus)
        attention = list(self._model.attention_sites().values())

        def attend(site: AttentionSite, seen: Tensor, clock: Clock) -> None:
            predicting = seen[:, -codes.shape[1] :].mean(dim=1)
            text = seen.shape[-1] - codes.shape[1] + 1  # the last token is never read
            self.attention[site.alias] = torch.cat(
                [predicting[:, :text], predicting[:, text:].sum(dim=1, keepdim=True)], dim=1
            ).cpu()

        with (
            AttentionRecorder(self._model, attention, attend, role="cond"),
            watched(self._model, self._sites, self._take, range(len(requests))),
        ):
            self._model.logits(codes, [one.prompt for one in requests])

    def _take(self, reading: Reading) -> None:
        if reading.site.alias in self._followed:
            self._encode(reading.site.alias, reading.x[reading.content])
        if reading.site.alias in self._measured:
            if not isinstance(self._model, Janus):
                reading = reading.without_begin().thinned(evenly(POSITIONS))
            self.activations[reading.site.alias, reading.call] = reading

    def _encode(self, alias: str, chosen: Float[Tensor, "places d"]) -> None:
        code, sums = self._followed[alias].dictionary.encode(chosen), self.fired[alias]
        where, values = code.indices.flatten().cpu(), code.values.flatten().cpu()
        sums.values.index_add_(0, where, values)
        sums.fires.index_add_(0, where, (values > 0).float())
        sums.places += len(chosen)

    def _attend(self, site: AttentionSite, seen: Float[Tensor, "rows pixels tokens"], clock: Clock) -> None:
        self.attention[site.alias] = self.attention.get(site.alias, 0.0) + seen.mean(dim=1)
        self._calls[site.alias] = self._calls.get(site.alias, 0) + 1


def _followed(model: Model, saes: Sequence[SAE | str | Path]) -> dict[str, _Followed]:
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


def _changes(before: Activations, after: Activations) -> list[tuple[str, str, int, float, float]]:
    """Site, part, step, timestep and (1) of each picture."""
    rows = []
    for key, reading in before.items():
        timestep = math.nan if reading.timestep is None else reading.timestep
        found = reading.parts
        for part, mask in found.items():
            own = mask[..., None] if len(found) > 1 else torch.ones_like(mask[..., None])  # padding too: it is read
            x, new = reading.x * own, after[key].x * own
            change = (new - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)  # (1)
            rows += [(key[0], *part, timestep, value) for value in change.tolist()]
    return rows


def _change_table(changes: list[tuple[str, str, int, float, float]]) -> pd.DataFrame:
    keys = ["site", "part", "step", "timestep"]
    table = pd.DataFrame(changes, columns=[*keys, "relative"])
    grouped = table.groupby(keys, sort=False, dropna=False)["relative"]
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
    model: Model, requests: Sequence[Request], before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> list[pd.DataFrame]:
    """A table a picture and site; padding is one row, at the first position beyond the encoding."""
    tables = []
    for row, asked in enumerate(requests):
        for alias, shares in before.items():
            tokens = token_labels(model, asked.prompt)
            table = pd.DataFrame(
                {"site": alias, "prompt": asked.prompt, "position": range(len(tokens)), "token": tokens}
            )  # shorter prompts of a Janus are padded on the left, where nothing attends
            own = slice(shares.shape[1] - len(tokens), None)
            table["before"], table["after"] = shares[row, own].tolist(), after[alias][row, own].tolist()
            table.loc[table["token"] == PADDING, "position"] = len(tokens)
            tables.append(table.groupby(list(table.columns[:4]), sort=False, as_index=False).sum())
    return tables


def _attention_table(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    joined = pd.concat(tables)
    return joined.groupby(["site", "prompt", "position", "token"], sort=False, as_index=False).mean()


def token_labels(model: Model, prompt: str) -> list[str]:
    """What stands at each position of the encoded prompt, as a reader sees it; of a Janus, then the picture as one."""
    if isinstance(model, Janus):
        return [START, *model.tokens(prompt)[0].words[1:], PICTURE]
    labels: list[str] = []
    for segment in model.architecture.segments():
        row = token_row(segment.tokenizer, written_out(model.pipe, segment.tokenizer, prompt))
        special = {segment.tokenizer.eos_token_id: END} | {segment.tokenizer.bos_token_id: START}
        words = [special.get(token, word) for token, word in zip(row.ids, row.words, strict=True)]
        labels += [*words, *[PADDING] * (segment.length - len(words))]
    return labels
