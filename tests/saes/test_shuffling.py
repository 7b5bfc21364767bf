"""The stream of rows is a pure function of seed and sizes, with every row once an epoch."""

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saes.shuffling import Piece, cut, groups


def rows_from(pieces, buffer_rows, seed, start_row, n):
    """The first `n` rows of the stream as (shard, row)."""

    def stream():
        for group in groups(pieces, buffer_rows, seed, start_row):
            held = [(piece.shard, row) for piece in group.pieces for row in range(piece.start, piece.stop)]
            yield from (held[i] for i in group.order.tolist())

    return list(islice(stream(), n))


def test_pieces_cover_the_slice_without_overlap():
    assert cut(2, 3, 10, 3) == [Piece(2, 3, 6), Piece(2, 6, 9), Piece(2, 9, 10)]
    assert cut(0, 0, 6, 3) == [Piece(0, 0, 3), Piece(0, 3, 6)]
    assert cut(0, 4, 4, 3) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(1, 30), st.integers(0, 3), st.integers(0, 200))
def test_every_row_once_an_epoch_and_any_entry_point_agrees(sizes, buffer_rows, seed, start_row):
    pieces = [Piece(shard, 0, rows) for shard, rows in enumerate(sizes)]
    total = sum(sizes)
    stream = rows_from(pieces, buffer_rows, seed, 0, 3 * total + start_row)
    for epoch in range(3):
        assert len(set(stream[epoch * total : (epoch + 1) * total])) == total
    assert rows_from(pieces, buffer_rows, seed, start_row, 3 * total) == stream[start_row:]


@pytest.mark.parametrize("buffer_rows", [5, 17, 1000])
def test_a_group_never_outgrows_the_buffer(buffer_rows):
    pieces = [Piece(shard, 0, 5) for shard in range(20)]
    for group in islice(groups(pieces, buffer_rows, 0, 0), 50):
        assert sum(piece.rows for piece in group.pieces) <= buffer_rows


def test_one_seeds_second_epoch_is_not_the_next_seeds_first():
    pieces = [Piece(0, 0, 40)]
    orders = [next(groups(pieces, 40, seed, epoch * 40)).order for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    assert len({tuple(order.tolist()) for order in orders}) == 9
    assert torch.equal(orders[0].sort().values, torch.arange(40))
