"""Study files are read strictly; what cannot be tested is named before anything is loaded."""

from dataclasses import replace
from pathlib import Path

import pytest

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.studies.hypothesis import Study, StudyFile
from workbench.studies.reading import read_study
from workbench.studies.subjects import Features
from workbench.studies.traced import TraceFile

TEXT = """
question: Is it?
model: toy
concept: fox
sparing: [cat, dog]
claim: necessary
subject:
  features: {sae: toy/text.2, listed: [3, 5]}
prompts: [a red fox, "the blue fox"]
doses: [0.5, 1]
"""
TRACE = "question: Where?\nmodel: toy\nconcept: fox\nsparing: [cat, dog]\nclaim: traced\nsites: [text.1]\nprompts: 3\n"
KNOWN = {
    "fox": Concept("fox", retain=["cat"], templates=["a {}"]),
    "cat": Concept("cat", retain=["fox"], templates=["a {}"]),
}


def written(folder: Path, text: str) -> Path:
    (folder / "study.yaml").write_text(text)
    return folder / "study.yaml"


def made(folder: Path, text: str = TEXT) -> Study:
    said = read_study(written(folder, text))
    assert isinstance(said, StudyFile)
    return said.study(lambda word: KNOWN[word], lambda concept, n, seed: [f"{i} {concept.name}" for i in range(n)])


def test_a_file_becomes_a_study(tmp_path):
    study = made(tmp_path)
    assert (study.claim, study.concept, study.sparing) == ("necessary", KNOWN["fox"], ("cat", "dog"))
    assert study.subject.features == Features(sae="toy/text.2", listed=(3, 5)) and study.all_doses == (0.5, 1.0)
    assert study.prompts == ("a red fox", "the blue fox") and study.source is study.concept


def test_a_number_of_prompts_is_drawn_without_those_that_find_the_subject(tmp_path):
    text = TEXT.replace('[a red fox, "the blue fox"]', "4").replace("listed: [3, 5]", "of: cat")
    study = made(tmp_path, text)
    assert study.prompts == tuple(f"{i} fox" for i in range(4)) and study.found_for is KNOWN["cat"]
    said = read_study(tmp_path / "study.yaml")
    known = [*KNOWN["fox"].prompts(), *KNOWN["fox"].prompts(), "one fox", "two fox", "one fox"]
    with pytest.raises(WorkbenchError, match="Only 2 held-out prompts of 'fox' were found, and 4 are asked for"):
        said.study(lambda word: KNOWN[word], lambda concept, n, seed: known)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("doses", "dozes", "Unknown key 'dozes'. Did you mean 'doses'"),
        ("claim: necessary", "claim: neccessary", "claim"),
        ("question: Is it?\n", "", "question"),
        ("listed: [3, 5]", "listed: [three]", "listed"),
        ("listed: [3, 5]", "list: [3, 5]", "list"),
        ("{sae: toy/text.2, listed: [3, 5]}", "{sae: toy/text.2}", "neither listed nor those of a concept"),
        (
            "{sae: toy/text.2, listed: [3, 5]}",
            "{sae: toy/text.2, listed: [3, 5]}\n  layers: [text.1]",
            "features and la",
        ),
        ("features: {sae: toy/text.2, listed: [3, 5]}", "layers: []", "The subject names nothing"),
        ("a red fox", "a fox", "1 held-out prompts also find the subject, first 'a fox'"),
        ("a red fox", "a red dog", "'a red dog' names 'fox' not"),
        ("a red fox", "a fox and a fox", "2 times"),
        ("a red fox, ", "", "1 held-out prompts. Give at least 2"),
        ("[cat, dog]", "[]", "spares nothing"),
        ("[cat, dog]", "[cat, Fox]", "spares 'Fox', which it is about"),
        ("[cat, dog]", "[cat, ' ']", "`sparing` has an empty entry"),
        ("[0.5, 1]", "[0, 1]", "doses is"),
        ("doses", "smallest: 1.5\ndoses", "smallest is 1.5"),
        ("doses", "alpha: 0\ndoses", "alpha is 0"),
        ("doses", "controls: 0\ndoses", "controls is 0"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, old, new, says):
    assert old in TEXT
    with pytest.raises(WorkbenchError) as error:
        made(tmp_path, TEXT.replace(old, new))
    assert says in str(error.value)


def test_a_subject_that_is_looked_for_needs_the_concept_that_finds_it(tmp_path):
    study = made(tmp_path, TEXT.replace("listed: [3, 5]", "of: cat"))
    with pytest.raises(WorkbenchError, match="The subject belongs to 'cat', but prompts of 'fox' would find it"):
        replace(study, found_for=None)


def test_a_trace_is_read_by_its_claim(tmp_path):
    said = read_study(written(tmp_path, TRACE))
    assert isinstance(said, TraceFile)
    ready = said.with_prompts(lambda word: KNOWN[word], lambda concept, n, seed: ["a fox", "x fox", "y fox", "z fox"])
    assert ready.prompts == ("x fox", "y fox", "z fox")
    with pytest.raises(WorkbenchError, match=r"Did you mean .*'sites'"):
        read_study(written(tmp_path, TRACE.replace("sites", "stes")))


@pytest.mark.parametrize("of", ["own.yaml", "lion"])
def test_the_own_concept_of_a_study_may_be_described_in_a_file(of, tmp_path):
    lion = Concept("lion", retain=["cat"], templates=["a {}"])
    text = TEXT.replace("concept: fox", "concept: own.yaml").replace("listed: [3, 5]", f"of: {of}, top: 2")
    said = read_study(written(tmp_path, text.replace('[a red fox, "the blue fox"]', "[a red lion, the blue lion]")))
    study = said.study({"own.yaml": lion}.__getitem__, lambda concept, n, seed: [])
    assert study.concept is study.source is lion
    assert study.subject.of == "lion"


def test_features_of_another_concept_may_be_looked_for_in_its_file(tmp_path):
    text = TEXT.replace("listed: [3, 5]", "of: own.yaml, top: 2")
    known = {**KNOWN, "own.yaml": Concept("lion", retain=["cat"], templates=["a {}"])}
    study = read_study(written(tmp_path, text)).study(known.__getitem__, lambda concept, n, seed: [])
    assert (study.concept.name, study.source.name, study.subject.of) == ("fox", "lion", "lion")
