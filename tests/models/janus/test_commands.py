"""The commands that take any model, on a Janus."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.tiny_janus import save_tiny_janus
from workbench.cli.main import main
from workbench.models import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_janus(tmp_path_factory.mktemp("commands") / "janus")


def told(capsys, *words):
    capsys.readouterr()
    code = main([str(word) for word in words])
    return code, capsys.readouterr()


def test_sites_are_listed(capsys, folder):
    code, said = told(capsys, "sites", folder, "--json")
    rows = json.loads(said.out)
    assert code == 0 and [row["site"] for row in rows] == list(load(folder).sites())
    assert {row["component"] for row in rows} == {"image"}


def test_pictures_are_made_with_settings_by_name(capsys, folder, tmp_path):
    more = ("--guidance-scale", 2, "--set", "temperature=0.5", "--set", "top_k=4")
    assert (
        told(capsys, "generate", folder, "a fox", "--count", 1, "--seed", 3, *more, "--out", tmp_path / "own")[0] == 0
    )
    expected = load(folder).generate("a fox", 3, guidance_scale=2.0, temperature=0.5, top_k=4)[0]
    assert np.array_equal(Image.open(tmp_path / "own" / "000-3.png"), expected)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (("--steps", 4), "Unknown sampling setting 'steps'"),
        (("--set", "temprature=1"), "Did you mean 'temperature'"),
        (("--set", "top_k=1.5"), "top_k cannot be 1.5. Give a whole number"),
        (("--guidance-scale", 2, "--set", "guidance_scale=3"), "'guidance_scale' is given twice"),
        (("--set", "num_beams=4"), "Unknown sampling setting 'num_beams'"),
        (("--set", "temperature=-1"), "A temperature of -1.0 makes no picture"),
    ],
)
def test_settings_of_other_models_are_refused(capsys, folder, tmp_path, more, problem):
    code, said = told(capsys, "generate", folder, "a fox", *more, "--out", tmp_path / "new")
    assert code == 1 and problem in said.err and not (tmp_path / "new").exists()


def test_activations_are_harvested(capsys, folder, tmp_path):
    (tmp_path / "prompts.txt").write_text("a fox\na red cat\n")
    words = ("harvest", folder, "lm.1", "--prompts-file", tmp_path / "prompts.txt", "--out", tmp_path / "store")
    code, said = told(capsys, *words)
    assert code == 0 and "rows at lm.1" in said.out
    code, said = told(capsys, *words[:-1], tmp_path / "other", "--steps", 3)
    assert code == 1 and "Unknown sampling setting 'steps'" in said.err


def test_an_autoencoder_is_trained_and_measured_by_sort_of_position(capsys, folder, tmp_path):
    words = [f"a {colour} {thing}" for colour in ("red", "blue") for thing in ("fox", "cat", "dog", "bear", "vixen")]
    (tmp_path / "prompts.txt").write_text("\n".join([*words, *(f"a photo of {one}" for one in words)]))
    store, sae = tmp_path / "store", tmp_path / "sae"
    told(
        capsys, "harvest", folder, "lm.1", "--prompts-file", tmp_path / "prompts.txt", "--pixel-rate", 1, "--out", store
    )
    code, said = told(capsys, "train", store, "lm.1", "--d-sae", 64, "--k", 4, "--samples", 1024, "--out", sae)
    assert code == 0 and "By position" in said.out and "picture cells" in said.out
    code, said = told(capsys, "fidelity", folder, sae, store, "--prompts", 2, "--json")
    rows = {row["positions"]: row for row in json.loads(said.out)}
    assert code == 0 and list(rows) == ["all", "text", "begin of image", "picture cells"]
    assert all(row["recovered"] is not None and row["clean"] == rows["all"]["clean"] for row in rows.values())
    code, said = told(capsys, "fidelity", "toy", sae, store)
    assert code == 1 and "trained on a model of other weights" in said.err


def test_a_method_is_fitted_by_the_command_and_the_list_says_which_apply(capsys, folder, tmp_path):
    code, said = told(capsys, "erase", folder, "fox", "--method", "negative_prompt", "--out", tmp_path / "edit")
    assert code == 0 and (tmp_path / "edit").is_dir()
    code, said = told(capsys, "methods", "--json")
    takes = {row["method"] for row in json.loads(said.out) if "janus" in row["models"]}
    assert takes == {"ear", "itd", "saeuron", "steerer", "detect_replace", "negative_prompt"}
