"""What is collected of a model's inside: each edit and control, the features of the given SAEs, the nearest words."""

from pathlib import Path

import pytest

from tests.tiny_saes import memorising_sae, random_sae, save_tiny_sae
from workbench.concepts import Concept
from workbench.erasure.itd import ItD
from workbench.erasure.uce import UCE
from workbench.fitting.trajectories import ddim
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


def test_what_lies_inside_is_looked_at_as_pictures_are_sampled(tiny_sd1: Model, saes: list) -> None:
    picture = save_tiny_sae(random_sae(tiny_sd1, "unet.up.1.0"), Path(saes[0]).with_name("picture"))
    seen: list[float] = []
    unet = tiny_sd1.pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(float(args[1])), with_kwargs=True
    )
    try:
        edits = {"UCE": UCE().fit(tiny_sd1, [FOX])}
        found = interpret(tiny_sd1, FOX, edits, saes=[*saes, picture], pictures=1, steps=2, guidance_scale=1.0)
    finally:
        unet.remove()
    inside = found["change"][found["change"]["site"].str.startswith("unet")]
    asked = sorted(set(inside["timestep"]))
    assert inside["step"].max() <= 2 < tiny_sd1.defaults.steps, "PNDM asks once more than there are steps"
    assert "edges" in found
    others = {125.0, 375.0, 625.0, 875.0}  # of the lens, evenly spread over the schedule
    neighbours = set(ddim(tiny_sd1, tiny_sd1.defaults.steps).timesteps.tolist())
    assert set(seen) <= {*asked, *others, *map(float, neighbours)}
