"""MMA: slopes of each place's own token, swaps in one place, and the loss of pooled embeddings."""

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.attacks.double import double
from tests.attacks.small import EDIT, ROWS, Always
from workbench.attacks.attack import Budget
from workbench.attacks.controls import Nothing
from workbench.attacks.mma import MMA, Swaps, _letters, distance, ends, pooled, slopes, swaps
from workbench.attacks.pursuit import Chase
from workbench.attacks.reach import Reach
from workbench.attacks.tokens import FREE, content, slots, vocabulary
from workbench.models import TokenEmbeddings


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return double("sd1", tmp_path_factory.mktemp("double"))


def problem(model, words=5, rows=ROWS[:2], barred=("fox",), **told):
    """A search of some prompts from random letters, unedited."""
    attack = MMA(tokens=words, **{"candidates": 64, "top": 20, **told})
    prompts = slots(model, [[FREE] * words for _ in rows])
    given = model.token_embeddings([row.prompt for row in rows])
    wanted = pooled(model.encode(given), ends(model, given)).detach()
    draws = [torch.Generator().manual_seed(n) for n in range(len(rows))]
    free = vocabulary(model, Nothing(), barred)
    start = [_letters(model, words, draw) for draw in draws]
    chases = [Chase(n, None) for n in range(len(rows))]
    return Swaps(attack, model, EDIT.no_op(), rows, chases, prompts, wanted, [free] * len(rows),
                 [barred] * len(rows), draws, 1, start)  # fmt: skip


@pytest.mark.parametrize("place", range(5))
def test_a_slope_is_the_finite_difference_of_its_own_places_token(model, place):
    """Moves the one-hot vector of token `place` towards another token: a slope of the place before would be another."""
    found = problem(model)
    reach = Reach(model, None)
    table, ids = found.words[0].table, torch.cat(found.now)
    got = found.slopes(reach, [0, 1])[0][place]
    with torch.no_grad():
        base = table[ids].clone()
        by_token = []
        for token in range(0, len(table), 10):
            both = []
            for sign in (1, -1):
                moved = base.clone()
                moved[place] += sign * 1e-6 * table[token]
                both.append(found.losses(reach, [0, 1], ids, moved)[0])
            by_token.append((both[0] - both[1]) / 2e-6)
    wanted = torch.stack(by_token)
    assert_close(got[::10] / got[::10].norm(), wanted / wanted.norm(), rtol=1e-5, atol=1e-8)


def test_slopes_have_unit_length():
    gradient, table = torch.randn(3, 4, dtype=torch.float64), torch.randn(9, 4, dtype=torch.float64)
    got = slopes(gradient, table)
    assert_close(got, torch.nn.functional.normalize(gradient @ table.T, dim=1))
    assert slopes(0 * gradient, table).eq(0).all()


def test_a_candidate_differs_in_exactly_one_place_and_takes_one_of_the_best_tokens(model):
    found = problem(model)
    slope, words, ids = found.slopes(Reach(model, None), [0, 1])[0], found.words[0], found.now[0]
    got = swaps(ids, slope, words, 200, 7, torch.Generator().manual_seed(0))
    places = (got != ids).nonzero()
    assert torch.equal(places[:, 0], torch.arange(200)) and set(places[:, 1].tolist()) == set(range(5))
    for row, place in places.tolist():
        better = (slope[place] < slope[place, got[row, place]]) & words.allowed
        better[ids[place]] = False
        assert better.sum() < 7 and words.allowed[got[row, place]]


def test_the_loss_is_nothing_for_the_prompts_own_tokens(model):
    found = problem(model)
    own = torch.tensor([token for row in ROWS[:2] for token in content(model, row.prompt)])
    with torch.no_grad():
        losses = found.losses(Reach(model, None), [0, 1], own, found.words[0].table[own])
        letters = torch.cat(found.now)
        others = found.losses(Reach(model, None), [0, 1], letters, found.words[0].table[letters])
    assert losses.abs().max() < 1e-12 and others.min() > 1e-4


def test_the_loss_is_a_cosine_between_0_and_2():
    x = torch.tensor([[1.0, 0.0]])
    wanted = [(1.0, 0.0, 0.0), (0.0, 3.0, 1.0), (-2.0, 0.0, 2.0)]
    for a, b, loss in wanted:
        assert distance(torch.tensor([[a, b]]), x).item() == pytest.approx(loss)


def test_what_a_prompt_is_pooled_to_is_the_row_of_its_end_or_what_the_model_pools(tiny_sd1, tiny_sdxl):
    for model in (tiny_sd1, tiny_sdxl):
        texts = ["a fox", "a photo of a red dog"]
        given = model.token_embeddings(texts)
        with torch.no_grad():
            got, whole = pooled(model.encode(given), ends(model, given)), model.encode(texts)
        wanted = whole.embeddings[[0, 1], [3, 7]] if whole.pooled is None else whole.pooled
        assert_close(got, wanted)


def test_the_best_candidate_is_taken_even_if_it_is_worse_and_the_best_of_all_is_kept(model):
    found = problem(model, candidates=4, top=200)
    reach, seen = Reach(model, None), []
    with torch.no_grad():
        for _ in range(25):
            before, kept = found.now[0], found.lowest[0]
            found.exchange(reach, [0, 1])
            ids = torch.cat(found.now)
            losses = found.losses(reach, [0, 1], ids, found.words[0].table[ids])
            seen.append(float(losses[0]))
            assert (found.now[0] != before).sum() == 1 and found.lowest[0] == min(kept, seen[-1])
    assert any(later > earlier for earlier, later in pairwise(seen)), "some steps are worse"
    assert found.lowest[0] == min(seen) < seen[0]


def test_a_search_comes_nearer_than_as_many_random_prompts(model):
    found = problem(model)
    with torch.no_grad():
        draw = torch.Generator().manual_seed(9)
        allowed = found.words[0].allowed.nonzero()[:, 0]
        ids = allowed[torch.randint(len(allowed), (64 * 8, 5), generator=draw)]
        chance = found.measured(Reach(model, None), [0] * len(ids), ids).min()
    found.steps = 8
    found.improve([0, 1], 0)
    assert found.lowest[0] < chance


def test_no_word_that_may_not_be_used_comes_out_not_even_in_pieces(model):
    found = problem(model, barred=("cat",), words=3)
    usable = found.usable
    assert usable(0, "a red dog") and not usable(0, "a redcat s") and not usable(0, "A Cat") and not usable(0, None)


def test_an_edit_of_the_text_encoder_is_attacked_through_it(model):
    """The words are to mean to the edited encoder what the prompt meant to the unedited one."""
    found = problem(model)
    ids = torch.cat(found.now)
    with torch.no_grad(), model.edited(EDIT):
        got = found.losses(Reach(model, None), [0, 1], ids, found.words[0].table[ids])
        whole = found.prompts.filled(ids)
        at = (whole.ids[0] == model.pipe.tokenizer.eos_token_id).int().argmax(dim=1)
        rows = model.encode(whole).embeddings[torch.arange(2), at]
    assert_close(got, 1 - torch.cosine_similarity(rows, found.wanted))
    with torch.no_grad():
        assert not torch.allclose(got, found.losses(Reach(model, None), [0, 1], ids, found.words[0].table[ids]))


def test_it_starts_from_letters_and_excludes_the_concepts_name(tiny_sd1, monkeypatch):
    made = []
    init = Swaps.__post_init__
    monkeypatch.setattr(Swaps, "__post_init__", lambda self: (init(self), made.append(self))[0])
    attack = MMA(tokens=4, candidates=4, without=("dog",))
    attack.attempts(tiny_sd1, EDIT, ROWS[:2], Always(False), budget=Budget(1, 1), steps=1)
    (search,) = made
    assert search.barred == [("dog", "fox"), ("dog", "cat")]
    names = {word: content(tiny_sd1, word)[0] for word in ("dog", "fox", "cat")}
    assert [[bool(words.allowed[token]) for token in names.values()] for words in search.words] == [
        [False, False, True], [False, True, False],
    ]  # fmt: skip
    again = attack.attempts(tiny_sd1, EDIT, ROWS[:2], Always(False), budget=Budget(1, 1), steps=1)
    assert all(len(one.prompt.split()) == 4 or one.given for one in again)


def test_embeddings_are_of_the_whole_prompt(model):
    given = problem(model).prompts.embedded(torch.arange(10), torch.zeros(10, 16, dtype=torch.float64))
    assert isinstance(given, TokenEmbeddings) and given.embeddings[0][:, 1:6].eq(0).all()


def test_bad_settings_are_refused():
    for wrong in ({"tokens": 0}, {"top": 0}, {"candidates": 0}):
        with pytest.raises(WorkbenchError):
            MMA(**wrong)
