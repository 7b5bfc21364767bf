"""A suite in a folder is the suite that was written, with roles of its own and prompts that are no text."""

import json

import pytest
import torch

from saes.errors import WorkbenchError
from workbench.evaluation.inputs import input_hash
from workbench.evaluation.roles import Role
from workbench.evaluation.suites import Suite, SuiteRow, read_suite, write_suite
from workbench.models import Begun, TokenIds

OWN = Role(name="attack", metric="robustness", wanted="absent", named=False, adversarial=True)
START = Begun([""], torch.ones(1, 4, 2, 2))
IDS = TokenIds((torch.arange(12)[None],))
GIVEN = {input_hash(one): one for one in (START, IDS)}
ROWS = (
    SuiteRow('a fox, "red"\nin the rain', "target", "fox", 1),
    SuiteRow("", "attack", "fox", 2**63 - 1, input=input_hash(START)),
    SuiteRow("xq, fx", "attack", "fox", 2, "UCE", input_hash(IDS)),
    SuiteRow("a cat", "neighbour", "cat", 3),
)
SUITE = Suite("against UCE", ROWS, "cat", dropped=3, roles=(OWN,), inputs=GIVEN, tokenizers="f" * 64)


@pytest.fixture
def folder(tmp_path):
    write_suite(SUITE, tmp_path / "suite")
    return tmp_path / "suite"


def test_it_is_read_as_it_was_written(folder):
    found = read_suite(folder, target="fox")
    for name in ("name", "rows", "anchor", "dropped", "roles", "tokenizers"):
        assert getattr(found, name) == getattr(SUITE, name), name
    assert {name: input_hash(one) for name, one in found.inputs.items()} == {name: name for name in GIVEN}
    assert read_suite(folder, anchor="dog").anchor == "cat", "its own anchor counts"


def test_it_is_about_one_concept_and_takes_the_place_of_nothing(folder):
    with pytest.raises(WorkbenchError, match="is about 'fox', and not about 'cat'"):
        read_suite(folder, target="cat")
    with pytest.raises(WorkbenchError, match="exists already"):
        write_suite(SUITE, folder)


def test_a_list_holds_no_prompts_that_are_no_text(tmp_path):
    with pytest.raises(WorkbenchError, match=r"a list holds text\. Write it into a folder, such as .*suite\."):
        write_suite(SUITE, tmp_path / "suite.csv")
    (tmp_path / "list.csv").write_text("prompt,evaluation_seed,expected,input\na fox,1,fox,0\n")
    with pytest.raises(WorkbenchError, match=r"has a column 'input'.*Give the folder of the suite"):
        read_suite(tmp_path / "list.csv")


def test_what_is_damaged_or_no_suite_is_named(folder, tmp_path):
    about = json.loads((folder / "suite.json").read_text())
    for change, says in (
        ({"format": "erasure-workbench suite 9"}, "of another version"),
        ({"roles": [{"name": "attack"}]}, "suite.json"),
        ({"surplus": 1}, "surplus"),
    ):
        (folder / "suite.json").write_text(json.dumps({**about, **change}))
        with pytest.raises(WorkbenchError, match=says):
            read_suite(folder)
    (folder / "suite.json").write_text(json.dumps(about))
    (folder / "inputs" / f"{input_hash(IDS)}.safetensors").unlink()
    with pytest.raises(WorkbenchError, match=input_hash(IDS)):
        read_suite(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkbenchError, match="is a folder, not a file"):
        read_suite(tmp_path / "empty")
