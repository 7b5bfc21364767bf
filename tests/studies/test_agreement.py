"""Features of two models as a study: from a file to a table that is kept, a page, and refusals."""

import pandas as pd
import pytest

from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae, save_tiny_sae
from workbench.concepts import Concept
from workbench.interpret.cross_model import features_agree
from workbench.reports.agreeing import agreement_report
from workbench.studies.agreement import AgreementFile, AgreementResult, Side, run_agreement

TEMPLATES = ("a {}", "a red {}", "a blue {}", "a photo of a {}", "a photo of a red {}", "a photo of a blue {}")


def held_out(concept, n, seed):
    return [template.format(concept.name) for template in TEMPLATES][:n]


@pytest.fixture
def said(tiny_janus, tiny_sd1, tmp_path):
    first = save_tiny_sae(random_sae(tiny_sd1, "text.0"), tmp_path / "first")
    second = save_tiny_sae(random_sae(tiny_janus, "lm.1"), tmp_path / "second")
    return AgreementFile(
        question="Do they?", claim="agree", first=Side(model="one", sae=first), second=Side(model="two", sae=second),
        concepts=("fox", "cat"), prompts=6, per_concept=2,
    )  # fmt: skip


def test_a_study_is_that_of_the_function_kept_and_told(said, tiny_janus, tiny_sd1, tmp_path):
    about = said.asked_of(Concept, held_out)
    assert about["fox"].tolist() == [True] * 6 + [False] * 6 and about.index[0] == "a fox"
    result = run_agreement(tiny_sd1, tiny_janus, said, about, tmp_path / "study")
    sides = (tiny_sd1, said.first.sae), (tiny_janus, said.second.sae)
    expected = features_agree(*sides, list(about.index), about.reset_index(drop=True), per_concept=2)
    pd.testing.assert_frame_equal(result.table, expected, check_dtype=False)
    assert f"for {(expected['difference_low'] > 0).sum()} of 2 concepts" in result.sentence
    assert AgreementResult.open(tmp_path / "study").asked == result.asked
    page = agreement_report(result, tmp_path / "page.html").read_text()
    assert result.sentence in page and "Do one and two have the same features?" in page


def test_a_folder_holds_one_study(said, tiny_janus, tiny_sd1, tmp_path):
    about = said.asked_of(Concept, held_out)
    run_agreement(tiny_sd1, tiny_janus, said, about, tmp_path / "study")
    with pytest.raises(WorkbenchError, match="holds another study"):
        run_agreement(tiny_sd1, tiny_janus, said.model_copy(update={"seed": 1}), about, tmp_path / "study")


def test_a_prompt_is_about_every_concept_that_it_names(said):
    about = said.asked_of(Concept, lambda concept, n, seed: [f"{word} a {concept.name}" for word in ("see", "a fox and",
                                                              "my", "one", "two", "three")])  # fmt: skip
    assert about.loc["a fox and a cat"].tolist() == [True, True] and about.loc["see a cat"].tolist() == [False, True]
