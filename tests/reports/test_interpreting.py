"""What is collected of a model's inside: each edit and control, the features of the given SAEs, the nearest words."""

import pytest

from tests.tiny_saes import memorising_sae, save_tiny_sae
from workbench.concepts import Concept
from workbench.erasure.itd import ItD
from workbench.erasure.uce import UCE
from workbench.models import Model
from workbench.reports.interpreting import Tables, interpret

FOX = Concept("fox", anchor="cat", synonyms=["vixen"], retain=["cat", "dog"], templates=["a {}", "a red {}"])


@pytest.fixture(scope="module")
def saes(tiny_sd1: Model, tmp_path_factory: pytest.TempPathFactory) -> list:
    folder = tmp_path_factory.mktemp("saes")
    return [save_tiny_sae(memorising_sae(tiny_sd1, "text.0"), folder / "text")]


@pytest.fixture(scope="module")
def tables(tiny_sd1: Model, saes: list) -> Tables:
    edit = ItD(sae=str(saes[0])).fit(tiny_sd1, [FOX])
    return interpret(
        tiny_sd1, FOX, {"ItD": edit, "no-op": edit.no_op(), "random features": edit.random()},
        saes=saes, pictures=2,
    )  # fmt: skip


def test_every_table_says_of_which_concept_and_edit_it_is(tables: Tables) -> None:
    assert set(tables) == {"change", "fates", "moved", "effects", "neighbours"}
    assert all((table["concept"] == "fox").all() for table in tables.values())
    for name in ("change", "fates", "moved"):
        assert list(dict.fromkeys(tables[name]["condition"])) == ["ItD", "no-op", "random features"]


def test_an_edit_changes_what_lies_behind_it_and_a_no_op_nothing(tables: Tables) -> None:
    change = tables["change"].set_index(["condition", "site"])["relative"]
    assert change["ItD", "text.0"].max() > 0
    assert (change["no-op"] == 0).all()


def test_effects_mark_the_features_that_are_erased(tables: Tables) -> None:
    effects = tables["effects"]
    assert effects["erased"].any() and not effects["erased"].all()
    assert effects["site"].unique().tolist() == ["text.0"]
    assert effects[["ablation", "gradient", "integrated"]].notna().all(axis=None)


def test_words_are_ranked_by_features_and_effects_too(tables: Tables) -> None:
    near = tables["neighbours"]
    assert set(near["word"]) == {"vixen", "cat", "dog"}
    assert near[["cosine", "reached", "feature_overlap", "effect_overlap"]].notna().all(axis=None)


def test_without_an_autoencoder_there_are_only_the_tables_of_the_inside(tiny_sd1: Model) -> None:
    edit = UCE().fit(tiny_sd1, [FOX])
    assert set(interpret(tiny_sd1, FOX, {"UCE": edit}, pictures=1)) == {"change", "fates", "moved"}
