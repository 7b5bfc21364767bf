"""Every file in `studies/comparisons` can be run: its concepts, methods and settings exist, and it asks a question."""

from dataclasses import replace
from pathlib import Path

import pytest

import workbench as wb
from tests.attacks.small import Always
from workbench import toy
from workbench.cli.lookup import concepts_of
from workbench.comparison.compare import compare
from workbench.comparison.jobs import jobs
from workbench.comparison.plan import read_comparison
from workbench.comparison.subjects import Subject

FOLDER = Path(__file__).parents[2] / "studies" / "comparisons"
KINDS = {"toy": "sd1", "toy-janus": "janus"}
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
    assert said.model in KINDS and said.question.endswith("?")
    assert len(made.methods) > 2 and len({repr(method) for method in made.methods.values()}) == len(made.methods)
    assert len({job.condition for job in jobs(made) if made.concepts[0] in job.concepts}) == sum(
        {"single": 1, "joint": 1, "ordered": 2}[way] * len(made.methods) for way in made.ways
    )
    for method in made.methods.values():
        assert KINDS[said.model] in method.supports.kinds
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
    "stem",
    ["five-at-once", "ten-at-once", "implied", "implicit-concepts", "deactivation", "all-told", "janus-diffusion"],
)
def test_a_row_of_the_same_name_has_the_settings_of_the_comparison_of_all(stem):
    whole, own = (read_comparison(path).methods for path in (toy.all_methods(), FOLDER / f"{stem}.yaml"))
    shared = [name for name in own if name in whole]
    assert shared and not [name for name in shared if own[name].made(name) != whole[name].made(name)]


@pytest.mark.parametrize(
    ("stem", "setting", "values"),
    [
        ("ear-windows", "window", [3, 6, 12, 24, 72, 144]),
        ("ear-thresholds", "threshold", [0.0, 0.05, 25.0, 40.0, 55.0, 75.0]),
    ],
)
def test_an_ablation_of_ear_turns_one_setting_alone(stem, setting, values):
    made = comparison(FOLDER / f"{stem}.yaml")
    assert [getattr(method, setting) for method in made.methods.values()] == values
    assert [float(name.removeprefix("EAR @ ")) for name in made.methods] == values
    assert len({replace(method, **{setting: values[0]}) for method in made.methods.values()}) == 1
    for method in made.methods.values():
        method._check(wb.load("toy-janus", device="cpu"))


def test_the_parts_of_ear_are_as_strict_for_a_token():
    both, wga, tlm, neither, forgetful, wga_forgetful = comparison(FOLDER / "ear-parts.yaml").methods.values()
    assert wga == replace(both, threshold=0.0) and neither == replace(tlm, threshold=0.0)
    assert (tlm.window, tlm.threshold * both.window) == (1, both.threshold)
    assert forgetful == replace(both, context="none") and wga_forgetful == replace(wga, context="none")


def test_both_kinds_of_model_are_asked_the_same():
    written, denoised = (read_comparison(FOLDER / f"{stem}.yaml") for stem in ("janus", "janus-diffusion"))
    assert (written.model, denoised.model) == ("toy-janus", "toy") and len(written.concepts) >= 6
    for name in ("concepts", "per_role", "seed", "fit_seeds", "told", "ways"):
        assert getattr(written, name) == getattr(denoised, name)
    assert [entry.method for entry in written.methods.values()] == [
        "negative_prompt", "itd", "detect_replace", "steerer", "saeuron", "ear",
    ]  # fmt: skip
    assert list(written.methods)[:5] == list(denoised.methods)[:5]


@pytest.mark.slow
def test_an_ablation_of_ear_starts_on_the_toy_janus(tmp_path):
    """Two of its rows on one concept, one picture visited and one prompt a role, before a judge whom all satisfies."""
    made = comparison(FOLDER / "ear-parts.yaml")
    rows = {name: made.methods[name] for name in ("WGA and TLM", "WGA and TLM, no context")}
    small = replace(
        made, methods={name: replace(method, visits=1) for name, method in rows.items()}, chosen_on={},
        subjects=[Subject(made.concepts[0], toy.suite(made.concepts[0], 1, 0))],
    )  # fmt: skip
    judge = Always(True)
    object.__setattr__(judge, "concepts", toy.Oracle.load().concepts)
    run = compare(wb.load("toy-janus", device="cpu"), small, judge, tmp_path / "run")
    assert {*rows} < {*run.records()["condition"]}
