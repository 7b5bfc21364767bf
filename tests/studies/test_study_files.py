"""Every file in `studies/` is a hypothesis (or a trace) that can be built, and says how it is run."""

from functools import cache
from pathlib import Path

import pytest

import workbench as wb
from workbench import toy
from workbench.cli.lookup import held_out
from workbench.studies.agreement import AgreementFile
from workbench.studies.hypothesis import StudyFile
from workbench.studies.reading import read_study

FILES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


@cache
def loaded(name):
    return wb.load(name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_can_be_built_and_names_sites_that_exist(path):
    said, known = read_study(path), toy.concepts()
    if isinstance(said, AgreementFile):
        about = said.asked_of(lambda word: known[word], held_out)
        assert list(about) == list(said.concepts) and (about.sum() >= said.prompts).all() and about.index.is_unique
        assert {loaded(side.model).kind for side in (said.first, said.second)} == {"sd1", "janus"}
        return
    model = loaded(said.model)
    assert said.question.endswith("?") and said.concept in known
    assert set(said.sparing) <= set(known)
    assert path.read_text().startswith(f"# workbench study run studies/{path.name} --out out/studies\n")
    if not isinstance(said, StudyFile):
        assert len(said.with_prompts(lambda word: known[word], held_out).prompts) == said.prompts
        assert set(said.sites) <= set(model.sites())
        return
    study = said.study(lambda word: known[word], held_out)
    assert len(study.prompts) == said.prompts >= 20 and study.controls >= 2
    assert not set(study.prompts) & study.finding_prompts()
    layers = {f"{alias}.heads" for alias in study.subject.heads} | set(study.subject.layers)
    layers |= {study.subject.direction.site} if study.subject.direction else set()
    assert layers <= set(model.sites())


def test_there_is_a_study_of_every_claim_and_of_every_kind_of_subject_and_a_false_one():
    said = [read_study(path) for path in FILES]
    studies = [one for one in said if isinstance(one, StudyFile)]
    assert {one.claim for one in said} == {"necessary", "sufficient", "specific", "traced", "agree"}
    assert {one.subject.kind for one in studies} == {"features", "heads", "layers", "direction"}
    assert any(one.subject.of not in ("", one.concept) for one in studies)
