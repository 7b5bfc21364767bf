"""Lists that people have become suites by the form of their columns, and what is left out of them is said."""

import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saes.errors import WorkbenchError
from tests.evaluation.small import Brightness
from workbench.attacks.attack import Budget
from workbench.attacks.noised import Noised
from workbench.attacks.target import Target, check_targets
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.input_checks import check_inputs
from workbench.evaluation.runs import Run
from workbench.evaluation.suites import Suite, SuiteRow, read_suite, write_suite
from workbench.evaluation.tables import metrics
from workbench.models import Model


def suite_of(tmp_path: Path, text: str, target: str = "fox", anchor: str = "", name: str = "list.csv") -> Suite:
    (tmp_path / name).write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_suite(tmp_path / name, target=target, anchor=anchor)


@pytest.mark.parametrize(
    "text",
    [
        "prompt,evaluation_seed\na fox,7\n",
        "prompt,evaluation_seed\na fox,7.0\n",
        "prompt,categories,sd_seed,lexica_url\na fox,x,7,url\n",
        "sd_seed,prompt,Evaluation Seed\n9,a fox,7\n",
        "case_num,sensitive prompt,normal prompt,seed\n0,a fox,a dog,7\n",
        "target_prompt,adv_prompt,sanitized_adv_prompt,seed\nx,a fox,y,7\n",
    ],
)
def test_prompt_and_seed_are_found_in_every_form(text: str, tmp_path: Path) -> None:
    assert suite_of(tmp_path, text).rows == (SuiteRow("a fox", "target", "fox", 7),)


@pytest.mark.parametrize(
    ("name", "text"), [("a.txt", "a fox\na cat\n"), ("a.csv", "prompt,source\na fox,x\na cat,x\n")]
)
def test_seeds_count_up_where_there_are_none(name: str, text: str, tmp_path: Path) -> None:
    assert [row.seed for row in suite_of(tmp_path, text, name=name).rows] == [0, 1]


def test_a_column_of_classes_says_which_rows_are_about_the_target(tmp_path: Path) -> None:
    text = "prompt,seed,class\nimage of a church,1,church\nof a tench,2,tench\nof a player,3,Cassette_player\n"
    found = suite_of(tmp_path, text, "church", "cassette player").rows
    assert [(row.role, row.expected) for row in found] == [
        ("target", "church"), ("unrelated", "tench"), ("anchor", "cassette player")
    ]  # fmt: skip
    of_none = suite_of(tmp_path, text, "storm")
    assert {row.role for row in of_none.rows} == {"unrelated"}
    assert of_none.target == "storm", "a suite without a row about it is still judged on it"


def test_classes_that_a_fit_is_told_to_keep_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,seed,class\na,1,fox\nb,2,Dog\nc,3,cow\n")
    with pytest.warns(UserWarning, match="2 are not about 'fox' by the column 'class'"):
        found = read_suite(tmp_path / "a.csv", target="fox", told=["cat", "dog"])
    assert [(row.role, row.expected) for row in found.rows] == [
        ("target", "fox"), ("told", "dog"), ("unrelated", "cow")
    ]  # fmt: skip


def test_a_class_is_a_concept_by_whole_words(tmp_path: Path) -> None:
    text = "prompt,artist\na,Vincent van Gogh\nb,Van Goghs\nc,Claude Monet\n"
    assert Counter(row.role for row in suite_of(tmp_path, text, "van gogh").rows) == {"target": 1, "unrelated": 2}
    text = "prompt,class\na,cat\nb,house cat\n"
    assert Counter(row.role for row in suite_of(tmp_path, text, "cat").rows) == {"target": 1, "unrelated": 1}
    text = "prompt,class,type\na,storm,style\nb,storm,object\n"
    assert Counter(row.role for row in suite_of(tmp_path, text, "object").rows) == {"target": 1, "unrelated": 1}


def test_several_classes_need_a_target_and_roles_of_the_list_go_before_them(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="2 classes in the column 'class'"):
        suite_of(tmp_path, "prompt,class\na,cat\nb,fox\n", "")
    found = suite_of(tmp_path, "prompt,class,role,expected\na,cat,synonym,fox\n", "fox")
    assert [(row.role, row.expected) for row in found.rows] == [("synonym", "fox")]


def test_rows_keep_guidance_steps_and_size_of_their_own(tmp_path: Path) -> None:
    columns = "prompt,evaluation_seed,evaluation_guidance,sd_guidance_scale,steps,width,height"
    text = f"{columns}\na,1,7.5,3,,512,512\nb,2,,3,20,,\n"
    found = suite_of(tmp_path, text).rows
    assert [(row.guidance_scale, row.steps, row.size) for row in found] == [(7.5, None, (512, 512)), (None, 20, None)]
    of_i2p = suite_of(tmp_path, "prompt,sd_seed,sd_guidance_scale,sd_image_width,sd_image_height\na,1,3,512,768\n")
    assert [(row.guidance_scale, row.size) for row in of_i2p.rows] == [(3.0, (512, 768))], "these go with its seeds"
    for place in (tmp_path / "again.csv", tmp_path / "again"):
        write_suite(Suite("again", found), place)
        assert read_suite(place).rows == found


def test_what_is_left_out_or_not_read_is_counted_and_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,source\na fox,x\n,x\na boy,x\na fox,x\n\n")
    with pytest.warns(UserWarning) as said:
        suite = read_suite(tmp_path / "a.csv", target="fox")
    assert (len(suite.rows), suite.dropped) == (2, 1)
    (text,) = [str(one.message).partition("a.csv, ")[2] for one in said]
    assert text == (
        "3 prompts: 1 without a prompt were left out; 1 that may involve a minor were left out; seeds count up from 0, "
        "since there is no column of them; not read: source."
    )


def test_a_list_in_the_workbenchs_own_form_says_nothing(tmp_path: Path) -> None:
    write_suite(Suite("own", (SuiteRow("a fox", "target", "fox", 1),)), tmp_path / "own.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_suite(tmp_path / "own.csv")


def test_a_model_is_not_asked_for_what_it_cannot_draw(tiny_sd1: Model) -> None:
    own = (tiny_sd1.image_size, tiny_sd1.image_size)
    check_inputs(tiny_sd1, Suite("own", (SuiteRow("a", "target", "fox", 1, size=own, guidance_scale=3.0, steps=2),)))
    with pytest.raises(WorkbenchError, match=r"asks for pictures of 512 × 768, and .* draws 32 × 32"):
        check_inputs(tiny_sd1, Suite("large", (SuiteRow("a", "target", "fox", 1, size=(512, 768)),)))


def test_each_picture_is_drawn_as_its_row_says_and_repeats_count_as_listed(tiny_sd1: Model, tmp_path: Path) -> None:
    usual, strong = (
        SuiteRow("a fox", "target", "fox", 5),
        SuiteRow("a fox", "target", "fox", 5, guidance_scale=9.0),
    )
    asked = Suite("own", (usual, strong, replace(usual, steps=3), usual, usual))
    run = evaluate(tiny_sd1, {}, asked, Brightness(), tmp_path / "run", floor=0.0, steps=2)
    assert len(run.spec.cells()) == 3, "a repeated row is one picture"
    drawn = [run.images("unedited")[place] for place in range(5)]
    for image, settings in zip(drawn, [{}, {"guidance_scale": 9.0}, {"steps": 3}, {}, {}], strict=True):
        np.testing.assert_array_equal(image, tiny_sd1.generate("a fox", 5, **{"steps": 2, **settings})[0])
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert metrics(run).set_index("metric").loc["efficacy", "n"] == 5
    assert Run.open(run.dir).spec == run.spec


def test_an_attack_refuses_rows_that_are_sampled_in_their_own_ways(tiny_sd1: Model) -> None:
    target = Target(Suite("own", (SuiteRow("a fox", "target", "fox", 5, steps=3),)), {}, {"noised": Noised()}, True)
    with pytest.raises(WorkbenchError, match="guidance or steps of their own"):
        check_targets(tiny_sd1, [target], Brightness(), Budget(1), controls=False)
