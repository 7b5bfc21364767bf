"""Lists of prompts are read by their form: tables, JSON and plain text, however the column of prompts is called."""

import json
from pathlib import Path

import pytest

from saes.errors import WorkbenchError
from workbench.cli.lookup import read_prompts
from workbench.lists import Record, prompts, read_list

FORMS = {
    "a prompt a line": ("a.txt", "a fox, red\n\n a cat \n"),
    "a published list": ("a.csv", 'case_number,prompt,evaluation_seed\n0,"a fox, red",7\n1,a cat,8\n'),
    "with semicolons": ("a.csv", "case_number;prompt\n0;a fox, red\n1;a cat\n"),
    "with tabs": ("a.tsv", "prompt\tseed\na fox, red\t1\na cat\t2\n"),
    "a table that is called text": ("a.txt", 'case_number,prompt\n0,"a fox, red"\n1,a cat\n'),
    "one column": ("a.csv", 'prompt\n"a fox, red"\na cat\n'),
    "with a byte order mark": ("a.csv", '\ufeffprompt,n\n"a fox, red",1\na cat,2\n'),
    "captions": ("a.csv", 'image_id,Caption\n1,"a fox, red"\n2,a cat\n'),
    "pairs of prompts": ("a.csv", 'Sensitive prompt,normal prompt\n"a fox, red",a dog\na cat,a cow\n'),
    "attacks beside what they stand for": ("a.csv", 'target_prompt,adv_prompt\nx,"a fox, red"\ny,a cat\n'),
    "an array of texts": ("a.json", '["a fox, red", "a cat"]'),
    "an array of objects": ("a.json", '[{"prompt": "a fox, red", "seed": 1}, {"prompt": "a cat", "seed": null}]'),
    "an object a line": ("a.jsonl", '{"prompt": "a fox, red"}\n\n{"Prompt": "a cat"}\n'),
}


@pytest.mark.parametrize("form", FORMS)
def test_prompts_are_the_same_in_every_form(form: str, tmp_path: Path) -> None:
    name, text = FORMS[form]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert prompts(tmp_path / name) == ["a fox, red", "a cat"]


def test_prompts_with_commas_are_no_table(tmp_path: Path) -> None:
    lines = ["a photo of a fox, text, detailed", "a cat; caption", "a prompt, and a dog", '{"prompt": 1}', "[a, b]"]
    for first in range(len(lines)):
        turned = lines[first:] + lines[:first]
        (tmp_path / "a.txt").write_text("\n".join(turned))
        assert prompts(tmp_path / "a.txt") == turned


def test_what_stands_beside_a_prompt_is_kept_and_empty_prompts_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Evaluation Seed,prompt,class\n4,a fox,fox\n5, ,fox\n6,a cat,\n")
    found = read_list(tmp_path / "a.csv")
    assert found.records[0] == Record(2, "a fox", {"evaluation_seed": "4", "class": "fox"})
    assert found.records[1].fields == {"evaluation_seed": "6", "class": ""}
    assert (found.column, found.columns, found.empty) == ("prompt", ("evaluation_seed", "class"), 1)


def test_a_command_says_which_columns_it_does_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",prompt,evaluation_seed\n0,a fox,4068\n")
    with pytest.warns(UserWarning, match="a.csv: prompt is read, and evaluation_seed not"):
        assert read_prompts(tmp_path / "a.csv") == ["a fox"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.txt", " \n", "has no prompts"),
        ("a.csv", "prompt,seed\n,1\n", "has no prompts"),
        ("a.csv", "prompt,seed\n", "has no prompts"),
        ("a.csv", "a fox\na cat\n", "lacks the column 'prompt'"),
        ("a.csv", "prompt,prompt\na,b\n", "two columns 'prompt'"),
        ("a.csv", "prompt,seed\na fox, a cat,1\n", "line 2 has more fields"),
        ("a.csv", "prompt,seed\na fox\n", "line 2 has fewer fields"),
        ("a.json", json.dumps({"prompt": "a fox"}), "is no list of prompts"),
        ("a.json", "[1]", "entry 1 is no prompt"),
        ("a.jsonl", "{\n", "line 1 is not valid JSON"),
        ("a.jsonl", '{"seed": 1}\n', "lacks the column 'prompt'"),
    ],
)
def test_what_is_no_list_is_refused_by_its_place(name: str, text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(WorkbenchError, match=problem):
        read_list(tmp_path / name)
