"""A comparison is read strictly, and refuses what would not compare anything."""

import pytest

from saes.errors import WorkbenchError
from tests.comparison.small import CAT, FOX, SUBJECTS, suite
from workbench.comparison.plan import ALL_TOLD, Comparison, read_comparison
from workbench.comparison.subjects import Subject
from workbench.erasure.uce import UCE

TEXT = """
question: Does more damping spare more?
model: toy
concepts: [fox, cat]
methods:
  UCE: {method: uce}
  damped: {method: uce, damping: 2}
ways: [single, joint]
per_role: 3
seed: 5
"""
KNOWN = {"fox": FOX, "cat": CAT}


def read(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    plan = read_comparison(tmp_path / "study.yaml")
    return plan.comparison(
        lambda words: [KNOWN[word] for word in words], lambda concept, per_role, seed: suite(concept.name, "wolf")
    )


def test_a_file_becomes_methods_with_their_settings(tmp_path):
    comparison = read(tmp_path, TEXT)
    assert comparison.methods == {"UCE": UCE(), "damped": UCE(damping=2.0)}
    assert comparison.concepts == (FOX, CAT) and comparison.seed == 5
    assert comparison.ways == ("single", "joint") and comparison.question.startswith("Does more damping")


def test_conditions_of_reconstructions_are_marked_and_lead_to_their_methods(tmp_path):
    text = TEXT.replace(
        "damped: {method: uce, damping: 2}", "mined: {method: realera}\n  abo @ 3: {method: all_but_one}"
    )
    names = ["UCE", "mined (reconstructed)", "abo (reconstructed) @ 3"]
    assert list(read(tmp_path, text).methods) == names
    methods = ["uce", "realera", "all_but_one"]
    assert read_comparison(tmp_path / "study.yaml").conditions == dict(zip(names, methods, strict=True))


def test_the_suites_get_the_prompts_per_role_and_the_seed(tmp_path):
    (tmp_path / "study.yaml").write_text(TEXT)
    asked = []
    read_comparison(tmp_path / "study.yaml").comparison(
        lambda words: [KNOWN[word] for word in words],
        lambda concept, per_role, seed: asked.append((concept.name, per_role, seed)) or suite(concept.name, "wolf"),
    )
    assert asked == [("fox", 3, 5), ("cat", 3, 5)]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("per_role", "per_rol", "Unknown key 'per_rol'. Did you mean 'per_role'"),
        ("method: uce, damping: 2", "method: uec", "Unknown method 'uec'. Did you mean 'uce'"),
        ("damping: 2", "dampign: 2", "method damped: Unknown key 'dampign'. Did you mean 'damping'"),
        ("damping: 2", "damping: -2", "damping: Input should be greater than or equal to 0"),
        ("damping: 2", "damping: much", "method damped: damping"),
        ("per_role: 3", "per_role: 0", "per_role"),
        ("joint", "jointly", "ways"),
        ("question: Does more damping spare more?", "", "question"),
        ("UCE:", "random:", "read as a control"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, old, new, says):
    assert old in TEXT
    with pytest.raises(WorkbenchError) as error:
        read(tmp_path, TEXT.replace(old, new))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"methods": {}}, "no method"),
        ({"subjects": []}, "no concept"),
        ({"ways": []}, "no way to erase"),
        ({"methods": {"unedited": UCE()}}, "read as a control"),
        ({"subjects": [SUBJECTS[0], SUBJECTS[0]]}, "given twice"),
        ({"subjects": SUBJECTS[:1], "ways": ["joint"]}, "at least two"),
    ],
)
def test_what_compares_nothing_is_refused(given, says):
    with pytest.raises(WorkbenchError, match=says):
        Comparison(**({"methods": {"UCE": UCE()}, "subjects": SUBJECTS} | given))


def test_prompts_for_another_erased_concept_count_for_nothing():
    def expected(ways):
        subjects = Comparison(methods={"UCE": UCE()}, subjects=SUBJECTS, ways=ways).subjects
        return [[row.expected for row in one.suite.rows] for one in subjects]

    assert expected(["single"]) == [["fox", "cat", "dog"], ["cat", "fox", "dog"]]
    assert expected(["single", "joint"]) == expected(["ordered"]) == [["fox", "dog"], ["cat", "dog"]]


def test_the_subjects_keep_the_names_of_their_suites():
    (first, _) = Comparison(methods={"UCE": UCE()}, subjects=SUBJECTS, ways=["joint"]).subjects
    assert isinstance(first, Subject) and (first.suite.name, first.suite.target) == ("fox", "fox")


def test_a_file_says_how_many_fits_what_is_told_and_how_pictures_are_sampled(tmp_path):
    made = read(tmp_path, TEXT + "fit_seeds: 1\ntold: all\nsampling: {steps: 8, guidance_scale: 5.0}\n")
    plan = read_comparison(tmp_path / "study.yaml")
    assert plan.told == "all" and plan.sampling == {"steps": 8, "guidance_scale": 5.0}
    assert made.question == f"Does more damping spare more? {ALL_TOLD}" and made.seeds == (5,)


def test_what_settings_were_chosen_on_is_said_of_the_condition(tmp_path):
    text = TEXT.replace("{method: uce, damping: 2}", "{method: realera, chosen_on: car, lora_lr: 0.003}")
    assert text != TEXT
    comparison = read(tmp_path, text)
    assert comparison.chosen_on == {"damped (reconstructed)": "car"}
