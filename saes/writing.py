"""Writing an activation store so that a kill at any moment costs one chunk of prompts at most.

A shard is written, flushed and renamed; only then does the manifest name it. What the manifest names is whole,
and what it does not name is written again: no row can be lost or stored twice.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from saes.disk import sha256_of, write_json, write_tensors
from saes.errors import WorkbenchError
from saes.manifest import DTYPES, FILE, PROMPTS_FILE, Manifest, Shard, StoreSpec, split_of
from saes.store import ActivationStore


class SiteRows(NamedTuple):
    """Activations of one site for one chunk, with a label column per thing known of each row.

    `labels["prompt"]` (index into the prompts of the whole store) is required.
    """

    rows: Float[Tensor, "n d"]
    labels: Mapping[str, Shaped[Tensor, " n"]]


class StoreWriter:
    """Fills `store_dir`, or goes on filling it where an earlier writer of the same spec stopped.

    Raises `WorkbenchError` if the folder holds a store of another spec (another model, other prompts, …).
    """

    def __init__(self, store_dir: Path | str, spec: StoreSpec) -> None:
        self.store_dir = Path(store_dir)
        self.spec = spec
        self.manifest = Manifest.of(spec)
        self._validation = torch.tensor([split_of(p, spec.validation_share) == "validation" for p in spec.prompts])
        if (self.store_dir / FILE).exists():
            self._resume()
        else:
            write_json(self.store_dir / PROMPTS_FILE, list(spec.prompts))
            self.manifest.write(self.store_dir)

    def _resume(self) -> None:
        found = Manifest.read(self.store_dir)
        if name := found.different_field(self.manifest):
            raise WorkbenchError(
                f"{self.store_dir} holds a store with another {name}.", "Choose another folder, or remove that store."
            )
        self.manifest = found
        for leftover in self.store_dir.glob(".*.part"):  # of a writer that was killed
            leftover.unlink()

    @property
    def done_chunks(self) -> frozenset[int]:
        """Indices into `spec.chunks` that need no work."""
        return frozenset(shard.chunk for shard in self.manifest.shards)

    def write(self, chunk: int, sites: Mapping[str, SiteRows]) -> None:
        """Stores all sites of one chunk. Raises `WorkbenchError` if a value does not fit the store's dtype."""
        assert sites.keys() == self.spec.sites.keys() and chunk not in self.done_chunks
        tensors: dict[str, Tensor] = {}
        counts: dict[str, tuple[int, int]] = {}
        for site, site_rows in sites.items():
            counts[site] = self._add(tensors, site, site_rows)
        path = self.store_dir / f"shard-{chunk:06d}.safetensors"
        write_tensors(path, tensors)
        shard = Shard(path.name, chunk, path.stat().st_size, sha256_of(path), counts)
        in_order = tuple(sorted((*self.manifest.shards, shard), key=lambda shard: shard.chunk))
        self.manifest = replace(self.manifest, shards=in_order)
        self.manifest.write(self.store_dir)

    def _add(self, tensors: dict[str, Tensor], site: str, site_rows: SiteRows) -> tuple[int, int]:
        info = self.spec.sites[site]
        assert site_rows.rows.shape[1] == info["width"] and list(site_rows.labels) == info["labels"]
        held_out = self._validation[site_rows.labels["prompt"].cpu().long()]
        order = held_out.to(torch.uint8).argsort(stable=True)  # the train split first: each split is one slice
        tensors[site] = self._stored(site, site_rows.rows.cpu()[order])
        for name, column in site_rows.labels.items():
            tensors[f"{site}/{name}"] = column.cpu()[order]
        return len(order) - int(held_out.sum()), int(held_out.sum())

    def _stored(self, site: str, rows: Tensor) -> Tensor:
        stored = rows.to(DTYPES[self.spec.dtype])
        if not stored.isfinite().all():
            raise WorkbenchError(
                f"Activations at {site} are not finite as {self.spec.dtype} (largest: {float(rows.abs().max()):.3g}).",
                "Harvest with dtype='bfloat16' or 'float32'; if that fails too, the model itself overflows.",
            )
        return stored

    def finish(self) -> ActivationStore:
        """Opens what was written. Every chunk must have been."""
        assert len(self.done_chunks) == len(self.spec.chunks)
        return ActivationStore.open(self.store_dir)
