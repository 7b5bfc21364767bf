"""Writing an activation store so that a kill at any moment costs one chunk of prompts at most.

A shard is written, flushed and renamed; only then does its record name it. What a record names is whole, and what none
names is written again: no row can be lost or stored twice. Several processes may fill one store, each with chunks of
its own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from saes.disk import sha256_of, write_json, write_tensors
from saes.errors import WorkbenchError
from saes.manifest import DTYPES, FILE, PROMPTS_FILE, Manifest, StoreSpec, split_of
from saes.shards import Shard, read_records, remove_records, shard_file, write_record
from saes.store import ActivationStore


def finished(store_dir: Path | str, spec: StoreSpec) -> ActivationStore | None:
    """Opens a store in which nothing is left to be done. Nothing is written.

    Args:
        store_dir: the folder of the store; it may be absent.
        spec: what is to be stored.

    Returns:
        The store, or None if there is none or an unfinished one.

    Raises:
        WorkbenchError: the folder holds a store of another spec, or a damaged one.
    """
    store_dir = Path(store_dir)
    if not (store_dir / FILE).exists():
        return None
    manifest = Manifest.read(store_dir)
    manifest.check_spec(spec, store_dir)
    return ActivationStore.open(store_dir) if manifest.is_whole and not read_records(store_dir) else None


class SiteRows(NamedTuple):
    """Activations of one site for one chunk, with a label column per thing known of each row.

    `labels["prompt"]` (index into the prompts of the whole store) is required.
    """

    rows: Float[Tensor, "n d"]
    labels: Mapping[str, Shaped[Tensor, " n"]]


class StoreWriter:
    """Fills `store_dir`, or goes on filling it where earlier writers of the same spec stopped.

    Several may do so at once, each with chunks of its own. `working_in` keeps strangers out and sweeps.

    Args:
        store_dir: the folder of the store.
        spec: what is to be stored.

    Raises:
        WorkbenchError: the folder holds a store of another spec (another model, …), or cannot be written.
    """

    def __init__(self, store_dir: Path | str, spec: StoreSpec) -> None:
        self.store_dir = Path(store_dir)
        self.spec = spec
        self._validation = torch.tensor([split_of(p, spec.validation_share) == "validation" for p in spec.prompts])
        if not (self.store_dir / FILE).exists():
            Manifest.of(spec).write(self.store_dir, keep=True)
        manifest = Manifest.read(self.store_dir)
        manifest.check_spec(spec, self.store_dir)
        if not (self.store_dir / PROMPTS_FILE).exists():
            write_json(self.store_dir / PROMPTS_FILE, list(spec.prompts))
        self._done = {shard.chunk for shard in manifest.shards}

    @property
    def done_chunks(self) -> frozenset[int]:
        """Indices into `spec.chunks` that needed no work when this writer began, or that it wrote."""
        return frozenset(self._done)

    def write(self, chunk: int, sites: Mapping[str, SiteRows]) -> None:
        """Stores all sites of one chunk.

        Args:
            chunk: index into `spec.chunks`, not among `done_chunks`, and no other writer's.
            sites: rows and labels of every site of the spec.

        Raises:
            WorkbenchError: a value does not fit the store's dtype, or the shard cannot be written.
        """
        assert sites.keys() == self.spec.sites.keys() and chunk not in self._done
        tensors: dict[str, Tensor] = {}
        counts: dict[str, tuple[int, int]] = {}
        for site, site_rows in sites.items():
            counts[site] = self._add(tensors, site, site_rows)
        path = self.store_dir / shard_file(chunk)
        write_tensors(path, tensors)
        write_record(self.store_dir, Shard(path.name, chunk, path.stat().st_size, sha256_of(path), counts))
        self._done.add(chunk)

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
        """Takes the records of all writers into the manifest.

        Returns:
            The store, opened.

        Raises:
            WorkbenchError: chunks are missing.
        """
        manifest = Manifest.read(self.store_dir)
        if manifest.is_whole and read_records(self.store_dir):
            manifest.write(self.store_dir)
            remove_records(self.store_dir, manifest.shards)
        return ActivationStore.open(self.store_dir)
