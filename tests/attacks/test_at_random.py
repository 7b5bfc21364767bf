"""Controls of attacks on tokens: as many tokens, in the same places, drawn anew for each picture."""

import pytest
import torch

from saes.errors import WorkbenchError
from tests.attacks.small import EDIT, ROWS, Always
from workbench.attacks.at_random import RandomAmong, RandomPrefix, RandomPrompt, ordinary_tokens, with_prefix
from workbench.attacks.attack import Budget
from workbench.attacks.mma import MMA
from workbench.attacks.p4d import P4D
from workbench.attacks.tokens import content


def ids_of(model, one):
    return (model.token_ids(one.prompt) if one.given is None else one.given).ids[0][0].tolist()


def drawn(model, control, row=ROWS[0], images=1):
    """The ids of the last draw for a row, between begin and end."""
    (one,) = control.attempts(model, EDIT, [row], Always(False), budget=Budget(images), steps=1)
    assert one.images == images
    ids, end = ids_of(model, one), model.pipe.tokenizer.eos_token_id
    return ids[1 : ids.index(end)]


def test_each_attack_on_tokens_is_compared_with_as_many_in_the_same_places(tiny_sd1):
    own = content(tiny_sd1, ROWS[0].prompt)  # a photo of a fox
    assert len(drawn(tiny_sd1, P4D(tokens=7).control(tiny_sd1, ROWS, ()))) == 7
    assert len(drawn(tiny_sd1, MMA(tokens=4).control(tiny_sd1, ROWS, ()))) == 4
    among = drawn(tiny_sd1, P4D(variant="k", every=2).control(tiny_sd1, ROWS, ()))
    assert [among[place] for place in (1, 2, 4, 5, 7)] == own and len(among) == 8
    before = drawn(tiny_sd1, RandomPrefix(length=3))
    assert before[3:] == own and len(before) == 8


@pytest.mark.parametrize("control", [RandomPrefix(length=3), RandomPrompt(length=3), RandomAmong(every=2)])
def test_every_picture_has_new_tokens_and_a_row_always_the_same(tiny_sd1, control):
    first, second = drawn(tiny_sd1, control), drawn(tiny_sd1, control, images=2)
    assert first != second and first == drawn(tiny_sd1, control) and drawn(tiny_sd1, control, ROWS[1]) != first


def test_no_token_of_a_word_that_may_not_be_used_is_drawn(tiny_sd1):
    barred = {*content(tiny_sd1, "fox"), *content(tiny_sd1, "photo of a dog")}
    tokens = ordinary_tokens(tiny_sd1, 5000, torch.Generator().manual_seed(0), ("fox", "photo of a dog"))
    known = set(ordinary_tokens(tiny_sd1, 5000, torch.Generator().manual_seed(0)).tolist())
    assert barred <= known and not barred & set(tokens.tolist())
    control = MMA(tokens=2, without=("dog",)).control(tiny_sd1, ROWS, ())
    assert control == RandomPrompt(length=2, without=("dog",), nameless=True)


@pytest.mark.parametrize("control", [RandomPrefix(length=9), RandomPrompt(length=90), RandomAmong(every=1)])
def test_what_does_not_fit_is_refused_before_any_picture(tiny_sd1, control):
    long = [type(ROWS[0])("a photo of a red fox and a dog", "target", "fox", 0)]
    with pytest.raises(WorkbenchError, match=r"does not fit|has no room"):
        control.check(tiny_sd1, long, Budget(1))


@pytest.mark.parametrize("kind", ["sdxl", "sd3", "flux"])
def test_where_there_are_several_tokenizers_the_others_read_the_text_of_the_first(tiny, kind):
    model, prefix = tiny(kind), torch.tensor(content(tiny(kind), "red dog"))
    assert with_prefix(model, "a fox", prefix).same(model.token_ids("red dog a fox"))
