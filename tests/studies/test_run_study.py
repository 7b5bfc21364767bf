"""A whole study on a tiny pipeline: folder, continuation, report; and the toy's true and false hypotheses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saes.errors import WorkbenchError
from tests.evaluation.small import Brightness
from workbench.concepts import Concept
from workbench.evaluation.runs import Run
from workbench.reports.studying import study_report
from workbench.studies.hypothesis import Study
from workbench.studies.study import StudyResult, run_study
from workbench.studies.subjects import Subject

ROOT = Path(__file__).parents[2]
FOX = Concept("fox", retain=["cat", "dog"], templates=["a photo of a {}", "{}"])
STUDY = Study(
    claim="necessary", concept=FOX, subject=Subject(layers=("text.0",)), sparing=["cat"], controls=1,
    prompts=["a red fox", "the blue fox"], question="Is <it> so?", doses=[0.5],
)  # fmt: skip


@pytest.fixture(scope="module")
def result(tiny_sd1, tmp_path_factory):
    return run_study(tiny_sd1, STUDY, Brightness(), tmp_path_factory.mktemp("study") / "out")


def test_a_study_folder_is_a_run_folder_with_all_conditions(result):
    run = Run.open(result.run.dir)
    assert run.spec.question == "Is <it> so?"
    assert list(run.spec.trials[0].conditions) == [
        "unedited", "no-op", "dose 0.5", "dose 1", "random 1, dose 0.5", "random 1, dose 1",
    ]  # fmt: skip
    np.testing.assert_array_equal(run.images("no-op"), run.images("unedited"))
    assert not np.array_equal(run.images("dose 1"), run.images("unedited"))
    assert [part["words"] for part in result.parts] == ["layer text.0", "layer text.1"]
    assert result.verdict.outcome in ("not supported", "undecided")  # brightness never goes away
    again = StudyResult.open(run.dir)
    assert again.effects.equals(result.effects) and again.verdict == result.verdict and again.study == result.study


def test_a_study_goes_on_where_it_stopped(tiny_sd1, result):
    run = result.run
    before = {path: path.stat().st_mtime_ns for path in run.dir.rglob("*.png")}
    lost = sorted(before)[3]
    lost.unlink()
    (run.dir / "study.json").unlink()
    again = run_study(tiny_sd1, STUDY, Brightness(), run.dir)
    after = {path: path.stat().st_mtime_ns for path in run.dir.rglob("*.png")}
    assert {path for path in after if after[path] != before[path]} == {lost}
    assert again.verdict == result.verdict


def test_a_study_that_is_not_finished_is_named(result, tmp_path):
    with pytest.raises(WorkbenchError, match="holds no finished study"):
        StudyResult.open(tmp_path)


def test_a_folder_holds_one_study(tiny_sd1, result):
    with pytest.raises(WorkbenchError, match="holds another run"):
        run_study(tiny_sd1, replace(STUDY, seed=3), Brightness(), result.run.dir)
    assert StudyResult.open(result.run.dir).verdict == result.verdict


def test_a_concept_that_the_judge_does_not_know_is_named_before_any_picture(tiny_sd1, tmp_path):
    with pytest.raises(WorkbenchError, match="Unknown concept of the judge brightness 'elk'"):
        run_study(tiny_sd1, replace(STUDY, sparing=["elk"]), Brightness(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "told", [{"sparing": ["cat", "CAT"]}, {"prompts": ["a red fox", "a  red fox"]}, {"prompts": ["a fox", "A FOX"]}]
)
def test_sentences_that_the_model_reads_alike_are_refused_before_any_picture(tiny_sd1, tmp_path, told):
    class Knowing(Brightness):
        concepts = {**Brightness.concepts, "CAT": "object"}  # noqa: RUF012

    asked = replace(STUDY, concept=replace(FOX, templates=["a photo of a {}"]), **told)
    with pytest.raises(WorkbenchError, match="The model reads"):
        run_study(tiny_sd1, asked, Knowing(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_report_shows_every_condition_and_the_verdict(result, tmp_path):
    page = study_report(result, tmp_path / "page.html").read_text()
    head = page[page.index("<main>") :]
    assert "Is &lt;it&gt; so?" in head and result.verdict.outcome.capitalize() in head
    for name in result.run.spec.trials[0].conditions:
        assert f'<span class="name">{name}</span>' in head
    assert head.count("<img ") == 2 * 6 and "layer text.1 (random)" in head
    assert all(f'id="chart-{name}"' in head for name in ("tests", "effects", "doses"))
    assert "http" not in head.replace("https://doi", "").replace("https://arxiv", "").replace("https://www.jstor", "")


def test_a_study_with_one_dose_which_is_the_default_has_a_report_without_a_curve(tiny_sd1, tmp_path):
    result = run_study(tiny_sd1, replace(STUDY, doses=()), Brightness(), tmp_path / "out")
    page = study_report(result, tmp_path / "page.html").read_text()
    assert 'id="chart-effects"' in page and 'id="chart-doses"' not in page and 'href="#doses"' not in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stem", "outcome"), [("fox-necessary", "supported"), ("mug-necessary-for-fox", "not supported")]
)
def test_on_the_toy_a_true_hypothesis_is_supported_and_a_false_one_is_not(tmp_path, stem, outcome):
    import workbench as wb
    from workbench import toy
    from workbench.cli.lookup import held_out
    from workbench.studies.reading import read_study

    asked = read_study(ROOT / "studies" / f"{stem}.yaml").study(lambda word: toy.contrasts()[word], held_out)
    asked = replace(asked, doses=(), controls=2)
    found = run_study(wb.load("toy"), asked, toy.Oracle.load(), tmp_path)
    assert found.verdict.outcome == outcome, found.verdict.sentence
