"""SAEs of the toy Janus by the recipe: trained where the pictures need the site, and told of in the card."""

import pytest

import saes
from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from workbench.toy import recipe
from workbench.toy.recipe import janus_export, janus_saes, janus_stages

SITE = "lm.1"


@pytest.fixture
def small(monkeypatch):
    config = saes.SAEConfig(d_sae=64, k=4, samples=1024)
    monkeypatch.setattr(janus_saes, "SAES", {SITE: (64, config)})
    monkeypatch.setattr(janus_saes, "ASKED", 2)


def test_the_stage_leaves_an_sae_under_its_sites_name_and_its_figures_in_the_card(
    small, tiny_janus, tmp_path, monkeypatch
):
    monkeypatch.setattr(janus_stages, "load", lambda folder: tiny_janus)
    home = janus_stages.shipped(tmp_path)
    write_json(home / "figures.json", {"measured": [{"rate": 0.5}], "tokenizer": [{"rate": 0.7}], "sha256": {}})
    (home / janus_export.WEIGHTS).write_bytes(b"weights")
    recipe.train(tmp_path, ["janus_saes"])
    sae = saes.load(tmp_path / "weights" / "saes" / SITE)
    assert sae.cfg.metadata.hook_name == SITE and sae.cfg.metadata.model_name == tiny_janus.fingerprint
    told = read_json(home / "figures.json")
    assert told["measured"] == [{"rate": 0.5}] and {row["site"] for row in told["saes"]} == {SITE}
    assert [row["positions"] for row in told["saes"]] == ["all", "text", "begin of image", "picture cells"]
    assert all(row["moved"] >= 0.4 and row["ablated"] != row["clean"] for row in told["saes"])
    assert "## SAEs" in (home / "CARD.md").read_text()


def test_a_site_that_pictures_do_not_need_is_refused_before_the_harvest(small, tiny_janus, tmp_path, monkeypatch):
    monkeypatch.setattr(janus_saes, "LITTLE", 1e9)
    with pytest.raises(WorkbenchError, match=r"Pictures hardly need lm\.1"):
        janus_saes.train(tiny_janus, tmp_path / "stores", tmp_path / "saes")
    assert not list(tmp_path.iterdir())


def test_the_recipe_trains_saes_after_the_model_ships():
    stages = list(recipe.STAGES)
    assert stages.index("janus_export") < stages.index("janus_saes")
