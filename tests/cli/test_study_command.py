"""`workbench study` from files to verdicts and reports; what is wrong with a file is one sentence."""

import json
import re

import pytest

from tests.evaluation.small import Brightness
from workbench.cli.main import main

TRACE = """
question: Where?
model: {made}/model
concept: {made}/fox.yaml
sparing: [cat, dog]
claim: traced
sites: [text.1, unet.out]
prompts: [a red fox, the blue fox]
steps: 2
"""
STUDY = """
question: Is it?
model: {made}/model
concept: {made}/fox.yaml
sparing: [cat]
claim: necessary
subject: {{layers: [text.0]}}
prompts: [a red fox, the blue fox]
"""


def file(folder, name, text, made):
    path = folder / f"{name}.yaml"
    path.write_text(text.format(made=made))
    return str(path)


def test_a_trace_is_run_reported_and_reported_again(made, tmp_path, capsys):
    words = ["study", "run", file(tmp_path, "where", TRACE, made), "--out", str(tmp_path / "out"), "--json"]
    assert main(words) == 0
    shown = capsys.readouterr()
    (row,) = json.loads(shown.out)
    assert (row["study"], row["verdict"]) == ("where", "traced") and "unet.out" in row["what it rests on"]
    page = tmp_path / "out/where/report.html"
    assert str(page) in shown.err and page.exists()
    page.unlink()
    assert main(["study", "report", str(tmp_path / "out/where"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [row] and page.exists()


def test_a_finished_study_is_reported_again(tiny_sd1, tmp_path, capsys):
    from tests.studies.test_run_study import STUDY as asked
    from workbench.studies.study import run_study

    result = run_study(tiny_sd1, asked, Brightness(), tmp_path / "mine")
    assert main(["study", "report", str(tmp_path / "mine"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {"study": "mine", "verdict": result.verdict.outcome, "what it rests on": result.verdict.sentence}
    assert (tmp_path / "mine/report.html").exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("layers: [text.0]", "layers: [text.7]", "Unknown site 'text.7'. Did you mean 'text"),
        ("layers: [text.0]", "layers: [text.0, text.1]", "No control is possible"),
        ("layers: [text.0]", "features: {{sae: toy/text.2, listed: [3]}}", "trained on a model of other weights"),
        ("layers: [text.0]", "features: {{sae: {made}/sae, listed: [64]}}", "has features 0 to 63"),
        ("layers: [text.0]", "features: {{sae: {made}/sae, of: foxx}}", "Unknown concept 'foxx'"),
        ("a red fox", "a photo of a fox", "1 held-out prompts also find the subject"),
        ("claim: necessary", "claim: necesary", "claim: Input should be 'necessary'"),
    ],
)
def test_what_is_wrong_with_a_study_is_one_sentence_and_no_picture_is_made(made, tmp_path, capsys, old, new, says):
    assert old in STUDY
    path = file(tmp_path, "study", STUDY.replace(old, new), made)
    code = main(["study", "run", path, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 1 and re.search(says, said) and "Traceback" not in said
    assert not list((tmp_path / "out").rglob("*.png"))


def test_two_files_of_one_name_are_refused_before_work(made, tmp_path, capsys):
    (tmp_path / "a").mkdir()
    paths = [file(folder, "same", TRACE, made) for folder in (tmp_path, tmp_path / "a")]
    assert main(["study", "run", *paths, "--out", str(tmp_path / "out")]) == 1
    assert "Two study files have one name" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_folder_without_a_study_is_named(made, capsys):
    assert main(["study", "report", str(made / "sae")]) == 1
    assert "holds no finished study" in capsys.readouterr().err
