"""The commands that look inside, on a Janus."""

import json

import pytest

from tests.models.janus.test_general import weight_edit
from tests.tiny_janus import save_tiny_janus
from workbench.cli.main import main
from workbench.models import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_janus(tmp_path_factory.mktemp("inside") / "janus")


@pytest.fixture(scope="module")
def edit(folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("edits") / "moved"
    weight_edit(load(folder)).save(made)
    return made


def told(capsys, *words):
    capsys.readouterr()
    code = main([str(word) for word in words])
    return code, capsys.readouterr()


def test_a_page_of_the_lens(capsys, folder, edit, tmp_path):
    out = tmp_path / "lens.html"
    words = (
        "lens",
        folder,
        "--prompt",
        "a fox",
        "--prompt",
        "a red cat",
        "--seeds",
        1,
        "--reads",
        "cond",
        "--edit",
        edit,
    )
    code, said = told(capsys, *words, "--set", "temperature=0.5", "--out", out)
    page = out.read_text()
    assert code == 0 and str(out) in said.out and "Predictions of the row of the prompt" in page
    assert all(f"<h2>{part}" in page for part in ("Agreement with the end", "What each layer", "How deep", "KL to"))
    assert "other_picture" in page and "lm.in" in page
    code, said = told(capsys, *words, "--out", out)
    assert code == 1 and "exists already" in said.err


def test_a_lens_without_a_control_or_on_another_model_is_one_sentence(capsys, folder, tmp_path):
    code, said = told(capsys, "lens", folder, "--prompt", "a fox", "--out", tmp_path / "lens.html")
    assert code == 1 and "all prompts are one" in said.err
    words = ("lens", "toy", "--prompt", "a fox", "--prompt", "a cat", "--out", tmp_path / "lens.html")
    code, said = told(capsys, *words)
    assert code == 1 and "needs a model that writes pictures token by token, and toy is none" in said.err


def test_probes_by_layer_and_part(capsys, folder, tmp_path):
    prompts = [f"a {colour} fox{end}" for colour in ("red", "blue") for end in ("", " a", " by", " dog", " bear")]
    suite, concept, page = tmp_path / "suite.csv", tmp_path / "fox.yaml", tmp_path / "map.html"
    rows = [f"{prompt},target,fox,{seed}" for seed, prompt in enumerate(prompts)]
    suite.write_text("\n".join(["prompt,role,expected,evaluation_seed", *rows]) + "\n")
    concept.write_text("fox: {anchor: cat}\n")
    words = ("probe", folder, concept, "--suite", suite, "--sites", "lm.0", "--sites", "lm.1", "--json", "--out", page)
    code, said = told(capsys, *words)
    found = json.loads(said.out)
    assert code == 0 and {row["part"] for row in found} == {"text", "begin of image", "picture"}
    assert {row["site"] for row in found} == {"lm.0", "lm.1"} and "row of the picture" in page.read_text()
    code, said = told(capsys, *words[:-2], "--steps", 4)
    assert code == 1 and "Unknown sampling setting 'steps'" in said.err


def test_a_page_of_what_an_edit_changes(capsys, folder, edit, tmp_path):
    out = tmp_path / "inside.html"
    code, said = told(capsys, "inside", folder, edit, "--prompt", "a red fox", "--seeds", 1, "--out", out)
    page = out.read_text()
    assert code == 0 and str(out) in said.out
    assert all(f"<h2>{part}" in page for part in ("Change by layer", "Attention to each token"))
    assert "random control" in page and "lm.norm" in page and "row of the picture" in page
