"""`workbench protocols` and `workbench protocol`, on a tiny random model with a judge that goes by the prompt."""

import json

import pytest

from tests.safety.small import Words
from workbench.cli.main import main
from workbench.judges import JUDGES

GRID = """
about: Two objects.
source: made up
figures: erased
reads: found
judge: one that goes by words
judges: [words]
domains: {object: [fox, cat, dog]}
prompts: ["a red {object}", "a blue {object}"]
seeds: 2
sampling: {steps: 2}
"""


class Named(Words):
    """Finds what the prompt names."""

    @property
    def concepts(self):
        return dict.fromkeys(("fox", "cat", "dog"), "object")

    def _finds(self, name, prompt):
        return float(name in prompt)


@pytest.fixture(autouse=True)
def listed(monkeypatch, tmp_path):
    monkeypatch.setattr(Named, "load", classmethod(lambda kind, argument: kind()), raising=False)
    monkeypatch.setitem(JUDGES, "words", f"{Named.__module__}:{Named.__name__}")
    (tmp_path / "grid.yaml").write_text(GRID)


def told(capsys, *words):
    code = main([str(word) for word in words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_protocols_are_listed_and_shown(capsys):
    code, out, _ = told(capsys, "protocols", "--json")
    names = {row["protocol"] for row in json.loads(out)}
    assert code == 0 and {"unlearncanvas", "hub", "i2p", "toy-sequential", "toy-unlearncanvas"} <= names
    code, out, _ = told(capsys, "protocols", "toy-hub", "--json")
    assert json.loads(out)[0]["near"]["cat"] == ["fox"]
    code, _, error = told(capsys, "protocols", "unlearncanvs")
    assert code == 1 and "unlearncanvas" in error


def test_a_protocol_runs_on_an_edit_and_is_continued(made, tmp_path, capsys):
    words = ("protocol", made / "model", tmp_path / "grid.yaml", "--edit", made / "weights", "--out", tmp_path / "out")
    code, out, error = told(capsys, *words, "--json")
    assert code == 0, error
    rows = {(row["condition"], row["figure"]): row for row in json.loads(out)}
    assert rows["uce", "1 − acc_e"]["value"] == 0 and rows["uce", "acc_s"]["value"] == 1
    assert rows["uce", "acc_s"]["n"] == 2 * 2 * 2 and rows["uce", "acc_s"]["prompts"] == 4
    assert (tmp_path / "out" / "figures.csv").is_file()
    code, out, error = told(capsys, *words)
    assert code == 0 and "acc s" in out
    card = ("card", made / "weights", "--run", tmp_path / "out", "--out", tmp_path / "card")
    code, out, error = told(capsys, *card)
    assert code == 0 and "card.json: 2 figures by 1 judges" in out, error
    code, _, error = told(capsys, *words, "--set", "steps=3")
    assert code == 1 and "settings differ" in error


def test_what_cannot_be_run_is_refused_in_a_sentence(made, tmp_path, capsys):
    model, edit = made / "model", ("--edit", made / "weights")
    code, _, error = told(capsys, "protocol", model, "i2p", *edit, "--out", tmp_path / "a")
    assert code == 1 and "needs a list" in error
    code, _, error = told(capsys, "protocol", model, "mace-objects", *edit, "--out", tmp_path / "b")
    assert code == 1 and "fox" in error, "the edit erases what the protocol does not ask"
    code, _, error = told(capsys, "protocol", model, tmp_path / "grid.yaml", "--out", tmp_path / "c")
    assert code == 1 and "Nothing is erased" in error
    words = ("protocol", model, "mace-objects", "--target", "cat", "--out", tmp_path / "d")
    code, _, error = told(capsys, *words)
    assert code == 1 and "Nobody judges" in error and not (tmp_path / "d").exists()
