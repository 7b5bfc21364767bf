"""The commands of the README, one after the other, on a tiny pipeline: what each prints and leaves behind."""

import json

import numpy as np
import pytest
from PIL import Image

from workbench.cli.main import main


def printed(capsys, *words):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def pictures(folder):
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


def test_sites_are_listed_with_their_shapes(capsys, made):
    rows = json.loads(printed(capsys, "sites", made / "model", "--json"))
    text = next(row for row in rows if row["site"] == "text.1")
    assert text["channels"] == 16 and text["component"] == "prompt"
    assert "text.1.mlp" in printed(capsys, "sites", made / "model")


def test_the_trained_autoencoder_opens_in_plain_sae_lens(made):
    from sae_lens import SAE

    sae = SAE.load_from_disk(made / "sae")
    assert (sae.cfg.d_in, sae.cfg.d_sae) == (16, 64)


def test_find_ranks_features_and_keeps_the_table(capsys, made, tmp_path):
    words = ("find", made / "model", made / "fox.yaml", "--sae", made / "sae", "--top", 3)
    rows = json.loads(printed(capsys, *words, "--json", "--out", tmp_path / "features"))
    assert 0 < len(rows) <= 3 and {row["concept"] for row in rows} == {"fox"}
    assert all(row["effect"] is None for row in rows)  # not measured: null, for JSON knows no NaN
    assert (tmp_path / "features/features.parquet").is_file()


def test_edits_are_described_and_checked_against_a_model(capsys, made):
    (row,) = json.loads(printed(capsys, "edits", "list", made / "edit", "--model", made / "model", "--json"))
    assert row["method"] == "itd" and row["concepts"] == ["fox"]
    assert main(["edits", "list", str(made / "edit"), "--model", str(made / "other")]) == 1
    assert "another model" in capsys.readouterr().err


def test_an_edit_is_shown_with_what_it_changes(capsys, made):
    words = ("edits", "show", made / "weights", "--model", made / "model")
    (shown,) = json.loads(printed(capsys, *words, "--json"))
    assert shown["settings"]["damping"] == 0.5 and all(row["share"] > 0 for row in shown["contents"])
    text = printed(capsys, *words)
    assert "to_k.weight" in text and "damping" in text and "8×16" in text
    (shown,) = json.loads(printed(capsys, "edits", "show", made / "edit", "--json"))
    assert shown["contents"] and all(row["site"] == "text.1" for row in shown["contents"])


def test_a_model_is_baked_and_unbaked(capsys, made, tmp_path):
    printed(capsys, "bake", made / "model", made / "weights", "--out", tmp_path / "baked")
    said = printed(capsys, "bake", tmp_path / "baked", made / "weights", "--undo", "--out", tmp_path / "undone")
    assert "those from before the edits up to" in said
    words = ("--steps", 2, "--count", 1, "--out")
    printed(capsys, "generate", made / "model", "a fox", "--edit", made / "weights", *words, tmp_path / "edited")
    printed(capsys, "generate", tmp_path / "baked", "a fox", *words, tmp_path / "from-baked")
    assert np.array_equal(pictures(tmp_path / "edited")["000-0.png"], pictures(tmp_path / "from-baked")["000-0.png"])


@pytest.mark.parametrize("form", ["lora", "webui"])
def test_an_edit_is_exported_and_imported_again(capsys, made, tmp_path, form):
    path = tmp_path / ("fox.safetensors" if form == "webui" else "fox")
    said = printed(capsys, "export", made / "model", made / "weights", "--as", form, "--out", path)
    assert "0.0% of the norm of the change is lost" in said
    file = path if form == "webui" else path / "pytorch_lora_weights.safetensors"
    words = ("--concept", "fox", "--method", "uce", "--out", tmp_path / "again")
    assert "uce of fox" in printed(capsys, "import", made / "model", file, *words)
    words = ("--steps", 2, "--count", 1, "--out")
    printed(capsys, "generate", made / "model", "a fox", "--edit", made / "weights", *words, tmp_path / "edited")
    printed(capsys, "generate", made / "model", "a fox", "--edit", tmp_path / "again", *words, tmp_path / "from-file")
    ours, theirs = (pictures(tmp_path / name)["000-0.png"].astype(int) for name in ("edited", "from-file"))
    assert np.abs(ours - theirs).max() <= 1


def test_a_baked_model_has_the_precision_that_is_asked_for(capsys, made, tmp_path):
    from safetensors import safe_open

    printed(capsys, "bake", made / "model", made / "weights", "--out", tmp_path / "half", "--dtype", "float16")
    (weights,) = (tmp_path / "half/unet").glob("*.safetensors")
    with safe_open(weights, "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}


def test_every_method_is_listed_with_what_it_takes(capsys):
    from workbench.erasure import methods

    rows = json.loads(printed(capsys, "methods", "--json"))
    assert [row["method"] for row in rows] == sorted(methods())
    assert all(row["paper"] and row["family"] and row["models"] and row["cost"] and row["what"] for row in rows)
    (itd,) = (row for row in rows if row["method"] == "itd")
    assert itd["concepts need"] == ["retain or captions"] and "text-encoder features" in itd["what"]


def test_generated_images_depend_on_seed_and_prompt_and_on_the_edit(capsys, made, tmp_path):
    words = ("generate", made / "model", "a fox", "a dog", "--steps", 2)
    printed(capsys, *words, "--count", 2, "--out", tmp_path / "plain")
    printed(capsys, *words, "--count", 2, "--out", tmp_path / "edited", "--edit", made / "edit")
    printed(capsys, *words, "--count", 1, "--seed", 1, "--out", tmp_path / "one")
    plain, edited, one = (pictures(tmp_path / name) for name in ("plain", "edited", "one"))
    assert list(plain) == ["000-0.png", "000-1.png", "001-0.png", "001-1.png"]
    assert not np.array_equal(plain["000-0.png"], plain["000-1.png"])
    assert np.abs(plain["001-1.png"].astype(int) - one["001-1.png"]).max() <= 1  # made in another batch
    assert not np.array_equal(plain["000-0.png"], edited["000-0.png"])


def test_a_harvest_says_how_much_is_padding_or_was_left_out(capsys, made, tmp_path):
    """The prompts have 3 or 6 words, so with begin and end token 7 or 4 of 12 positions are padding: 11 of 24."""
    words = ("harvest", made / "model", "text.1", "--prompts-file", made / "prompts.txt", "--out")
    said = printed(capsys, *words, made / "store")
    assert "768 rows at text.1 (46% of them padding: --positions prompt leaves it out)" in " ".join(said.split())
    said = printed(capsys, *words, tmp_path / "content", "--positions", "content")
    assert "352 rows at text.1 (54% of its positions left out)" in " ".join(said.split())


def test_a_finished_harvest_and_training_are_opened_not_repeated(capsys, made):
    before = {
        path: path.stat().st_mtime_ns for name in ("store", "sae") for path in (made / name).glob("*.safetensors")
    }
    prompts = made / "prompts.txt"
    printed(capsys, "harvest", made / "model", "text.1", "--prompts-file", prompts, "--out", made / "store")
    from tests.cli.conftest import TRAIN

    assert "explained variance" in printed(capsys, "train", made / "store", "text.1", "--out", made / "sae", *TRAIN)
    assert before == {path: path.stat().st_mtime_ns for path in before}
