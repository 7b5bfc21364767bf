"""Safety runs on a tiny real pipeline, with a judge whose words can be counted by hand."""

import json

import numpy as np
import pytest

from saes.errors import WorkbenchError
from tests.evaluation.counting import counted
from tests.evaluation.small import Brightness, Scaled
from tests.safety.small import Words, people, public_figures, violence
from workbench.safety.limits import limits
from workbench.safety.page import changes, write_safety
from workbench.safety.published import beside, caveats
from workbench.safety.running import SafetyRun, safety
from workbench.safety.tables import OVER_TASKS, REFUSED, depicted_table, safety_table, validity_table

DOMAINS = ("fairness", "toxicity", "privacy")
QUICK = {"prompts": 6, "pictures": 2, "steps": 1}


def made(model, folder, edits=None, judge=None, tasks=None, **more):
    tasks = tasks or [people(), violence(), public_figures()]
    judges = {name: [judge or Words()] for name in DOMAINS}
    return safety(model, edits or {}, tasks, judges, folder, **{**QUICK, **more})


@pytest.fixture(scope="module")
def run(tiny_sd1, tmp_path_factory):
    return made(tiny_sd1, tmp_path_factory.mktemp("safety") / "out", {"scaled": Scaled(-1.0)})


def test_each_domain_has_figures_of_its_own(run):
    table = safety_table(run).set_index(["task", "condition"])
    gender = table.loc["gender", "unedited"]
    assert gender["value"] == pytest.approx(0) and gender["n"] == 12 and gender["classes"] == 2
    assert gender["floor"] == pytest.approx(1 / (2 * 12 * np.log(2)))
    storm = table.loc["violence", "unedited"]
    assert storm["value"] == 0 and (storm["n"], storm["asked"]) == (5, 6) and storm["coverage"] == pytest.approx(5 / 6)
    assert storm["confirmed"] and storm["mark"] == "" and storm["intact"] == 1
    assert "hat" not in table.index.get_level_values(0), "no task of the taxonomy"


def test_an_edit_that_the_judge_does_not_notice_changes_nothing(run):
    table = safety_table(run)
    edited = table[table["condition"] == "scaled"]
    assert (edited["difference"] == 0).all() and not changes(table)
    assert (edited["difference_low"] < 0).all() and (edited["difference_high"] > 0).all()


def test_who_is_depicted_is_shared_out_over_all_attributes(run):
    table = depicted_table(run)
    shares = table[table["condition"] == "unedited"].set_index("class")["value"]
    assert shares.to_dict() == {"woman": 0.5, "man": 0.5, "hat": 0.0, "no hat": 1.0}


def test_a_judge_is_believed_by_what_it_finds_and_where_it_stays_silent(run):
    table = validity_table(run).set_index("task")
    assert table.loc["violence", "found"] == pytest.approx(5 / 6) and table.loc["violence", "false_alarms"] == 0
    assert table.loc["gender", "found"] == 1 and table["valid"].all()


def test_a_judge_that_finds_it_everywhere_is_refused_and_its_figures_are_none(tiny_sd1, tmp_path):
    run = made(tiny_sd1, tmp_path / "out", judge=Words(blind=True), tasks=[violence(), public_figures()])
    table, judges = safety_table(run), validity_table(run)
    assert set(table["mark"]) == {REFUSED} and table["value"].isna().all() and OVER_TASKS not in set(table["task"])
    assert "of benign ones" in judges["reason"].iloc[0]
    assert any("words is refused on violence" in sentence for sentence in limits(run, table, judges))


def test_a_second_call_makes_no_picture_and_says_the_same(tiny_sd1, run):
    with counted(type(tiny_sd1), "generate") as calls:
        again = made(tiny_sd1, run.dir, {"scaled": Scaled(-1.0)})
    assert not calls and safety_table(again).equals(safety_table(run))
    assert safety_table(SafetyRun.open(run.dir)).equals(safety_table(run))


def test_what_was_dropped_is_kept_by_its_place(run):
    spec = json.loads((run.dir / "safety.json").read_text())
    assert [task["dropped"] for task in spec["tasks"]] == [[], ["list, line 3"], []]


def test_the_published_models_stand_beside_with_a_warning(run):
    table = safety_table(run)
    rows = beside(run, table).set_index("model")
    assert rows.loc["SDXL", "toxicity"] == 0.826 and len(rows) == 12 + 2
    assert rows[rows["ours"]]["toxicity"].tolist() == [0, 0]
    said = caveats(run, table)
    assert said[0] == "The published figures were judged by ImageGuard; these by words." and "seeds" in said[-1]


def test_the_page_veils_what_is_unsafe_or_not_read_and_says_what_it_does_not_show(run, tmp_path):
    page = write_safety(run, tmp_path / "safety.html").read_text()
    assert page.count('class="veil"') == 2 * (6 + 6), "every storm and minister, with the edit and without it"
    assert "What this does not show" in page and "5 of 6 tasks were not asked" in page
    assert "list, line 3" in page and "PixArt" in page and "Plotly" not in page


def test_everything_that_can_be_refused_is_refused_before_a_picture(tiny_sd1, tmp_path):
    out, tasks = tmp_path / "out", [people(), violence()]
    with counted(type(tiny_sd1), "generate") as calls:
        for judges, sentence in (
            ({"fairness": [Words()]}, "Nobody judges toxicity"),
            ({"fairness": [Words()], "toxicity": [Brightness()]}, "brightness is none of toxicity: it does not know"),
            ({"fairnes": [Words()]}, "Unknown domain 'fairnes'"),
        ):
            with pytest.raises(WorkbenchError, match=sentence):
                safety(tiny_sd1, {}, tasks, judges, out, **QUICK)
        with pytest.raises(WorkbenchError, match="Nothing is asked"):
            safety(tiny_sd1, {}, [], {}, out, **QUICK)
        with pytest.raises(WorkbenchError, match="'violence' is asked twice"):
            made(tiny_sd1, out, tasks=[violence(), violence()])
    assert not calls and not out.exists()


def test_what_was_finished_before_a_fault_is_kept_and_gone_on_from(tiny_sd1, tmp_path):
    class Faulty(Words):
        def score(self, images, prompts):
            if any("storm" in prompt for prompt in prompts):
                raise WorkbenchError("The judge is out of order.", "Mend it.")
            return super().score(images, prompts)

    tasks = [people(), violence()]
    with pytest.raises(WorkbenchError, match="out of order"):
        made(tiny_sd1, tmp_path / "out", judge=Faulty(), tasks=tasks)
    assert list(SafetyRun.open(tmp_path / "out").runs) == ["fairness"]
    with counted(type(tiny_sd1), "generate") as calls:
        run = made(tiny_sd1, tmp_path / "out", tasks=tasks)
    assert list(run.runs) == ["fairness", "toxicity"]
    assert len(calls) <= 1, "pictures that were made before the fault lie there"


def test_a_folder_of_something_else_is_left_alone(tiny_sd1, run, tmp_path):
    with pytest.raises(WorkbenchError, match="holds other tasks, prompts or seeds"):
        made(tiny_sd1, run.dir, {"scaled": Scaled(-1.0)}, seed=1)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(WorkbenchError, match="holds other files"):
        made(tiny_sd1, tmp_path)
    with pytest.raises(WorkbenchError, match=r"is no folder of `workbench safety`"):
        SafetyRun.open(tmp_path)
