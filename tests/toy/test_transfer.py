"""An adapter fitted on the toy, measured on other models: here one of its own weights under another name."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import workbench as wb
from saes.errors import WorkbenchError
from workbench import toy
from workbench.toy import transfer
from workbench.toy.transfer import METHOD, measure_transfer, shipped_relatives

pytestmark = pytest.mark.slow  # the fixture fits and draws for a minute
QUICK = replace(METHOD, trajectories=2, steps=4, iterations=2)


@pytest.fixture(scope="module")
def table_and_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    shutil.copytree(toy.path(), folder / "twin")
    given = wb.load("toy"), [wb.load(folder / "twin")], QUICK, ["fox"], toy.Oracle.load(), folder / "out"
    return measure_transfer(*given, per_role=2), folder, given


def test_every_model_stands_beside_its_own_unedited_pictures_and_random_directions(table_and_folder):
    table, _, _ = table_and_folder
    assert set(table["model"]) == {"toy", "twin"} and set(table["condition"]) == {"SPM", "random directions"}
    assert set(table["metric"]) == {"efficacy", "generality", "near", "far", "intact"}
    gates = table[table["condition"] == "SPM"].groupby("metric")["gate"].first()
    assert gates["efficacy"] == 1.0 > gates["generality"] > gates["far"] > 0 and np.isnan(gates["intact"])
    assert table["unedited"].notna().all() and (table["low"] <= table["value"]).all()


def test_equal_weights_give_equal_figures(table_and_folder):
    table, _, _ = table_and_folder
    own, twin = (table[table["model"] == name].drop(columns="model").reset_index(drop=True) for name in ("toy", "twin"))
    assert own.equals(twin)


def test_a_second_measurement_fits_nothing_and_is_the_same(table_and_folder, monkeypatch):
    table, folder, given = table_and_folder
    before = (folder / "out/edits/fox/edit.json").stat().st_mtime_ns
    assert measure_transfer(*given, per_role=2).equals(table)
    assert (folder / "out/edits/fox/edit.json").stat().st_mtime_ns == before
    with pytest.raises(WorkbenchError, match="other settings"):
        measure_transfer(*given[:2], replace(QUICK, lr=1.0), *given[3:], per_role=2)


def test_relatives_of_another_form_and_of_one_name_are_refused(table_and_folder, tiny_sd1, tmp_path):
    _, _, given = table_and_folder
    with pytest.raises(WorkbenchError, match="lacks"):
        measure_transfer(given[0], [tiny_sd1], *given[2:], per_role=2)
    with pytest.raises(WorkbenchError, match="one name"):
        measure_transfer(given[0], given[1] * 2, *given[2:], per_role=2)


def test_relatives_are_found_beside_the_toy(tmp_path, monkeypatch):
    for name in ("pipeline", "sibling", "oracle"):
        (tmp_path / name).mkdir()
    for name in ("pipeline", "sibling"):
        (tmp_path / name / "model_index.json").write_text("{}")
    monkeypatch.setattr(transfer, "pipeline", lambda: tmp_path / "pipeline")
    assert shipped_relatives() == [tmp_path / "sibling"]
