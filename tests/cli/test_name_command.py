"""`workbench name` on a tiny pipeline: names land beside the weights, and are what the factors say."""

import json
import shutil

import pytest

from saes.names import read_names
from workbench.cli.main import main


@pytest.fixture
def sae(made, tmp_path):
    return shutil.copytree(made / "sae", tmp_path / "sae")


@pytest.fixture
def factors(tmp_path):
    path = tmp_path / "factors.csv"
    animals = ["fox", "cat", "dog", "bear"]
    lines = [f"{form} {animal},{int(animal == 'fox')}" for form in ("a", "a red", "two", "the") for animal in animals]
    path.write_text("prompt,fox\n" + "\n".join(lines) + "\n")
    return path


def told(capsys, *words):
    code = main(["name", *map(str, words)])
    return code, capsys.readouterr()


def test_features_are_named_beside_their_weights(made, sae, factors, capsys):
    code, shown = told(capsys, sae, "--model", made / "model", "--factors", factors, "--json", "--top", 500)
    rows = json.loads(shown.out)
    assert code == 0 and {row["factor"] for row in rows} == {"fox"}
    names = read_names(sae)
    assert names and {number: name.name for number, name in names.items()} == {
        row["feature"]: row["name"] for row in rows if row["name"]
    }
    assert all(bool(name.factor) == (name.precision > 0) for name in names.values())


def test_names_are_shown_only_if_asked(made, sae, factors, capsys):
    code, shown = told(capsys, sae, "--model", made / "model", "--factors", factors, "--no-write")
    told_in_one_line = " ".join(shown.out.split())  # the title holds a path, which may wrap it
    assert code == 0 and "detect best" in told_in_one_line and not read_names(sae)


@pytest.mark.parametrize("text", ["fox\n1\n", "prompt,fox\na fox,2\n", "prompt\na fox\n"])
def test_a_file_without_factors_is_refused(made, sae, factors, capsys, text):
    factors.write_text(text)
    code, shown = told(capsys, sae, "--model", made / "model", "--factors", factors)
    assert code == 1 and "does not hold factors" in shown.err
    code, shown = told(capsys, sae, "--model", made / "model", "--factors", factors.with_name("none.csv"))
    assert code == 1 and "does not exist" in shown.err


def test_a_factor_that_cannot_be_judged_is_refused_before_the_model_runs(made, sae, factors, capsys):
    factors.write_text("prompt,fox\na fox,1\na cat,0\na dog,0\na bear,0\n")
    code, shown = told(capsys, sae, "--model", made / "model", "--factors", factors)
    assert code == 1 and "no one has the factor 'fox'" in shown.err and "features by word" not in shown.err
