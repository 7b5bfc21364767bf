"""Activations of many prompts at several sites, in one pass, into a store.

Text sites give a row for every position of the padded prompt, begin, end and padding included: in Stable Diffusion the
padding carries meaning, and what is not wanted can be left out later by the label `token_id`. Denoiser sites give
rows from every call of a whole guided denoising; of the positions of each picture a share is drawn, seeded by prompt
and call, so that sites of one resolution share their pixels. Unconditional rows are left out everywhere.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from saes.errors import WorkbenchError
from saes.manifest import Dtype, StoreSpec
from saes.progress import SILENT, Progress
from saes.shuffling import keyed_generator
from saes.store import ActivationStore
from saes.writing import SiteRows, StoreWriter
from workbench.hooks import Clock, Site
from workbench.models import Model

RECIPE = {"rows": "conditional", "tokens": "all positions"}
TEXT_CHUNK, IMAGE_CHUNK = 64, 16  # prompts a pass, and what a kill can cost


def harvest(
    model: Model,
    prompts: Sequence[str],
    sites: Sequence[str],
    out_dir: Path | str,
    *,
    seed: int = 0,
    dtype: Dtype = "float16",
    steps: int | None = None,
    guidance_scale: float | None = None,
    pixel_rate: float = 0.1,
    progress: Progress = SILENT,
) -> ActivationStore:
    """Fills the store `out_dir` with the activations of all sites; pictures are made only if a denoiser site asks.

    The picture of prompt number i has the seed `seed + i`. A finished store of the same request is opened without any
    work, an unfinished one goes on where it stopped. Inside `model.edited` the store is filed under the model and the
    edits. Raises `WorkbenchError` for no prompts, unknown sites, a rate outside (0, 1], and a
    folder that holds a store of another request.
    """
    if not 0 < pixel_rate <= 1:
        raise WorkbenchError(f"A pixel rate of {pixel_rate} is no share.", "Choose one above 0 and up to 1.")
    chosen = [model.site(alias) for alias in dict.fromkeys(sites)]
    denoising = {
        "seed": seed,
        "steps": model.defaults.steps if steps is None else steps,
        "guidance_scale": float(model.defaults.guidance_scale if guidance_scale is None else guidance_scale),
        "pixel_rate": pixel_rate,
    }
    pictures = any(site.component == "image" for site in chosen)
    identity = model.identity
    encoders = [part.path for part in model.architecture.components if part.kind == "prompt"]
    made_by = {name: value for name, value in identity.parts.items() if pictures or name in encoders}
    spec = StoreSpec(
        model=identity.origin,
        sites={site.alias: site_info(site) for site in chosen},
        prompts=tuple(prompts),
        chunk_prompts=IMAGE_CHUNK if pictures else TEXT_CHUNK,
        dtype=dtype,
        recipe={
            "rows": "conditional",
            "tokens": "all positions",
            "made by": made_by,
            **(denoising if pictures else {}),
        },
    )
    writer = StoreWriter(out_dir, spec)
    left = [chunk for chunk in range(len(spec.chunks)) if chunk not in writer.done_chunks]
    for chunk in progress(left, "harvest"):
        collector = Collector(spec.chunks[chunk], seed, pixel_rate)
        with model.session(record=chosen, keep=collector.keep):
            _run(model, [spec.prompts[i] for i in spec.chunks[chunk]], collector, spec.recipe if pictures else None)
        writer.write(chunk, collector.rows())
    return writer.finish()


def _run(model: Model, prompts: list[str], collector: "Collector", denoising: dict[str, Any] | None) -> None:
    if denoising is None:
        with torch.no_grad():
            model.encode(prompts)
        return
    seeds = [denoising["seed"] + index for index in collector.chunk]
    settings = {name: denoising[name] for name in ("steps", "guidance_scale")}
    model.generate(prompts, seeds, batch_size=len(prompts), **settings)


def site_info(site: Site) -> dict[str, Any]:
    """What a store and an SAE keep of a site, so that it can be found again in the model."""
    if site.component == "prompt":
        labels = ["prompt", "token_id", "position"]
    else:
        labels = ["prompt", "call", "timestep", "position", *(("y", "x") if grid_side(site) else ())]
    kept = ("path", "slot", "index", "layout", "component", "positions")
    return {"width": site.channels, "labels": labels, **{name: getattr(site, name) for name in kept}}


def grid_side(site: Site) -> int | None:
    """The side of the square picture whose pixels are the site's positions; None where text is among them."""
    side = math.isqrt(site.positions)
    is_picture = site.component == "image" and ".text" not in site.alias and side * side == site.positions
    return side if is_picture else None


class Collector:
    """Takes what is wanted out of each activation inside the hook, so that a pass holds little in memory."""

    def __init__(self, chunk: range, seed: int, pixel_rate: float) -> None:
        self.chunk = chunk
        self.seed = seed
        self.pixel_rate = pixel_rate
        self._parts: dict[str, list[SiteRows]] = {}

    def keep(self, site: Site, activation: Tensor, clock: Clock) -> None:
        """A session's `keep`: collects here and leaves the session's own records empty."""
        conditional = activation[clock.mask("cond")]
        if len(conditional):
            of_prompt = site.component == "prompt"
            part = self._text(conditional, clock) if of_prompt else self._picture(site, conditional, clock)
            self._parts.setdefault(site.alias, []).append(part)

    def rows(self) -> dict[str, SiteRows]:
        """All that was collected, by site."""
        return {alias: _joined(parts) for alias, parts in self._parts.items()}

    def _text(self, rows: Float[Tensor, "prompts tokens d"], clock: Clock) -> SiteRows:
        assert clock.token_ids is not None
        n_prompts, n_tokens, _ = rows.shape
        labels = {
            "prompt": torch.tensor(self.chunk, dtype=torch.int32).repeat_interleave(n_tokens),
            "token_id": clock.token_ids[clock.mask("cond")].flatten().int().cpu(),
            "position": torch.arange(n_tokens, dtype=torch.int32).repeat(n_prompts),
        }
        return SiteRows(rows.flatten(0, 1).cpu(), labels)

    def _picture(self, site: Site, rows: Float[Tensor, "prompts positions d"], clock: Clock) -> SiteRows:
        assert clock.timestep is not None
        position = self._drawn(rows.shape[1], clock.call)
        kept = rows.gather(1, position[:, :, None].expand(-1, -1, rows.shape[2]).to(rows.device))
        labels = {
            "prompt": torch.tensor(self.chunk, dtype=torch.int32).repeat_interleave(position.shape[1]),
            "call": torch.full((position.numel(),), clock.call, dtype=torch.int32),
            "timestep": torch.full((position.numel(),), float(clock.timestep)),
            "position": position.flatten().int(),
        }
        if side := grid_side(site):
            labels |= {"y": labels["position"] // side, "x": labels["position"] % side}
        return SiteRows(kept.flatten(0, 1).cpu(), labels)

    def _drawn(self, positions: int, call: int) -> Int64[Tensor, "prompts drawn"]:
        n_drawn = max(1, round(self.pixel_rate * positions))
        generators = (keyed_generator(self.seed, prompt, call) for prompt in self.chunk)
        drawn = [torch.randperm(positions, generator=generator)[:n_drawn] for generator in generators]
        return torch.stack(drawn).sort(dim=1).values


def _joined(parts: list[SiteRows]) -> SiteRows:
    labels = {name: torch.cat([part.labels[name] for part in parts]) for name in parts[0].labels}
    return SiteRows(torch.cat([part.rows for part in parts]), labels)
