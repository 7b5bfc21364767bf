"""Suites: what they refuse, and that published lists can be read without conversion."""

from pathlib import Path

import pytest

from saes.errors import WorkbenchError
from workbench.evaluation.roles import ROLES, Role, joined_roles, rates
from workbench.evaluation.suites import Suite, SuiteRow, adults_only, read_suite, write_suite

ROWS = (
    SuiteRow('a fox, "red"', "target", "fox", 1),
    SuiteRow("a vixen", "synonym", "fox", 2),
    SuiteRow("a cat\nin the rain", "neighbour", "cat", 3),
    SuiteRow("a church", "unrelated", "church", 4),
)


def test_a_suite_survives_its_file(tmp_path: Path) -> None:
    suite = Suite("foxes", ROWS, anchor="cat")
    write_suite(suite, tmp_path / "foxes.csv")
    assert (tmp_path / "foxes.csv").read_text().splitlines()[0] == "case_number,prompt,evaluation_seed,role,expected"
    assert read_suite(tmp_path / "foxes.csv", anchor="cat") == suite
    assert suite.target == "fox"


def test_a_published_list_is_about_the_named_target(tmp_path: Path) -> None:
    path = tmp_path / "big_artist_prompts.csv"
    path.write_text(
        "case_number,prompt,evaluation_seed,artist\n0,Wheat by Van Gogh,2219,Vincent van Gogh\n"
        "1,Iris,44,Vincent van Gogh\n"
    )
    suite = read_suite(path, target="Van Gogh")
    assert suite.name == "big_artist_prompts"
    assert suite.rows[0] == SuiteRow("Wheat by Van Gogh", "target", "Van Gogh", 2219)
    assert read_suite(path).target == "Vincent van Gogh", "the only class that there is"
    path.write_text("case_number,prompt,evaluation_seed\n0,Wheat by Van Gogh,2219\n")
    with pytest.raises(WorkbenchError, match="does not say what its prompts show"):
        read_suite(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "lacks the column 'prompt'"),
        ("case_number,prompt,evaluation_seed\n", "has no prompts"),
        ("prompt,seeds\na fox,1\n", "'seeds'.*'seed'"),
        ("prompt,evaluation_seed,rolle\na fox,1,target\n", "'rolle'.*'role'"),
        ("prompt,evaluation_seed,role\na fox,1,targt\n", "'targt'.*'target'"),
        ("prompt,evaluation_seed\na fox,one\n", "'one' is no seed"),
        ("prompt,evaluation_seed\na fox,1.5\n", "'1.5' is no seed"),
        ("prompt,evaluation_seed,evaluation_guidance\na fox,1,high\n", "'high' is no guidance scale"),
        ("prompt,evaluation_seed,evaluation_steps\na fox,1,0\n", "'0' is no number for steps"),
        ("prompt,evaluation_seed\na girl with a fox,1\n", "no prompts left after the filter"),
        ("prompt,evaluation_seed\na fox,1\na fox, a cat,2\n", "line 3 has more fields than there are columns"),
        ("prompt,evaluation_seed,role\na fox,1\n", "line 2 has fewer fields"),
        ("prompt,evaluation_seed\n ,1\n", "has no prompts"),
        ("prompt,evaluation_seed\na fox,-1\n", "-1 is no seed"),
        (f"prompt,evaluation_seed\na fox,{2**63}\n", f"{2**63} is no seed"),
        ("prompt,prompt,evaluation_seed\na fox,a cat,1\n", "two columns 'prompt'"),
        ("prompt,evaluation_seed\n" + "x " * 100_000 + ",1\n", "is no CSV file"),
        ("prompt,evaluation_seed,role,expected\na cat,1,target,cat\n", "is about 'cat', and not about 'fox'"),
        ("prompt,evaluation_seed,role\na fox,1,attack\n", "Unknown role 'attack'"),
    ],
)
def test_bad_lists_are_refused_with_the_reason(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(WorkbenchError, match=problem):
        read_suite(tmp_path / "list.csv", target="fox")


def test_a_suite_may_bring_roles_and_give_rows_to_one_condition(tmp_path: Path) -> None:
    attack = Role(name="attack", metric="robustness", wanted="absent", named=False)
    rows = (*ROWS, SuiteRow("xq fx", "attack", "fox", 5, "ItD"), SuiteRow("xq fx", "attack", "fox", 5, "UCE"))
    suite = Suite("foxes", rows, roles=(attack,))
    write_suite(suite, tmp_path / "foxes.csv")
    assert read_suite(tmp_path / "foxes.csv", target="fox", roles=[attack]) == suite
    assert suite.target == "fox"


def test_roles_that_contradict_others_are_refused() -> None:
    with pytest.raises(WorkbenchError, match="Two roles are called 'target'"):
        Suite("foxes", ROWS, roles=(Role(name="target", metric="efficacy", wanted="present"),))
    for metric in ("efficacy", "intact"):
        with pytest.raises(WorkbenchError, match=f"'other' cannot count in '{metric}'"):
            Suite("foxes", ROWS, roles=(Role(name="other", metric=metric, wanted="present"),))
    paraphrase = Role(name="paraphrase", metric="generality", wanted="absent")
    assert [role.name for role in rates(joined_roles([*ROLES.values(), paraphrase]).values())["generality"]] == [
        "synonym", "paraphrase"
    ]  # fmt: skip


def test_an_absent_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"none\.csv does not exist"):
        read_suite(tmp_path / "none.csv", target="fox")


def test_empty_and_ambiguous_suites_are_refused() -> None:
    with pytest.raises(WorkbenchError, match="has no prompts"):
        Suite("empty", ())
    with pytest.raises(WorkbenchError, match=r"several targets \(fox, cat\)"):
        Suite("two", (ROWS[0], SuiteRow("a cat", "synonym", "cat", 1)))
    with pytest.raises(WorkbenchError, match=r"'targets'.*'target'"):
        Suite("one", (SuiteRow("a fox", "targets", "fox", 1),))


@pytest.mark.parametrize("prompt", ["a boy", "Two Children at sea", "a 15-year-old", "portrait, 7 yo", "TEENAGE idol"])
def test_prompts_that_may_involve_a_minor_never_enter(prompt: str, tmp_path: Path) -> None:
    row = SuiteRow(prompt, "target", "fox", 9)
    assert adults_only([row]) == ()
    with pytest.raises(WorkbenchError, match="may involve a minor"):
        Suite("list", (*ROWS, row))
    path = tmp_path / "list.csv"
    path.write_text(f'prompt,evaluation_seed\n"{prompt}",1\na fox,1\n')
    suite = read_suite(path, target="fox")
    assert [row.prompt for row in suite.rows] == ["a fox"]
    assert suite.dropped == 1


def test_adults_and_other_words_pass_the_filter() -> None:
    prompts = ["a 25-year-old woman", "a kidney bean", "a boycott", "a cowboy hat", "a young man", "117 years old oak"]
    rows = [SuiteRow(prompt, "target", "fox", 0) for prompt in prompts]
    assert len(adults_only(rows)) == len(prompts)
