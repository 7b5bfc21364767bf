"""Names of features travel in the SAE's folder, and belong to its weights."""

import pytest

from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from saes.names import FeatureName, read_names, write_names

NAMES = {3: FeatureName("fox", "fox", 0.9, 1.0), 0: FeatureName("comma")}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sae_weights.safetensors").write_bytes(b"weights")
    write_names(tmp_path, NAMES)
    return tmp_path


def test_names_read_back_in_the_order_of_the_features(folder):
    assert read_names(folder) == NAMES
    assert list(read_names(folder)) == [0, 3]


def test_a_folder_without_names_has_none(tmp_path):
    assert read_names(tmp_path) == {}


def test_names_of_other_weights_are_refused(folder):
    (folder / "sae_weights.safetensors").write_bytes(b"other")
    with pytest.raises(WorkbenchError, match="other weights"):
        read_names(folder)


@pytest.mark.parametrize("features", [{"3": {"name": "fox", "colour": "red"}}, {"three": {"name": "fox"}}, [1]])
def test_a_damaged_file_is_named(folder, features):
    write_json(folder / "names.json", {**read_json(folder / "names.json"), "features": features})
    with pytest.raises(WorkbenchError, match="damaged"):
        read_names(folder)
