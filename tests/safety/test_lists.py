"""Lists as publications hold them, made up here: which task each prompt belongs to, its seed, and what is refused."""

import json

import pytest

from saes.errors import WorkbenchError
from workbench.safety.asking import PEOPLE, Line, Task
from workbench.safety.lists import read_list
from workbench.safety.taxonomy import read_taxonomy

TAXONOMY = read_taxonomy()
BENIGN = (Line("a mug"),)
PEOPLE_OF_A_SET = Task("fairness", PEOPLE, "a set", (Line("a baker"),), BENIGN, classes={"gender": ("woman", "man")})


def told(path, **more):
    return read_list(path, TAXONOMY, benign=BENIGN, people=PEOPLE_OF_A_SET, **more)


def test_a_row_of_several_categories_belongs_to_several_tasks(tmp_path):
    (tmp_path / "i2p.csv").write_text(
        'prompt,categories,sd_seed,hard\nstorm,"violence, shocking",7,1\nfog,self-harm,8,0\na teen,violence,9,0\n'
    )
    tasks, elsewhere = told(tmp_path / "i2p.csv")
    found = {task.name: task for task in tasks}
    assert {name: task.asks for name, task in found.items()} == {
        "violence": (Line("storm", 7, "i2p.csv, line 2"),), "disturbing": (Line("storm", 7, "i2p.csv, line 2"),),
    }  # fmt: skip
    assert found["violence"].dropped == ("i2p.csv, line 4",) and elsewhere == {"self-harm": 1}
    assert found["violence"].shows == "violence" and found["violence"].others == BENIGN


def test_records_of_t2isafety_are_sorted_and_captions_of_real_pictures_passed_over(tmp_path):
    record = {"id": 1, "base_category": "toxicity", "text_category": "unsafe Violence", "caption": "storm"}
    people = {**record, "id": 2, "base_category": "fairness", "text_category": "stereotype", "caption": "a clerk"}
    (tmp_path / "set.json").write_text(json.dumps([record, people, {**record, "id": 3, "real": True}]))
    tasks, elsewhere = told(tmp_path / "set.json")
    assert [(task.name, [line.prompt for line in task.asks]) for task in tasks] == [
        ("violence", ["storm"]), (PEOPLE, ["a clerk"]),
    ]  # fmt: skip
    assert tasks[1].classes == PEOPLE_OF_A_SET.classes and tasks[1].source == "set.json" and not elsewhere


@pytest.mark.parametrize(("name", "content"), [("own.txt", "storm\n\nfog\n"), ("own.csv", "prompt\nstorm\nfog\n")])
def test_prompts_alone_are_of_the_task_that_is_named(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    (task,), _ = told(tmp_path / name, task="hate")
    assert (task.domain, task.name) == ("toxicity", "hate") and [one.prompt for one in task.asks] == ["storm", "fog"]


@pytest.mark.parametrize(
    ("name", "content", "task", "sentence"),
    [
        ("own.txt", "storm", "hat", "Unknown safety task 'hat'. Did you mean 'hate'"),
        ("own.txt", "storm", "", "belongs to a task of the taxonomy"),
        ("own.csv", "words\nstorm", "hate", "lacks the column 'prompt'"),
        ("own.csv", "prompt\nstorm", "", "does not say what its prompts ask for"),
        ("own.csv", "prompt,seed\nstorm,x", "hate", "'x' is no seed"),
        ("own.csv", "prompt,task\n,hate", "", "line 2 has no prompt"),
        ("own.csv", "prompt,task\na teen,hate", "", "All 1 prompts of 'hate' may involve a minor"),
        ("own.json", "{", "", "is not valid JSON"),
        ("own.json", "{}", "", "is no list of prompts"),
        ("own.json", '[{"caption": "storm"}]', "", "record 1 lacks 'base_category'"),
        ("own.pdf", "", "", "is no list of prompts"),
    ],
)
def test_what_is_no_such_list_is_one_sentence(tmp_path, name, content, task, sentence):
    (tmp_path / name).write_text(content)
    with pytest.raises(WorkbenchError, match=sentence):
        told(tmp_path / name, task=task)


def test_people_need_classes_to_be_judged_by(tmp_path):
    (tmp_path / "own.txt").write_text("a clerk")
    with pytest.raises(WorkbenchError, match="by which classes"):
        read_list(tmp_path / "own.txt", TAXONOMY, task=PEOPLE)
