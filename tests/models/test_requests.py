"""Prompts and seeds as tables and other libraries hand them over."""

import numpy as np
import pandas as pd
import pytest
import torch

from saes.errors import WorkbenchError
from workbench.models.requests import pair

THREE = [3, np.int64(3), 3.0, np.float32(3), torch.tensor(3), np.array(3), pd.DataFrame({"seed": [3]}).seed.iloc[0]]


@pytest.mark.parametrize("seed", THREE, ids=range(len(THREE)))
def test_a_seed_is_whole_however_it_is_handed_over(seed: object) -> None:
    for given in (seed, [seed]):
        (request,) = pair("a fox", given)
        assert request == ("a fox", 3)
        assert type(request.seed) is int


@pytest.mark.parametrize("seeds", [pd.Series([3, 4]), np.array([3.0, 4.0]), torch.tensor([3, 4]), range(3, 5)])
def test_columns_are_seeds(seeds: object) -> None:
    assert [one.seed for one in pair("a fox", seeds)] == [3, 4]


@pytest.mark.parametrize(
    "seed", [3.7, float("nan"), float("inf"), -1, 2**63, 2**80, None, "3", True, np.float64("nan")]
)
def test_what_is_no_seed_is_refused_and_never_rounded(seed: object) -> None:
    with pytest.raises(WorkbenchError, match="is no seed"):
        pair("a fox", [seed])
