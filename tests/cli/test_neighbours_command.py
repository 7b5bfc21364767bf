"""`workbench neighbours` on a tiny pipeline."""

import json

import pytest

from workbench.cli.main import main


@pytest.fixture
def concept(tmp_path):
    path = tmp_path / "fox.yaml"
    path.write_text("fox: {anchor: cat, synonyms: [vixen], retain: [dog, bear], templates: ['a {}']}\n")
    return str(path)


def told(capsys, *words):
    code = main(["neighbours", *map(str, words)])
    return code, capsys.readouterr()


def test_a_table_and_its_calibration_for_people_rows_for_programs(made, concept, capsys):
    code, shown = told(capsys, made / "model", concept, "--sae", made / "sae")
    assert code == 0 and "Neighbours of fox" in shown.out and "threshold" in shown.out
    code, shown = told(capsys, made / "model", concept, "--json")
    rows = json.loads(shown.out)
    assert code == 0 and {row["word"]: row["known"] for row in rows} == {"vixen": True, "dog": False, "bear": False}
    assert all(row["feature_overlap"] is None and row["raw_cosine"] <= 1 for row in rows)


def test_effects_are_compared_and_a_page_is_written_if_asked(made, concept, capsys, tmp_path):
    page = tmp_path / "page.html"
    code, shown = told(capsys, made / "model", concept, "--effects", "--out", page, "--json")
    assert code == 0 and all(-1 <= row["effect_overlap"] <= 1 for row in json.loads(shown.out))
    assert "shared effect" in page.read_text()
    code, shown = told(capsys, made / "model", concept, "--out", page)
    assert code == 1 and "exists" in shown.err


def test_candidates_come_from_a_file(made, concept, capsys, tmp_path):
    (tmp_path / "words.txt").write_text("cat\n\nred\n")
    code, shown = told(capsys, made / "model", concept, "--among", tmp_path / "words.txt", "--json")
    assert code == 0 and {row["word"] for row in json.loads(shown.out)} == {"vixen", "cat", "red"}
    code, shown = told(capsys, made / "model", concept, "--among", tmp_path / "none.txt")
    assert code == 1 and "none.txt" in shown.err
