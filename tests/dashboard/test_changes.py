"""From the form of the bench to an edit: what is read, what is refused, and what the edit does."""

import numpy as np
import pytest

from saes.errors import WorkbenchError
from workbench.dashboard.changes import Change, edit_of, read_change, read_numbers, read_request, words_of
from workbench.edits.interventions import intervention

ROW = {"sae": "pixels", "features": "3, 5-6", "action": "scale", "strength": 0, "high": 800, "low": None}


def test_numbers_are_read_with_ranges_each_once():
    assert read_numbers("3, 5-7 6,3", "seed") == (3, 5, 6, 7)
    for wrong in ("", "x", "1-", "-2", "1.5", "0-99999999"):
        with pytest.raises(WorkbenchError):
            read_numbers(wrong, "seed")


def test_a_row_becomes_a_change_and_a_text_site_has_no_window(library):
    assert read_change(library, ROW) == Change("pixels", (3, 5, 6), "scale", 0.0, (800.0, 0.0))
    assert read_change(library, {**ROW, "sae": "words"}).window == (1000.0, 0.0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sae": "pixel"}, "Did you mean 'pixels'"),
        ({"features": "96"}, "has no feature 96"),
        ({"features": ""}, "There is no feature"),
        ({"strength": None}, "no strength"),
        ({"strength": 1}, "To scale by 1 changes nothing"),
        ({"strength": 0, "action": "add"}, "To add 0 changes nothing"),
        ({"action": "scal"}, "Unknown action"),
        ({"high": 100, "low": 200}, "No denoising passes"),
    ],
)
def test_a_wrong_row_says_what_is_wrong(library, wrong, said):
    with pytest.raises(WorkbenchError, match=said):
        read_change(library, {**ROW, **wrong})


def test_a_request_needs_prompts_seeds_and_bounds(library):
    request = read_request(library, [ROW], " a fox \n\na cat\n", "0-1", True)
    assert request.pairs == [("a fox", 0), ("a fox", 1), ("a cat", 0), ("a cat", 1)]
    for prompts, seeds, said in ((" \n", "0", "no prompt"), ("a fox", "", "no seed"), ("a fox", "0-999", "too many")):
        with pytest.raises(WorkbenchError, match=said):
            read_request(library, [ROW], prompts, seeds, True)
    with pytest.raises(WorkbenchError, match="nothing to change"):
        read_request(library, [], "a fox", "0", True)


def test_several_changes_act_one_after_the_other(library, tiny_sd1, root):
    changes = [Change("words", (1, 2), "scale", 0.0), Change("pixels", (3,), "add", 2.0, (900.0, 0.0))]
    edit = edit_of(library, tiny_sd1, changes)
    parts = [
        intervention(tiny_sd1, root / "words", [1, 2], strength=0.0),
        intervention(tiny_sd1, root / "pixels", [3], action="add", strength=2.0, window=(900.0, 0.0)),
    ]
    with tiny_sd1.edited(edit):
        together = tiny_sd1.generate("a photo of a fox", [0], steps=3)
    with tiny_sd1.edited(*parts):
        assert np.array_equal(tiny_sd1.generate("a photo of a fox", [0], steps=3), together)
    assert [leaf.settings["sae"] for leaf in edit.leaves()] == [str(root / "words"), str(root / "pixels")]


def test_the_control_changes_other_features_of_like_density_in_the_same_way(library, tiny_sd1):
    changes = [Change("words", (1, 2, 3), "scale", 0.0), Change("pixels", (3, 4), "add", 2.0)]
    edit = edit_of(library, tiny_sd1, changes)
    control = edit.random(seed=1)
    for own, other, change in zip(edit.leaves(), control.leaves(), changes, strict=True):
        drawn = other.tensors["features"].tolist()
        assert len(drawn) == len(change.features) and not set(drawn) & set(change.features)
        assert {**other.settings} == {**own.settings}
        density = library.cache(change.sae).features["density"]
        assert (density[drawn] > 0).all()


def test_a_change_is_said_in_a_few_words():
    assert words_of(Change("a", (1, 2), "clamp", 3.0)) == "a: set to 3 for 1, 2"
    assert words_of(Change("a", (1,), "scale", 0.5, (800.0, 0.0))) == "a: scale by 0.5 for 1, timesteps 800 to 0"
