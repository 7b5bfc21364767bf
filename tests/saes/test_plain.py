"""Numbers as tables and other libraries hand them over are Python's own, or none."""

import numpy as np
import pytest
import torch

from saes.plain import whole


@pytest.mark.parametrize(
    "given",
    [4068, "4068", " 4068 ", "4068.0", 4068.0, np.int64(4068), np.float32(4068), np.array(4068), torch.tensor(4068)],
)
def test_whole_numbers_are_read_in_every_form(given: object) -> None:
    found = whole(given)
    assert found == 4068
    assert type(found) is int


@pytest.mark.parametrize(
    "given",
    [3.7, "3.7", "three", "", "nan", float("nan"), float("inf"), True, None, np.array([3]), [3], 2.0**53, "1e30"],
)
def test_what_is_no_whole_number_is_none(given: object) -> None:
    assert whole(given) is None


def test_large_whole_numbers_lose_nothing() -> None:
    assert whole(str(2**62 + 1)) == 2**62 + 1
