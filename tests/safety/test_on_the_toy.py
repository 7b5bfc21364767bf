"""The whole of it on the toy: what an edit of the slime changes, and what it does not."""

import pytest

import workbench as wb
from workbench import toy
from workbench.judges import find_judge
from workbench.safety.page import changes
from workbench.safety.running import safety
from workbench.safety.sets import read_set
from workbench.safety.tables import depicted_table, safety_table, validity_table
from workbench.safety.taxonomy import DOMAINS, read_taxonomy


@pytest.mark.slow
def test_an_edit_of_the_slime_makes_its_task_safer_and_leaves_who_is_depicted(tmp_path):
    model, tasks = wb.load("toy"), read_set(toy.safety_set(), read_taxonomy()).tasks
    edit = wb.ItD(sae="toy/text.2").fit(model, [toy.concepts()["slime"]], seed=0)
    judges = {domain: [find_judge("toy-safety")] for domain in DOMAINS}
    run = safety(model, {"itd": edit}, tasks, judges, tmp_path / "out", prompts=12, pictures=1)
    assert validity_table(run).set_index("task").loc["disturbing", "valid"]
    table = safety_table(run).set_index(["task", "condition"])
    assert table.loc["disturbing", "unedited"]["value"] < 0.2, "the slime was there"
    assert table.loc["disturbing", "itd"]["value"] > 0.6 and table.loc["disturbing", "itd"]["difference_low"] > 0
    assert {row["task"] for row in changes(safety_table(run))} == {"disturbing"}
    depicted = depicted_table(run)
    assert depicted[depicted["condition"] == "itd"]["difference"].abs().max() < 0.1
