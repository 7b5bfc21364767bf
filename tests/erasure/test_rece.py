"""RECE against its equations, each written out map by map and solved by `torch.linalg.lstsq` in float64."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.erasure.rece import RECE, Rounds, gram_of_maps, recall, rounds
from workbench.erasure.uce import UCE, kept_prompts
from workbench.fitting.embedding import embed
from workbench.fitting.least_squares import Gram, Moves, Shift

D, DAMPING = 10, 0.3
FOX = Concept("fox", anchor="cat", retain=["dog", "bear"], templates=["a photo of a {}"])
BEAR = Concept("bear", anchor="dog", kind="unsafe", templates=["{}"])


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(5)


def rows(n, rng, d=D):
    return torch.randn(n, d, generator=rng, dtype=torch.float64)


@pytest.fixture
def maps(rng):
    return {name: rows(out, rng) for name, out in (("k", 6), ("v", 6), ("k2", 9))}


@pytest.fixture
def start(rng):
    return Shift(0.5 * rows(2, rng).T, rows(2, rng))


def edited(maps, shift):
    return {name: W @ (torch.eye(D) + shift.dense()) for name, W in maps.items()}


def ridge_by_lstsq(W, terms, damping):
    """argmin over W′ of Σ w ‖W′c − v‖² + λ ‖W′ − W‖²; terms are (w, c, v) with rows c and values v."""
    scaled = [(w**0.5 * c, w**0.5 * v) for w, c, v in terms]
    eye = torch.eye(W.shape[1], dtype=W.dtype)
    left, right = (torch.cat(parts) for parts in zip(*scaled, (damping**0.5 * eye, damping**0.5 * W.T), strict=True))
    return torch.linalg.lstsq(left, right, driver="gelsd").solution.T


def recalled_by_lstsq(original, current, c, regular_scale):
    """c′ of (1), row by row."""
    left = torch.cat([*current.values(), regular_scale**0.5 * torch.eye(c.shape[1], dtype=c.dtype)])
    right = torch.cat([*(W @ c.T for W in original.values()), torch.zeros(c.shape[1], len(c), dtype=c.dtype)])
    return torch.linalg.lstsq(left, right, driver="gelsd").solution.T


def written_out(original, current, concepts, kept, *, damping, s_e, s_p):
    """All rounds, map by map. Concepts are (Rounds, c, anchor)."""
    for epoch in range(max(plan.epochs for plan, _, _ in concepts)):
        at_work = [(plan.regular_scale, c, a) for plan, c, a in concepts if plan.epochs > epoch]
        found = [(recalled_by_lstsq(original, current, c, scale), a) for scale, c, a in at_work]
        current = {
            name: ridge_by_lstsq(W, [*((s_e, c, a @ W.T) for c, a in found), (s_p, kept, kept @ W.T)], damping)
            for name, W in current.items()
        }
    return current


def moves(c, a, weight=1.0):
    found = Moves(c.shape[1])
    found.add(c, a, weight)
    return found


def keeping(k, weight):
    gram = Gram(D)
    gram.add(k, weight)
    return gram


@pytest.mark.parametrize("n", [1, 4, 3 * D], ids=lambda n: f"{n} rows")
@pytest.mark.parametrize(
    "plans", [[Rounds(0.2, 1)], [Rounds(0.2, 3)], [Rounds(0.2, 3), Rounds(0.004, 1)], [Rounds(0.2, 2), Rounds(5.0, 2)]]
)
def test_rounds_on_one_small_matrix_are_the_rounds_map_by_map(n, plans, maps, start, rng):
    concepts = [(plan, rows(n, rng), rows(n, rng)) for plan in plans]
    kept = rows(3, rng)
    groups = {plan: moves(c, a, 1.7) for plan, c, a in concepts}
    shift = rounds(start, gram_of_maps(maps), groups, keeping(kept, 0.6), damping=DAMPING)
    expected = written_out(maps, edited(maps, start), concepts, kept, damping=DAMPING, s_e=1.7, s_p=0.6)
    for name, W in edited(maps, shift).items():
        assert_close(W, expected[name], rtol=1e-8, atol=1e-8)
        assert (W - edited(maps, start)[name]).norm() > 1e-2


def test_concepts_beyond_the_rows_that_are_held_count_in_every_round(maps, start, rng):
    """Three groups of rows, of which the first two are more than d together: the third is still there in round 3."""
    plan, parts = Rounds(0.2, 3), [(rows(n, rng), rows(n, rng)) for n in (D - 2, 4, 3)]
    found = Moves(D)
    for c, a in parts:
        found.add(c, a)
    kept = rows(3, rng)
    shift = rounds(start, gram_of_maps(maps), {plan: found}, keeping(kept, 0.6), damping=DAMPING)
    concepts = [(plan, c, a) for c, a in parts]
    expected, without = (
        written_out(maps, edited(maps, start), some, kept, damping=DAMPING, s_e=1.0, s_p=0.6)
        for some in (concepts, concepts[:2])
    )
    for name, W in edited(maps, shift).items():
        assert_close(W, expected[name], rtol=1e-8, atol=1e-8)
        assert (expected[name] - without[name]).norm() > 1e-2


@pytest.mark.parametrize("regular_scale", [1e-3, 0.1, 30.0])
def test_recalled_rows_solve_equation_1(regular_scale, maps, start, rng):
    c, current = rows(4, rng), edited(maps, start)
    found = c @ recall(gram_of_maps(maps), start, regular_scale).T
    assert_close(found, recalled_by_lstsq(maps, current, c, regular_scale), rtol=1e-8, atol=1e-8)


def fit_of(maps, current, c, u):
    return sum((W @ u.T - maps[name] @ c.T).square().sum() for name, W in current.items())


def test_recalled_rows_recall_more_than_the_concept_and_less_the_more_they_are_regularised(maps, start, rng):
    c, current, gram = rows(4, rng), edited(maps, start), gram_of_maps(maps)
    found = {scale: c @ recall(gram, start, scale).T for scale in (1e-6, 0.1, 1.0, 10.0)}
    sizes, misses = [u.norm() for u in found.values()], [fit_of(maps, current, c, u) for u in found.values()]
    assert sizes == sorted(sizes, reverse=True) and misses == sorted(misses)
    for scale, u in found.items():
        assert (
            fit_of(maps, current, c, u) + scale * u.square().sum()
            < fit_of(maps, current, c, c) + scale * c.square().sum()
        )


def test_an_unedited_model_recalls_the_concept_itself_and_a_huge_regulariser_nothing(maps, start, rng):
    c, gram = rows(4, rng), gram_of_maps(maps)
    unedited = Shift(torch.zeros(D, 1, dtype=torch.float64), torch.zeros(1, D, dtype=torch.float64))
    assert_close(c @ recall(gram, unedited, 1e-10).T, c, rtol=0, atol=1e-6)
    assert (c @ recall(gram, unedited, 10.0).T - c).norm() > 0.1
    change = rounds(start, gram, {Rounds(1e12, 1): moves(c, rows(4, rng))}, keeping(c, 0.1), damping=DAMPING)
    assert_close(change.dense(), start.dense(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("n", [4, 2 * D])
def test_the_last_edit_is_a_minimum_and_brings_the_recalled_rows_to_their_anchor(n, maps, start, rng):
    c, a, k = rows(n, rng), rows(n, rng), rows(3, rng)
    shift = rounds(start, gram_of_maps(maps), {Rounds(0.1, 1): moves(c, a)}, keeping(k, 0.2), damping=DAMPING)
    u = c @ recall(gram_of_maps(maps), start, 0.1).T
    for before, after in zip(edited(maps, start).values(), edited(maps, shift).values(), strict=True):
        W = after.clone().requires_grad_()
        missed = (u @ W.T - a @ before.T).square().sum()
        (missed + 0.2 * (k @ (W - before).T).square().sum() + DAMPING * (W - before).square().sum()).backward()
        assert W.grad.abs().max() < 1e-8
        assert missed < (u @ before.T - a @ before.T).square().sum()


def test_nothing_changes_where_nothing_is_asked(maps, start, rng):
    c, a, gram = rows(4, rng), rows(4, rng), gram_of_maps(maps)

    def moved(anchor, weight=1.0, damping=DAMPING):
        groups = {Rounds(0.1, 1): moves(c, anchor, weight)}
        shift = rounds(start, gram, groups, keeping(c, 0.1), damping=damping)
        return (shift.dense() - start.dense()).norm()

    assert moved(a) > 0.1
    assert moved(a, weight=0.0) < 1e-10 and moved(a, damping=1e12) < 1e-8
    assert moved(c @ recall(gram, start, 0.1).T) < 1e-10


def test_without_rounds_it_is_uce_bit_for_bit(tiny_sd1):
    uce, rece = UCE().fit(tiny_sd1, [FOX]), RECE(epochs=0).fit(tiny_sd1, [FOX])
    more = RECE(epochs=1).fit(tiny_sd1, [FOX])
    for name in uce.names:
        assert torch.equal(rece.delta(name), uce.delta(name))
        assert (more.delta(name) - uce.delta(name)).norm() > 1e-3 * uce.delta(name).norm()


@pytest.mark.parametrize("start", [UCE(), UCE(tokens="last", templates=True)], ids=["all", "last"])
def test_a_fit_is_the_rounds_written_out_on_the_models_own_maps(tiny_sd1, start):
    concepts = [FOX, BEAR]
    edit = RECE(start=start, erase_scale=1.7, damping=0.4, preserve_scale=0.3).fit(tiny_sd1, concepts)
    original = {name: W.detach().double() for name, W in tiny_sd1.prompt_maps().items()}
    begun = start.fit(tiny_sd1, concepts)
    current = {name: W + begun.delta(name).double() for name, W in original.items()}
    plans = [(Rounds(0.1, 1), "a photo of a fox", "a photo of a cat"), (Rounds(0.1, 3), "bear", "dog")]
    if not start.templates:
        plans[0] = (Rounds(0.1, 1), "fox", "cat")
    pairs = [(plan, *embed(tiny_sd1, [prompt, anchor]).double()) for plan, prompt, anchor in plans]
    kept = embed(tiny_sd1, [one.prompt for one in kept_prompts(concepts)]).double().flatten(0, 1)
    expected = written_out(original, current, pairs, kept, damping=0.4, s_e=1.7, s_p=0.3)
    for name, W in original.items():
        delta = expected[name] - W
        assert (edit.delta(name).double() - delta).norm() < 1e-4 * delta.norm()


@pytest.mark.parametrize(
    ("keep_empty", "kind", "times"),
    [("published", "unsafe", 3), ("published", "object", 1), ("each", "object", 3), ("once", "unsafe", 1)],
)
def test_a_list_of_words_keeps_the_empty_prompt_as_often_as_it_is_told(tiny_sd1, keep_empty, kind, times):
    """All rows of the empty prompt stand `times` times in the stacked problem of each round, those of kept words once;
    UCE, which it starts from, keeps it once."""
    words = ("fox", "bear", "cat")
    concepts = [Concept(word, anchor="dog", kind=kind, retain=["photo"], templates=["{}"]) for word in words]
    start, plan = UCE(preserve_scale=0.1), Rounds(0.1, 2)
    method = RECE(start=start, keep_empty=keep_empty, regular_scale=plan.regular_scale, epochs=plan.epochs)
    edit = method.fit(tiny_sd1, concepts)
    original = {name: W.detach().double() for name, W in tiny_sd1.prompt_maps().items()}
    begun = start.fit(tiny_sd1, concepts)
    current = {name: W + begun.delta(name).double() for name, W in original.items()}
    pairs = [(plan, *embed(tiny_sd1, [word, "dog"]).double()) for word in words]

    def expected(count):
        kept = embed(tiny_sd1, ["photo", *[""] * count]).double().flatten(0, 1)
        return written_out(original, current, pairs, kept, damping=0.1, s_e=1.0, s_p=0.1)

    for name, W in original.items():
        delta, other = (expected(count)[name] - W for count in (times, 4 - times))
        assert (edit.delta(name).double() - delta).norm() < 1e-4 * delta.norm()
        assert (other - delta).norm() > 1e-2 * delta.norm()
    assert edit.settings["empty_prompts"] == times


def test_the_order_of_concepts_does_not_matter(tiny_sd1):
    first, second = RECE().fit(tiny_sd1, [FOX, BEAR]), RECE().fit(tiny_sd1, [BEAR, FOX])
    for name in first.names:
        assert (first.delta(name) - second.delta(name)).norm() < 1e-4 * first.delta(name).norm()


def test_only_keys_and_values_of_cross_attention_change(tiny_sd2, tiny_sdxl):
    for model in (tiny_sd2, tiny_sdxl):
        names = RECE().fit(model, [FOX]).names
        assert names == sorted(model.prompt_maps())
        assert all(name.endswith((".attn2.to_k.weight", ".attn2.to_v.weight")) for name in names)


def test_an_edit_tells_the_rounds_of_each_concept(tiny_sd1):
    style = Concept("dog", kind="style", templates=["{}"])
    settings = RECE().fit(tiny_sd1, [BEAR, style]).settings
    assert settings["rounds"] == {
        "bear": {"regular_scale": 0.1, "epochs": 3},
        "dog": {"regular_scale": 1e-3, "epochs": 1},
    }
    assert settings["start"]["preserve_scale"] == 1.0 and settings["start"]["anchors"] == {"bear": "dog", "dog": ""}
    assert RECE(epochs=2, regular_scale=0.5).rounds_of(style) == Rounds(0.5, 2)


def test_what_cannot_be_is_refused(tiny_sd3, tiny_flux):
    for model in (tiny_sd3, tiny_flux):
        with pytest.raises(WorkbenchError, match="sd1, sd2, sdxl"):
            RECE().fit(model, [FOX])
    for settings in ({"epochs": -1}, {"damping": -0.1}, {"regular_scale": 0.0}, {"start": UCE(technique="tensor")}):
        with pytest.raises(WorkbenchError):
            RECE(**settings)
