"""An order of all rows that is shuffled, fits a small memory, and can be entered anywhere without reading.

The rows of a split are cut into pieces (short runs of one shard). An epoch permutes the pieces, fills a buffer
with as many as fit, and permutes the rows in the buffer: one group after the other. The endless stream of rows
is a function of the seed and the sizes alone, so "row number r of the stream" is found by counting.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor


class Piece(NamedTuple):
    """Rows `start` to `stop` (exclusive) of one shard, given by its index."""

    shard: int
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start


class Group(NamedTuple):
    """What the buffer holds at one time, and in which order its rows leave it."""

    pieces: list[Piece]
    order: Int64[Tensor, " rows"]


def cut(shard: int, start: int, stop: int, piece_rows: int) -> list[Piece]:
    """Cuts a run of rows into pieces.

    Args:
        shard: index of the shard.
        start: first row.
        stop: row after the last.
        piece_rows: number of rows of a piece at most.

    Returns:
        Pieces that cover the run, in order.
    """
    edges = [*range(start, stop, piece_rows), stop]
    return [Piece(shard, low, high) for low, high in pairwise(edges)]


def groups(pieces: Sequence[Piece], buffer_rows: int, seed: int, start_row: int) -> Iterator[Group]:
    """The groups of the endless stream of rows. The first group is cut so that it begins exactly at `start_row`.

    Args:
        pieces: all pieces of a split.
        buffer_rows: how many rows a group may have; one piece is always allowed.
        seed: seed of the order.
        start_row: number of the first row wanted, from 0, over all epochs.

    Returns:
        Groups without end.
    """
    total = sum(piece.rows for piece in pieces)
    epoch, skip = divmod(start_row, total)
    while True:
        for index, members in enumerate(_fill(_shuffled(pieces, seed, epoch), buffer_rows)):
            rows = sum(piece.rows for piece in members)
            if skip < rows:
                order = torch.randperm(rows, generator=keyed_generator(seed, epoch, index + 1))
                yield Group(members, order[skip:])
            skip = max(0, skip - rows)
        epoch += 1


def _shuffled(pieces: Sequence[Piece], seed: int, epoch: int) -> list[Piece]:
    return [pieces[i] for i in torch.randperm(len(pieces), generator=keyed_generator(seed, epoch, 0)).tolist()]


def _fill(pieces: Sequence[Piece], buffer_rows: int) -> Iterator[list[Piece]]:
    members: list[Piece] = []
    rows = 0
    for piece in pieces:
        if members and rows + piece.rows > buffer_rows:
            yield members
            members, rows = [], 0
        members.append(piece)
        rows += piece.rows
    yield members


def keyed_generator(*key: int) -> torch.Generator:
    """A random stream for each key. It is hashed: a sum would make one seed's second epoch another's first.

    Args:
        key: any integers.

    Returns:
        A generator on the CPU.
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
