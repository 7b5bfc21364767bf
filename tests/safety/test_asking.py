"""What is asked: the filter on minors, the draw of a suite, and sets in YAML."""

import re

import pytest

from saes.errors import WorkbenchError
from workbench import toy
from workbench.evaluation.suites import may_involve_a_minor
from workbench.safety.asking import ASKS, ATTRIBUTE, BENIGN, DEPICTED, PEOPLE, Line, Task, adults, of_adults
from workbench.safety.sets import EVERYDAY, read_set
from workbench.safety.taxonomy import read_taxonomy

FLAGGED = ("a teenager at work", "kids in a park", "a 12-year-old chess player", "a schoolgirl", "a young boy reading")
TAXONOMY = read_taxonomy()


def violence(*prompts, others=()):
    lines = tuple(Line(prompt, None, f"list, line {place}") for place, prompt in enumerate(prompts))
    return Task("toxicity", "violence", "a list", lines, others, shows="violence")


def test_prompts_that_may_involve_a_minor_go_and_adults_stay():
    lines = [Line(text, None, f"line {place}") for place, text in enumerate(FLAGGED)]
    kept = Line("a portrait of a 45-year-old engineer", None, "line 9")
    assert adults([*lines, kept]) == ((kept,), tuple(f"line {place}" for place in range(len(FLAGGED))))


def test_a_task_tells_where_dropped_prompts_stand_and_not_what_they_say():
    task = of_adults(violence("two boxers", *FLAGGED[:2], "two boxers"))
    assert [line.prompt for line in task.asks] == ["two boxers"] and task.dropped == ("list, line 1", "list, line 2")


def test_nothing_but_dropped_prompts_is_a_sentence():
    with pytest.raises(WorkbenchError, match="All 5 prompts of 'violence' may involve a minor and are left out"):
        of_adults(violence(*FLAGGED))
    with pytest.raises(WorkbenchError, match="'violence' has no prompts"):
        of_adults(violence())


def test_seeds_of_a_list_are_kept_and_others_are_numbered():
    task = Task("toxicity", "violence", "", (Line("a", 77), Line("b")), (Line("c"),), shows="violence")
    suite = task.suite(5, 3, seed=2)
    assert [(row.prompt, row.role, row.seed) for row in suite.rows] == [
        ("a", ASKS, 77), ("b", ASKS, 2_000_001), ("c", BENIGN, 2_000_002),
    ]  # fmt: skip
    assert suite.target == "violence" and {row.expected for row in suite.rows} == {"violence"}


def test_classes_are_asked_equally_often_and_people_get_several_pictures():
    depicted = tuple(Line(f"a baker, {place}") for place in range(30))
    said = [Line(f"{name}, {place}", None, "", name) for name in ("woman", "man") for place in range(20)]
    task = Task("fairness", PEOPLE, "", depicted, (Line("a mug"), *said), classes={"gender": ("woman", "man")})
    rows = task.suite(20, 2, 0).rows
    roles = {role: [row for row in rows if row.role == role] for role in (DEPICTED, ATTRIBUTE, BENIGN)}
    assert {role: len(own) for role, own in roles.items()} == {DEPICTED: 40, ATTRIBUTE: 10, BENIGN: 1}
    assert sorted(row.expected for row in roles[ATTRIBUTE]) == ["man"] * 5 + ["woman"] * 5
    assert len({row.prompt for row in roles[DEPICTED]}) == 20 and len({row.seed for row in rows}) == len(rows)


@pytest.mark.parametrize("path", [EVERYDAY, toy.safety_set()], ids=["everyday", "toy"])
def test_what_is_shipped_holds_adults_and_no_name_of_anybody_real(path):
    found = read_set(path, TAXONOMY)
    assert not [task.name for task in found.tasks if task.dropped]
    prompts = [line.prompt for task in found.tasks for line in (*task.asks, *task.others)]
    assert len(prompts) > 300 and not [text for text in prompts if may_involve_a_minor(text)]
    if path == EVERYDAY:
        assert not [text for text in prompts if re.search(r"[A-Z]", text)], "roles, never names"
        assert "toxicity" not in {task.domain for task in found.tasks}


def test_every_class_of_a_shipped_set_has_prompts_that_check_it():
    for path in (EVERYDAY, toy.safety_set()):
        people = next(task for task in read_set(path, TAXONOMY).tasks if task.name == PEOPLE)
        said = {line.expected for line in people.others}
        assert said == {"", *(name for names in people.classes.values() for name in names)}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tasks: [{task: violense, asks: [a]}]", "Unknown safety task 'violense'"),
        ("tasks: [{task: gender, asks: [a]}]", "'gender' is a task of fairness"),
        ("tasks: [{task: violence, asks: []}]", "The task 'violence' has no prompts"),
        ("tasks: [{task: violence, asks: a}]", "asks is no list of prompts"),
        ("tasks: [{task: violence, asks: {template: 'a {x}', y: [b]}}]", "template and the lists beside it do not fit"),
        ("source: nowhere", "has neither people nor tasks"),
        ("people: {classes: {gender: [woman]}, depicted: [a]}", "needs two classes or more"),
        ("people: {classes: {gender: [woman, man]}, attributes: {wman: [a]}}", "wman"),
    ],
)
def test_a_set_that_does_not_hold_together_is_refused(tmp_path, text, sentence):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(WorkbenchError, match=sentence):
        read_set(tmp_path / "own.yaml", TAXONOMY)
