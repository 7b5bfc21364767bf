"""Activations on disk: many prompts, several sites, more rows than memory holds.

A store is a folder with a manifest, the prompts, and shards in safetensors. Each shard is checked against the
hash in the manifest when it is first read. Rows come back as float32, shuffled through a buffer of fixed size, or in
the order in which they are stored, with their labels.
"""

import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float32, Int64, Shaped
from safetensors import safe_open
from torch import Tensor

from saes.disk import read_json, sha256_of
from saes.errors import WorkbenchError, unknown_name
from saes.manifest import DTYPES, PROMPTS_FILE, Manifest, Split, prompts_sha256
from saes.shards import Shard
from saes.shuffling import Piece, cut, groups

PIECE_ROWS = 256
BUFFER_BYTES = 64 * 2**20


class Block(NamedTuple):
    """Some rows in stored order, with their label columns."""

    rows: Float32[Tensor, "n d"]
    labels: dict[str, Shaped[Tensor, " n"]]


class ActivationStore:
    """A finished store, opened for reading. Nothing but the manifest and the prompts is held in memory.

    `store_dir` is its folder, `manifest` what it says of itself, `prompts` the texts that the label "prompt" counts.
    """

    def __init__(self, store_dir: Path, manifest: Manifest, prompts: list[str]) -> None:
        self.store_dir = store_dir
        self.manifest = manifest
        self.prompts = prompts
        self._checked: set[str] = set()

    def __repr__(self) -> str:
        return f"<ActivationStore {str(self.store_dir)!r}: {len(self.prompts)} prompts, {', '.join(self.sites)}>"

    def _repr_html_(self) -> str:
        head = "<tr><th>site</th><th>rows</th><th>width</th></tr>"
        cells = "".join(
            f"<tr><td>{escape(site)}</td><td>{self.rows(site):,}</td><td>{self.width(site)}</td></tr>"
            for site in self.sites
        )
        caption = f"{escape(str(self.store_dir))}: {len(self.prompts):,} prompts"
        return f"<table><caption>{caption}</caption>{head}{cells}</table>"

    @classmethod
    def open(cls, store_dir: Path | str) -> "ActivationStore":
        """Opens a finished store.

        Args:
            store_dir: its folder.

        Returns:
            The store.

        Raises:
            WorkbenchError: the folder holds no store, an unfinished one, or a damaged one.
        """
        store_dir = Path(store_dir)
        manifest = Manifest.read(store_dir)
        if not manifest.is_whole:
            raise WorkbenchError(
                f"{store_dir} is unfinished: {len(manifest.shards)} of {manifest.n_chunks} chunks are there.",
                "Run the same harvest again; it goes on where it stopped.",
            )
        prompts = read_json(store_dir / PROMPTS_FILE)
        if not isinstance(prompts, list) or not all(isinstance(prompt, str) for prompt in prompts):
            raise _damaged(store_dir / PROMPTS_FILE, "is no list of texts")
        if prompts_sha256(prompts) != manifest.prompts_sha256:
            raise _damaged(store_dir / PROMPTS_FILE, "was altered")
        store = cls(store_dir, manifest, prompts)
        for shard in manifest.shards:
            store._check_size(shard)
        return store

    @property
    def sites(self) -> list[str]:
        """Aliases of the sites."""
        return list(self.manifest.sites)

    @property
    def fingerprint(self) -> str:
        """Identifies the rows: the hash of all shard hashes in order."""
        return prompts_sha256([shard.sha256 for shard in self.manifest.shards])

    def rows(self, site: str, split: Split | None = None) -> int:
        """The number of rows at a site.

        Args:
            site: alias of the site.
            split: "train" or "validation"; None: both.

        Returns:
            The number.

        Raises:
            WorkbenchError: the site is unknown.
        """
        self.check_site(site)
        counts = [shard.rows[site] for shard in self.manifest.shards]
        return sum(train * (split != "validation") + held_out * (split != "train") for train, held_out in counts)

    def width(self, site: str) -> int:
        """The number of columns at a site.

        Args:
            site: alias of the site.

        Returns:
            The number.

        Raises:
            WorkbenchError: the site is unknown.
        """
        self.check_site(site)
        return self.manifest.sites[site]["width"]

    def check_site(self, site: str) -> None:
        """Whether the store has a site.

        Args:
            site: alias of the site.

        Raises:
            WorkbenchError: it has not; the nearest is named.
        """
        if site not in self.manifest.sites:
            raise unknown_name("site", site, self.manifest.sites)

    def check_split(self, site: str, split: Split) -> None:
        """Whether a split has rows at a site.

        Args:
            site: alias of the site.
            split: "train" or "validation".

        Raises:
            WorkbenchError: it has none, or the site is unknown.
        """
        if self.rows(site, split) == 0:
            raise WorkbenchError(
                f"{self.store_dir} has no {split} rows at {site}.", "Harvest more prompts: a share of them is held out."
            )

    def check_model(self, fingerprint: str) -> None:
        """Whether the rows come from a model.

        Args:
            fingerprint: identifies the model.

        Raises:
            WorkbenchError: they come from another one.
        """
        if fingerprint != self.manifest.model:
            raise WorkbenchError(
                f"{self.store_dir} holds activations of another model.", "Harvest again from the model in use."
            )

    def labels(self, site: str) -> dict[str, Shaped[Tensor, " rows"]]:
        """What is known of each row of a site, in stored order.

        Args:
            site: alias of the site.

        Returns:
            Columns `[rows]` by name: prompt; of token_id, position, timestep, call, y and x what applies.

        Raises:
            WorkbenchError: the site is unknown, or a shard was altered.
        """
        self.check_site(site)
        counts = [sum(shard.rows[site]) for shard in self.manifest.shards]
        parts = [self._labels(Piece(shard, 0, rows), site) for shard, rows in enumerate(counts)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def blocks(self, site: str, block_rows: int = 4096, split: Split | None = None) -> Iterator[Block]:
        """Every row of a site once, in stored order: that of `labels` if `split` is None.

        Args:
            site: alias of the site.
            block_rows: number of rows of a block at most.
            split: "train" or "validation"; None: both.

        Returns:
            Blocks of rows with their labels.

        Raises:
            WorkbenchError: the site is unknown, or a shard was altered.
        """
        self.check_site(site)
        for shard in range(len(self.manifest.shards)):
            for piece in self._slices(site, shard, split, block_rows):
                yield Block(self._read(piece, site).float(), self._labels(piece, site))

    def batches(
        self,
        site: str,
        batch_size: int,
        *,
        seed: int = 0,
        split: Split = "train",
        start: int = 0,
        epochs: int | None = 1,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Iterator[Float32[Tensor, "n d"]]:
        """Shuffled batches of rows. Every row comes once an epoch.

        The sequence is fixed by seed, batch size and buffer size. Memory: the buffer, a shard's mapping, and the batch.

        Args:
            site: alias of the site.
            batch_size: rows of a batch.
            seed: seed of the order.
            split: "train" or "validation".
            start: number of the first batch wanted, from 0, over all epochs.
            epochs: how many; the last batch may then be short. None: without end, and every batch is full.
            buffer_bytes: size of the buffer in which rows are shuffled, at the stored dtype.

        Returns:
            Batches `[batch_size, d]` in float32.

        Raises:
            WorkbenchError: the split has no rows, the site is unknown, or a shard was altered.
        """
        batch, filled = torch.empty(batch_size, self.width(site)), 0
        for buffer, order in self._runs(site, split, seed, start * batch_size, epochs, buffer_bytes):
            while len(order):
                taken, order = order[: batch_size - filled], order[batch_size - filled :]
                batch[filled : filled + len(taken)] = buffer[taken]
                filled += len(taken)
                if filled == batch_size:
                    yield batch
                    batch, filled = torch.empty_like(batch), 0
        if filled:
            yield batch[:filled]

    def _runs(
        self, site: str, split: Split, seed: int, start_row: int, epochs: int | None, buffer_bytes: int
    ) -> Iterator[tuple[Shaped[Tensor, "capacity d"], Int64[Tensor, " n"]]]:
        """The filled buffer and the rows to take from it, again and again; the buffer is the same memory each time."""
        self.check_split(site, split)
        shards = range(len(self.manifest.shards))
        pieces = [piece for shard in shards for piece in self._slices(site, shard, split, PIECE_ROWS)]
        total, width, dtype = self.rows(site, split), self.width(site), DTYPES[self.manifest.dtype]
        capacity = max(PIECE_ROWS, min(buffer_bytes // (width * dtype.itemsize), total))
        buffer = torch.empty(capacity, width, dtype=dtype)
        left = sys.maxsize if epochs is None else epochs * total - start_row
        for group in groups(pieces, capacity, seed, start_row):
            if left <= 0:
                return
            self._load(buffer, group.pieces, site)
            yield buffer, group.order[:left]
            left -= len(group.order)

    def _load(self, buffer: Shaped[Tensor, "capacity d"], pieces: list[Piece], site: str) -> None:
        filled = 0
        for piece in pieces:
            rows = self._read(piece, site)
            buffer[filled : filled + len(rows)] = rows
            filled += len(rows)

    def _slices(self, site: str, shard: int, split: Split | None, piece_rows: int) -> list[Piece]:
        train, held_out = self.manifest.shards[shard].rows[site]
        start = train if split == "validation" else 0
        stop = train if split == "train" else train + held_out
        return cut(shard, start, stop, piece_rows)

    def _read(self, piece: Piece, name: str) -> Shaped[Tensor, "n ..."]:
        """Rows of one tensor of one shard; only they are read once the shard has been checked."""
        shard = self.manifest.shards[piece.shard]
        if shard.file not in self._checked:
            self._check_size(shard)
            if sha256_of(self.store_dir / shard.file) != shard.sha256:
                raise _damaged(self.store_dir / shard.file, "was altered")
            self._checked.add(shard.file)
        with safe_open(self.store_dir / shard.file, framework="pt") as file:
            return file.get_slice(name)[piece.start : piece.stop].clone()  # a view would keep the whole shard mapped

    def _labels(self, piece: Piece, site: str) -> dict[str, Shaped[Tensor, " n"]]:
        names = self.manifest.sites[site]["labels"]
        return {name: self._read(piece, f"{site}/{name}") for name in names}

    def _check_size(self, shard: Shard) -> None:
        path = self.store_dir / shard.file
        if not path.exists():
            raise _damaged(path, "is missing")
        if path.stat().st_size != shard.bytes:
            raise _damaged(path, f"has {path.stat().st_size} bytes instead of {shard.bytes}")


def _damaged(path: Path, what: str) -> WorkbenchError:
    return WorkbenchError(
        f"The activation store is damaged: {path} {what}.", "Remove its folder and harvest again, or restore a copy."
    )
