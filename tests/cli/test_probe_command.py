"""`workbench probe` on a tiny pipeline."""

import json

import pytest

from workbench.cli.main import main

HEADER = "prompt,role,expected,evaluation_seed"


@pytest.fixture
def suite(tmp_path):
    prompts = [f"a {colour} fox{end}" for colour in ("red", "blue") for end in ("", " a", " by", " dog", " bear")]
    rows = [f"{prompt},target,fox,{seed}" for seed, prompt in enumerate([*prompts, prompts[0]])]
    path = tmp_path / "suite.csv"
    path.write_text("\n".join([HEADER, *rows, "a dog,unrelated,dog,99"]) + "\n")
    return path


def told(capsys, *words):
    code = main(["probe", *map(str, words)])
    return code, capsys.readouterr()


def test_rows_for_programs_a_table_and_a_page_for_people(made, suite, capsys, tmp_path):
    model, page = made / "model", tmp_path / "map.html"
    common = (model, made / "fox.yaml", "--suite", suite)
    code, shown = told(capsys, *common, "--sites", "text.0", "--sites", "text.1", "--json")
    rows = json.loads(shown.out)
    assert code == 0 and [row["site"] for row in rows] == ["text.0", "text.1"]
    assert all(row["n"] == 20 and row["timestep"] is None and row["accuracy"] > 0.5 for row in rows)
    edited = (*common, "--edit", made / "weights", "--sites", "unet.mid", "--steps", 2, "--out", page)
    code, shown = told(capsys, *edited)
    assert code == 0 and "fox or cat" in shown.out and "uce" in shown.out.lower() and "after leace" in shown.out
    assert "unet.mid" in page.read_text() and "<h2>Accuracy by site and step" in page.read_text()
    code, shown = told(capsys, *edited)
    assert code == 1 and "exists already" in shown.err


def test_an_unknown_site_few_prompts_and_no_prompts_are_one_sentence(made, suite, capsys, tmp_path):
    common = (made / "model", made / "fox.yaml", "--sites")
    code, shown = told(capsys, *common, "text.7", "--suite", suite)
    assert code == 1 and "Unknown site 'text.7'" in shown.err
    few = tmp_path / "few.csv"
    few.write_text(f"{HEADER}\na fox,target,fox,0\n")
    code, shown = told(capsys, *common, "text.0", "--suite", few)
    assert code == 1 and "1 different pairs of prompts are too few" in shown.err
    (tmp_path / "dragon.yaml").write_text("dragon: {anchor: cat}\n")
    code, shown = told(capsys, made / "model", tmp_path / "dragon.yaml")
    assert code == 1 and "--suite" in shown.err
