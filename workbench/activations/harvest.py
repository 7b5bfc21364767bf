"""Activations of many prompts at several sites, in one pass, into a store.

Prompt sites give a row for every position of the padded prompt unless less is asked for: in Stable Diffusion the
padding carries meaning, but it is most of the rows (62 % on the toy, some 90 % at 77 tokens). Image sites give rows
from every call of a whole guided denoising; of the positions of each picture a share is drawn, seeded by prompt and
call, so that sites of one resolution share their pixels. Where prompt and picture are one sequence, one pass gives rows
of both: the label "place" tells them apart, and a share of the picture's tokens is drawn once for each picture.
Unconditional rows are left out everywhere.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from saes.errors import WorkbenchError, unknown_name
from saes.locks import working_in
from saes.manifest import Dtype, StoreSpec
from saes.progress import SILENT, Progress
from saes.store import ActivationStore
from saes.writing import SiteRows, StoreWriter, finished
from workbench.activations.positions import KEPT, marked, tokenizer_of
from workbench.activations.reading import Reading, Thinning, drawn, makes_pictures, read_batch
from workbench.hooks import Place, Site
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE, DENOISER
from workbench.processes import processes, shared_out
from workbench.settings import settled

TEXT_CHUNK, IMAGE_CHUNK = 64, 16  # prompts a pass, and what a kill can cost
RECIPES: dict[str, str] = {  # how a store says which positions of a prompt it has
    "all": "all positions", "prompt": "begin token, words and end token", "content": "words and end token",
}  # fmt: skip


def harvest(
    model: Model,
    prompts: Sequence[str],
    sites: Sequence[str],
    out_dir: Path | str,
    *,
    seed: int = 0,
    dtype: Dtype = "float16",
    pixel_rate: float = 0.1,
    positions: str = "all",
    progress: Progress = SILENT,
    **settings: Any,
) -> ActivationStore:
    """Fills the store `out_dir` with the activations of all sites.

    A finished store of the same request is opened without any work, an unfinished one goes on where it stopped.
    Under `accelerate launch` the processes share the prompts out; the store has the bits that one would give it.
    Inside `model.edited` the store is filed under the model and the edits.

    Args:
        model: The model.
        prompts: One or more.
        sites: Aliases, one or more. Pictures are made only if one lies on the picture's side.
        out_dir: Folder of the store.
        seed: Seed of the picture of prompt 0; that of prompt i is `seed + i`. Also draws the pixels.
        dtype: Of the stored rows.
        pixel_rate: Share of a picture's positions to keep, in (0, 1].
        positions: Of a prompt's positions, "all", those without padding ("prompt"), or the words and the end token
            ("content").
        progress: Shows the chunks.
        **settings: How pictures are sampled, such as `steps`: names of `model.settings`, which holds the defaults.

    Raises:
        WorkbenchError: There are no prompts, a site or a setting is unknown, the rate is no share, the folder holds a
            store of another request, or another process is working there.
    """
    if not 0 < pixel_rate <= 1:
        raise WorkbenchError(f"A pixel rate of {pixel_rate} is no share.", "Choose one above 0 and up to 1.")
    if positions not in KEPT:
        raise unknown_name("choice of positions", positions, KEPT)
    chosen = [model.site(alias) for alias in dict.fromkeys(sites)]
    sampling = settled(model.settings, settings)
    pictures = makes_pictures(chosen)
    identity = model.identity
    encoders = [part.path for part in model.architecture.components if part.kind == "prompt"]
    made_by = {name: value for name, value in identity.parts.items() if pictures or name in encoders}
    spec = StoreSpec(
        model=identity.origin,
        sites={site.alias: site_info(site, model) for site in chosen},
        prompts=tuple(prompts),
        chunk_prompts=IMAGE_CHUNK if pictures else TEXT_CHUNK,
        dtype=dtype,
        recipe={
            "rows": "conditional", "tokens": RECIPES[positions], "made by": made_by,
            **({"seed": seed, **sampling, "pixel_rate": pixel_rate} if pictures else {}),
        },
    )  # fmt: skip
    if (done := finished(out_dir, spec)) is not None:
        return done
    team, pixels = processes(), drawn(pixel_rate, seed)
    with working_in(out_dir, together=team.num_processes > 1):
        writer = StoreWriter(out_dir, spec)
        left = [chunk for chunk in shared_out(range(len(spec.chunks))) if chunk not in writer.done_chunks]
        for chunk in progress(left, "harvest"):
            numbers, collector = spec.chunks[chunk], Collector(spec, positions, pixels)
            read_batch(
                model, chosen, [spec.prompts[i] for i in numbers], collector.take, seeds=[seed + i for i in numbers],
                first=numbers.start, dtype=None, **(sampling if pictures else {}),
            )  # fmt: skip
            writer.write(chunk, collector.rows())
        team.wait_for_everyone()  # all chunks are there
        with team.main_process_first():
            return writer.finish()


def left_out(store: ActivationStore, site: str) -> float:
    """The share of a site's positions that the store leaves out, in [0, 1)."""
    about = store.manifest.sites[site]
    if about["component"] == "image":
        return 1 - store.manifest.recipe["pixel_rate"]
    return 1 - store.rows(site) / (len(store.prompts) * about["positions"])


def padding(model: Model, site: str, prompts: Sequence[str]) -> float:
    """The share of a site's positions that is padding in these prompts, in [0, 1); 0 at a picture's site."""
    positions = model.site(site).positions
    if makes_pictures([model.site(site)]):
        return 0.0
    tokenizer = tokenizer_of(model, model.site(site))
    lengths = [len(ids) for ids in tokenizer(list(prompts), truncation=True, max_length=positions).input_ids]
    return 1 - sum(lengths) / (len(prompts) * positions)


def site_info(site: Site, model: Model) -> dict[str, Any]:
    """What a store and an SAE keep of a site, so that it can be found again in the model."""
    labels = ["prompt", "token_id", "position"]
    if makes_pictures([site]) and AUTOREGRESSIVE in model.capabilities:
        labels = ["prompt", "call", "place", "token_id", "position", "y", "x"]
    elif makes_pictures([site]):
        time = ["timestep"] if DENOISER in model.capabilities else []
        labels = ["prompt", "call", *time, "position", *(("y", "x") if grid_side(site) else ())]
    kept = ("path", "slot", "index", "layout", "component", "positions")
    return {"width": site.channels, "labels": labels, **{name: getattr(site, name) for name in kept}}


def grid_side(site: Site) -> int | None:
    """The side of the square picture whose pixels are the site's positions; None where text is among them."""
    side = math.isqrt(site.positions)
    is_picture = makes_pictures([site]) and ".text" not in site.alias and side * side == site.positions
    return side if is_picture else None


class Collector:
    """A reducer that keeps the rows of one chunk as a store wants them, with their labels."""

    def __init__(self, spec: StoreSpec, positions: str, pixels: Thinning) -> None:
        self._wanted = {site: about["labels"] for site, about in spec.sites.items()}
        self._positions = positions
        self._pixels = pixels
        self._parts: dict[str, list[SiteRows]] = {}

    def take(self, reading: Reading) -> None:
        """Takes in one call."""
        reading = reading.thinned(self._pixels)
        kept = marked(reading.places, self._positions)
        labels = _labels(reading, kept.cpu())
        named = {name: labels[name] for name in self._wanted[reading.site.alias]}
        self._parts.setdefault(reading.site.alias, []).append(SiteRows(reading.x[kept].cpu(), named))

    def rows(self) -> dict[str, SiteRows]:
        """All that was taken in, by site."""
        return {alias: _joined(parts) for alias, parts in self._parts.items()}


def _labels(reading: Reading, kept: Bool[Tensor, "rows positions"]) -> dict[str, Tensor]:
    """Whatever is known of each kept row; pixels have no token, tokens no timestep, text no place in the grid (−1)."""
    position = reading.position.cpu()[kept].int()
    labels = {
        "prompt": reading.prompt[kept].int(),
        "call": torch.full_like(position, reading.call),
        "position": position,
    }
    if reading.token_ids is not None:
        labels["token_id"] = reading.token_ids.cpu()[kept].int()
    if reading.timestep is not None:
        labels["timestep"] = torch.full(position.shape, float(reading.timestep))
    if side := grid_side(reading.site):
        place = reading.places.cpu()[kept]
        y, x = (torch.where(place == Place.PICTURE, cell, -1) for cell in (position // side, position % side))
        labels |= {"place": place, "y": y, "x": x}
    return labels


def _joined(parts: list[SiteRows]) -> SiteRows:
    labels = {name: torch.cat([part.labels[name] for part in parts]) for name in parts[0].labels}
    return SiteRows(torch.cat([part.rows for part in parts]), labels)
