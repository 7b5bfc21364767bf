"""The feature table comes back from disk as it was, and damage is named."""

import pandas as pd
import pytest
import torch

from probes.feature_table import FeatureTable
from probes.features import PromptScores, feature_table
from saes.errors import WorkbenchError


@pytest.fixture
def table() -> FeatureTable:
    scores = PromptScores(torch.tensor([[1.5, 0.0, 3.0]]), torch.tensor([[0.0, 2.0, 1.0]]))
    return feature_table({"fox": scores}, m=2, about={"site": "text.2"})


def test_a_table_is_the_same_after_a_round_trip(table, tmp_path):
    table.save(tmp_path / "features")
    back = FeatureTable.load(tmp_path / "features")
    pd.testing.assert_frame_equal(back.frame, table.frame)
    assert back.about == {"site": "text.2", "m": 2}


def test_an_existing_folder_is_not_overwritten(table, tmp_path):
    table.save(tmp_path / "features")
    with pytest.raises(WorkbenchError, match="exists already"):
        table.save(tmp_path / "features")


def test_a_truncated_table_is_named_in_one_sentence(table, tmp_path):
    table.save(tmp_path / "features")
    path = tmp_path / "features" / "features.parquet"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(WorkbenchError, match=r"features\.parquet cannot be read"):
        FeatureTable.load(tmp_path / "features")


def test_a_table_with_other_columns_is_refused(table, tmp_path):
    FeatureTable(table.frame.drop(columns="auc"), {}).save(tmp_path / "features")
    with pytest.raises(WorkbenchError, match="other columns"):
        FeatureTable.load(tmp_path / "features")


def test_an_unknown_concept_names_the_nearest(table):
    with pytest.raises(WorkbenchError, match="'fox'"):
        table.of("fxo")
