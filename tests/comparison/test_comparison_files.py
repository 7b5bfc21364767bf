"""Every file in `studies/comparisons` can be run: its concepts, methods and settings exist, and it asks a question."""

from pathlib import Path

import pytest

from workbench import toy
from workbench.cli.lookup import concepts_of
from workbench.comparison.jobs import jobs
from workbench.comparison.plan import read_comparison

FOLDER = Path(__file__).parents[2] / "studies" / "comparisons"
FILES = sorted(FOLDER.glob("*.yaml"))


def comparison(path):
    return read_comparison(path).comparison(concepts_of, lambda concept, per_role, seed: toy.suite(concept, 1, seed))


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    """Where files name others from."""
    monkeypatch.chdir(FOLDER.parents[1])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_names_existing_concepts_methods_and_settings(path):
    made, said = comparison(path), read_comparison(path)
    assert said.model == "toy" and said.question.endswith("?")
    assert len(made.methods) > 2 and len({repr(method) for method in made.methods.values()}) == len(made.methods)
    assert len({job.condition for job in jobs(made) if made.concepts[0] in job.concepts}) == sum(
        {"single": 1, "joint": 1, "ordered": 2}[way] * len(made.methods) for way in made.ways
    )
    for method in made.methods.values():
        assert "sd1" in method.supports.kinds
        for concept in made.concepts:
            needs = [need.split("|") for need in method.supports.needs]
            assert all(any(getattr(concept, field) for field in fields) for fields in needs)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_how_it_is_run_and_makes_200_images_a_cell(path):
    first = path.read_text().splitlines()[0].removesuffix(" --attacks toy")
    assert first == f"# workbench compare studies/comparisons/{path.name} --out out/{path.stem}"
    plan = read_comparison(path)
    roles = min(len({row.role for row in toy.suite(one, 1, 0).rows}) for one in concepts_of(list(plan.concepts)))
    assert plan.per_role * roles >= 200


def test_the_closed_form_family_is_compared_and_its_parts_are_taken_away():
    whole = comparison(FOLDER / "closed-form.yaml")
    assert list(whole.methods) == ["ItD", "UCE", "RECE", "TRCE", "TRCE, stage 1", "RealEra (reconstructed)"]
    assert {concept.kind for concept in whole.concepts} == {"object", "style", "character", "unsafe"}
    assert any(concept.implied for concept in whole.concepts)
    assert len(comparison(FOLDER / "ten-at-once.yaml").concepts) == 10
    assert {path.stem for path in FILES} >= {"rece-rounds", "realera-parts", "trce-stages", "order"}


def test_the_ways_to_use_an_autoencoder_are_compared_on_an_object_a_style_and_a_character():
    made = comparison(FOLDER / "deactivation.yaml")
    homes = {type(method).__module__.rpartition(".")[2] for method in made.methods.values()}
    assert homes == {"itd", "detect_replace", "saeuron", "steerer"}
    assert {concept.kind for concept in made.concepts} == {"object", "style", "character"}


@pytest.mark.parametrize(
    "stem", ["five-at-once", "ten-at-once", "implied", "implicit-concepts", "deactivation", "all-told"]
)
def test_a_row_of_the_same_name_has_the_settings_of_the_comparison_of_all(stem):
    whole, own = (read_comparison(path).methods for path in (toy.all_methods(), FOLDER / f"{stem}.yaml"))
    shared = [name for name in own if name in whole]
    assert shared and not [name for name in shared if own[name].made(name) != whole[name].made(name)]
