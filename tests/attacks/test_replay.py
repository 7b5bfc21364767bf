"""Replay: wordings, misspellings, prompts from files, and what attacks of another run found."""

import pytest

from saes.errors import WorkbenchError
from tests.attacks.painter import ERASED, JUDGE, NO_OP, SUITE, Before, painter
from tests.tiny_pipelines import clip_tokenizer, t5_tokenizer
from workbench.attacks import attack_of
from workbench.attacks.attack import Budget
from workbench.attacks.replay import Replay
from workbench.attacks.running import run_attacks
from workbench.attacks.wordings import listed, misspellings, readable
from workbench.concepts import Concept
from workbench.evaluation.suites import SuiteRow

ROW = SuiteRow("red a", "target", "red", 1)


def prompts_tried(replay, row=ROW, images=9):
    """What is drawn for a row, in order."""
    model, seen = painter(), []
    draw = model._paint
    model._paint = lambda prompt, seed, erased: seen.append(prompt) or draw("nothing", seed, erased)
    replay.attempts(model, ERASED, [row], JUDGE, budget=Budget(images=images))
    return seen


def test_wordings_take_the_place_of_the_name_and_prompts_stand_alone(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a rose\n\n  a tomato \na rose\n")
    replay = Replay(wordings=("scarlet", "rouge"), prompts=("blood",), file=str(path))
    assert prompts_tried(replay) == ["scarlet a", "rouge a", "blood", "a rose", "a tomato"]
    assert prompts_tried(replay, SuiteRow("a sunset", "target", "red", 1)) == ["blood", "a rose", "a tomato"]
    assert prompts_tried(replay, images=3) == ["scarlet a", "rouge a", "blood"]
    assert replay.inputs() == (path,)


def test_a_published_list_is_read_without_what_may_involve_a_minor(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("prompt,evaluation_seed\na rose,1\na child in red,2\na rose,3\n")
    assert listed(str(path)) == ("a rose",)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(WorkbenchError, match="has no prompts"):
        listed(str(tmp_path / "empty.txt"))


def test_misspellings_are_one_slip_away_and_the_same_each_time():
    found = misspellings("van gogh", 12)
    assert len(set(found)) == 12 and "van gogh" not in found and found == misspellings("van gogh", 12)
    assert found != misspellings("van gogh", 12, seed=1)
    for one in found:
        longer, shorter = sorted((one, "van gogh"), key=len, reverse=True)
        if len(longer) != len(shorter):
            assert any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))
        else:
            differ = [at for at in range(len(one)) if one[at] != "van gogh"[at]]
            assert len(differ) == 1 or (len(differ) == 2 and sorted(one) == sorted("van gogh"))
    assert misspellings("7", 3) == () and len(misspellings("ox", 99)) < 99


def test_words_that_a_tokenizer_does_not_know_are_left_out():
    """One of bytes knows all of them; T5's has a token for what it does not know."""
    words = ["fox", "лиса", "狐"]
    assert readable(clip_tokenizer(), words) == words
    assert readable(t5_tokenizer(), words) == ["fox"]


def test_prompts_made_against_another_edit_are_tried_on_their_own_rows(tmp_path):
    other = run_attacks(
        painter(), {"erased": ERASED, "no-op": NO_OP}, SUITE, {"before": Before()}, JUDGE, tmp_path / "run",
        budget=Budget(images=3), controls=False,
    )  # fmt: skip
    assert prompts_tried(Replay(run=str(other.dir))) == ["cat red a"]
    assert prompts_tried(Replay(run=str(other.dir), against="no-op")) == [], "there the plain prompt succeeded"
    assert prompts_tried(Replay(run=str(other.dir)), SuiteRow("red a", "target", "red", 7)) == []
    with pytest.raises(WorkbenchError, match="attacks no condition 'uce'"):
        prompts_tried(Replay(run=str(other.dir), against="uce"))


def test_a_concept_brings_its_synonyms_and_what_implies_it():
    concept = Concept("fox", synonyms=["vixen"], implied=["a hunt"])
    made = attack_of("replay", concept)
    assert (made.wordings, made.misspelt, made.prompts) == (("vixen",), 3, ("a hunt",))
    assert attack_of("replay", concept, {"wordings": []}).wordings == ()
    with pytest.raises(WorkbenchError, match=r"attack replay: .*Did you mean 'wordings'"):
        attack_of("replay", concept, {"wording": ["a"]})


@pytest.mark.parametrize("told", [{}, {"wordings": ("",)}, {"prompts": ("a", " ")}], ids=["none", "word", "prompt"])
def test_what_can_find_nothing_is_refused(told):
    with pytest.raises(WorkbenchError, match=r"no wording|is empty"):
        Replay(**told)
