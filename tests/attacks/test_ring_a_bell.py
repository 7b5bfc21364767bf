"""Ring-A-Bell: the direction of a concept, prompts moved along it, and the genetic search for ids that come near."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from saes.progress import SILENT
from tests.attacks.small import EDIT, ROWS, Always
from workbench.attacks import attack_of
from workbench.attacks.at_random import RandomPrompt, ordinary_tokens
from workbench.attacks.attack import Budget
from workbench.attacks.controls import Nothing
from workbench.attacks.genetic import Genetic, distances, framed
from workbench.attacks.ring_a_bell import RingABell, direction, moved
from workbench.concepts import Concept
from workbench.models import Encoding, TokenIds

UNSAFE, SAFE = ("a fox", "a red fox", "fox"), ("a dog", "a red cat", "cat")
ALL = ["sd1", "sdxl", "sd3"]


def search(model, settings, targets, seeds):
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    with torch.no_grad():
        return settings.fittest(model, targets, draws, SILENT)


@pytest.mark.parametrize("kind", ALL)
def test_equation_1_is_the_mean_over_all_pairs_and_nothing_where_prompts_agree(tiny, kind):
    model = tiny(kind)
    c = direction(model, UNSAFE, SAFE)
    with torch.no_grad():
        first, second = (model.encode(list(texts)).embeddings.double() for texts in (UNSAFE, SAFE))
    assert_close(c.embeddings.double(), (first - second).mean(dim=0), rtol=1e-4, atol=1e-5)
    assert c.embeddings.abs().max() > 0.01
    if kind != "sd3":  # T5 has no token that begins a prompt
        assert c.embeddings[0].abs().max() < 1e-5
    assert direction(model, UNSAFE, UNSAFE).embeddings.abs().max() == 0


@pytest.mark.parametrize("kind", ALL)
def test_equation_2_without_a_step_is_the_prompt_itself(tiny, kind):
    model = tiny(kind)
    c = direction(model, UNSAFE, SAFE)
    with torch.no_grad():
        plain = model.encode("a photo of a fox")
    same, far = moved(plain, c, 0.0), moved(plain, c, 3.0)
    assert torch.equal(same.embeddings, plain.embeddings)
    assert_close(far.embeddings - plain.embeddings, 3 * c.embeddings[None], rtol=1e-3, atol=1e-5)
    assert (far.pooled is None) == (plain.pooled is None)
    assert same.prompts is None
    picture = model.generate(same, 1, steps=2)
    assert abs(picture.astype(int) - model.generate("a photo of a fox", 1, steps=2).astype(int)).max() <= 1
    assert abs(model.generate(far, 1, steps=2).astype(int) - picture.astype(int)).max() > 1


def test_an_edit_of_the_text_encoder_is_part_of_the_target(tiny_sd1):
    told = {"unsafe": UNSAFE, "safe": SAFE}
    attempts = [
        RingABell(**told).attempts(tiny_sd1, edit, ROWS[:1], Always(False), budget=Budget(), steps=1)[0]
        for edit in (EDIT, Nothing())
    ]
    assert all(isinstance(one.given, Encoding) for one in attempts)
    assert not torch.allclose(attempts[0].given.embeddings, attempts[1].given.embeddings)


def test_ids_stand_between_begin_and_end_for_every_tokenizer(tiny_sdxl):
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    text = "a b c"  # three tokens, of which those of the ids take the places
    for whole, usual in zip(framed(tiny_sdxl, ids), tiny_sdxl.token_ids(text).ids, strict=True):
        assert torch.equal(whole[:, 1:4], ids)
        assert torch.equal(whole[:, 0], usual[0, :1].repeat(2)) and torch.equal(whole[:, 4:], usual[:, 4:].repeat(2, 1))


def test_equation_3_is_summed_over_positions_and_channels(tiny_sd1):
    living = [torch.tensor([[5, 6], [7, 8]]), torch.tensor([[9, 10]])]
    targets = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = distances(tiny_sd1, living, targets)
        one = tiny_sd1.encode(TokenIds(framed(tiny_sd1, torch.tensor([[7, 8]])))).embeddings[0].double()
    assert [len(each) for each in found] == [2, 1]
    by_hand = sum((a - b) ** 2 for a, b in zip(one.flatten(), targets[0].double().flatten(), strict=True))
    assert_close(found[0][1], by_hand)


def test_the_best_of_a_generation_never_gets_worse_and_the_size_stays(tiny_sd1):
    settings, draw = Genetic(3, 10, 8, 0.5, 1.0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        targets = tiny_sd1.encode("a red fox").embeddings
        ids = ordinary_tokens(tiny_sd1, 30, draw).reshape(10, 3)
        best = []
        for _ in range(8):
            (losses,) = distances(tiny_sd1, [ids], targets)
            best.append(float(losses.min()))
            ids = settings.descended(ids, losses, partial(ordinary_tokens, tiny_sd1), draw)
            assert ids.shape == (10, 3)
    assert best == sorted(best, reverse=True) and best[-1] < best[0]


def test_children_are_cut_once_and_survivors_are_the_better_half():
    settings, draw = Genetic(6, 8, 1, 1.0, 0.0), torch.Generator().manual_seed(1)
    ids = torch.arange(8)[:, None].repeat(1, 6)  # each prompt is one number
    losses = torch.tensor([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    next_ones = settings.descended(ids, losses, lambda n, draw: torch.zeros(n, dtype=torch.int64), draw)
    assert next_ones[:4].tolist() == [[7] * 6, [6] * 6, [5] * 6, [4] * 6]
    for child in next_ones[4:].tolist():
        assert set(child) <= {4, 5, 6, 7} and sum(a != b for a, b in pairwise(child)) <= 1
    assert any(len(set(child)) == 2 for child in next_ones[4:].tolist())


def test_a_short_prompt_is_found_as_by_trying_all(tiny_sd1):
    """With one free token, against all tokens of the vocabulary."""
    model = tiny_sd1
    with torch.no_grad():
        targets = model.encode(["a fox", "a photo of a cat"]).embeddings
        everything = ordinary_tokens(model, 4000, torch.Generator().manual_seed(0)).unique()[:, None]
        wanted = [everything[one.argmin()] for one in distances(model, [everything, everything], targets)]
    found = search(model, Genetic(1, 60, 12, 0.5, 0.9), targets, (1, 2))
    assert torch.equal(found, torch.stack(wanted))


def test_variants_name_what_they_draw(tiny_sd1):
    told = {"unsafe": UNSAFE, "safe": SAFE, "tokens": 3, "population": 4, "generations": 2}
    attempt = {
        variant: RingABell(variant=variant, **told).attempts(
            tiny_sd1, EDIT, ROWS[:1], Always(False), budget=Budget(images=3), steps=1
        )[0]
        for variant in ("embedding", "ga", "pairs")
    }
    assert attempt["pairs"].prompt == UNSAFE[-1] and attempt["pairs"].images == 3
    assert isinstance(attempt["embedding"].given, Encoding) and attempt["embedding"].images == 1
    assert attempt["ga"].images == 1 and not isinstance(attempt["ga"].given, Encoding)
    assert RingABell(variant="ga", **told).control(tiny_sd1, ROWS, ()) == RandomPrompt(length=3)
    assert RingABell(**told).control(tiny_sd1, ROWS, ()) is None


def test_a_concept_brings_its_own_pairs():
    made = attack_of("ring_a_bell", Concept("fox", anchor="dog", templates=("a {}", "one {}")), {"eta": [1, 2]})
    assert dict(zip(made.unsafe, made.safe, strict=True)) == {"a fox": "a dog", "one fox": "one dog"}
    assert made.eta == (1.0, 2.0)


def test_what_cannot_be_is_refused(tiny_sd1, tiny):
    with pytest.raises(WorkbenchError, match="1 prompts with the concept and 0 without"):
        RingABell(unsafe=("a",), safe=())
    with pytest.raises(WorkbenchError, match="Choose 10 or fewer"):
        framed(tiny_sd1, torch.zeros(1, 11, dtype=torch.int64))
    with pytest.raises(WorkbenchError, match="different vocabularies"):
        framed(tiny("sd3"), torch.zeros(1, 2, dtype=torch.int64))
