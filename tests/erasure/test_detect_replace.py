"""Detect and replace: what is put where, on tensors in float64, then on a real (tiny) pipeline."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from tests.tiny_saes import memorising_sae, save_tiny_sae
from workbench.activations.positions import Frame, token_places
from workbench.concepts import Concept
from workbench.edits import ActivationEdit, ComposedEdit, load_edit
from workbench.erasure.detect_replace import DetectReplace, replaced, role_means, roles_of, standing_anchors

BEGIN, END = 98, 99
IDS = torch.tensor([[BEGIN, 1, 2, END, END, END], [BEGIN, 1, 2, 3, 4, END]])


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem():
    """A dictionary in float64, activations [2, 6, 5], and the tables of means [2 + 6, 5]."""
    dictionary = Dictionary("topk", normal(5, 12, seed=1), normal(12), normal(12, 5, seed=2), normal(5), normal(5), 3)
    tensors = {**dictionary.tensors, "features": torch.tensor([3, 8])}
    return normal(2, 6, 5, seed=3), {**tensors, "anchor": normal(8, 5, seed=4), "own": normal(8, 5, seed=5)}


def fires(x, tensors):
    """Where one of the features is among the three largest and above zero; never at the begin token."""
    a = (x - tensors["b_in"]) @ tensors["W_enc"] + tensors["b_enc"]
    marked = ((a >= a.topk(3, dim=-1).values[..., -1:]) & (a > 0))[..., tensors["features"]].any(dim=-1)
    marked[:, 0] = False
    return marked


def test_roles_are_words_the_first_end_and_each_place_of_the_padding():
    assert roles_of(token_places(IDS, Frame(END))).tolist() == [[0, 0, 0, 1, 6, 7], [0, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize("by", ["activation", "difference"])
def test_equations_2_and_3_at_the_positions_of_equation_1(by):
    x, tensors = problem()
    rows = [[0, 0, 0, 1, 2 + 4, 2 + 5], [0, 0, 0, 0, 0, 1]]  # word, end, padding at 4 and 5
    expected, marked = x.clone(), fires(x, tensors)
    assert marked.any() and not marked[:, 1:].all()
    for prompt, position in marked.nonzero().tolist():
        row = rows[prompt][position]
        kept = x[prompt, position] - tensors["own"][row] if by == "difference" else 0
        expected[prompt, position] = tensors["anchor"][row] + kept
    settings = {"architecture": "topk", "k": 3, "by": by}
    assert_close(replaced(x, token_places(IDS, Frame(END)), tensors, settings), expected, rtol=0, atol=1e-12)


def test_an_anchor_that_is_erased_too_hands_on_to_its_own():
    fox, cat, dog = Concept("fox", anchor="Vixen"), Concept("cat", anchor="fox"), Concept("dog", synonyms=["vixen"])
    assert standing_anchors([replace(fox, anchor="cat"), replace(cat, anchor="bear")]) == {"fox": "bear", "cat": "bear"}
    assert standing_anchors([fox, replace(dog, anchor="bear")])["fox"] == "bear"
    with pytest.raises(WorkbenchError, match=r"cat, fox lead back"):
        standing_anchors([replace(fox, anchor="cat"), cat])


# --- on a pipeline ---------------------------------------------------------------------------------------------------

FOX = Concept("fox", anchor="cat", synonyms=["vixen"], retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
NEUTRAL = "red dog"


@pytest.fixture(scope="module")
def method(tiny_sd1, tmp_path_factory) -> DetectReplace:
    folder = tmp_path_factory.mktemp("sae") / "text.0"
    return DetectReplace(sae=save_tiny_sae(memorising_sae(tiny_sd1, "text.0"), folder), m=12, by="activation")


def at_site(model, prompts, *edits, role="cond"):
    with torch.no_grad(), model.edited(*edits), model.session(record=["text.0"]) as session:
        model.encode(prompts, role=role)
    return session.records["text.0"][0][1]


def test_the_means_are_those_of_the_word_the_end_and_the_padding(tiny_sd1):
    prompts = ["a photo of a cat", "cat"]  # the word at 5 and 1, the end at 6 and 2
    x = at_site(tiny_sd1, prompts)
    means = role_means(tiny_sd1, tiny_sd1.site("text.0"), prompts, "cat")
    assert_close(means[0], (x[0, 5] + x[1, 1]) / 2)
    assert_close(means[1], (x[0, 6] + x[1, 2]) / 2)
    assert_close(means[2 + 7], (x[0, 7] + x[1, 7]) / 2)
    assert_close(means[2 + 4], x[1, 4])  # padding in the shorter prompt alone
    assert_close(means[2 + 0], x[1, 3])  # padding in none: the first that is
    assert means.shape == (2 + x.shape[1], x.shape[2])


def test_a_target_prompt_becomes_the_anchors_and_other_prompts_keep_their_bits(tiny_sd1, method):
    edit = method.fit(tiny_sd1, [FOX])
    before = at_site(tiny_sd1, ["a photo of a fox", NEUTRAL, "a photo of a cat"])
    after = at_site(tiny_sd1, ["a photo of a fox", NEUTRAL, "a photo of a cat"], edit)
    assert torch.equal(after[1:], before[1:])
    assert_close(after[0, 5], edit.tensors["anchor"][0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before[0, 5], after[0, 5], atol=1e-2)
    assert torch.equal(after[0, :5], before[0, :5])  # a photo of a: the features do not fire here
    assert torch.equal(at_site(tiny_sd1, FOX.name, edit, role="uncond"), at_site(tiny_sd1, FOX.name, role="uncond"))


def test_the_same_prompts_are_touched_as_by_the_detector(tiny_sd1, method):
    own, itd = method.fit(tiny_sd1, [FOX]), method.detector().fit(tiny_sd1, [FOX])
    assert isinstance(own, ActivationEdit)
    for name in ("features", "tau", "density"):
        assert torch.equal(own.tensors[name], itd.tensors[name])
    prompts = ["a photo of a fox", "fox", NEUTRAL, "a photo of a bear", "vixen"]
    plain = at_site(tiny_sd1, prompts)
    touched = [(at_site(tiny_sd1, prompts, one) != plain).flatten(1).any(1).tolist() for one in (own, itd)]
    assert touched[0] == touched[1] == [True, True, False, False, False]


def test_the_difference_adds_the_mean_step_from_the_concept_to_its_anchor(tiny_sd1, method):
    edit = replace(method, by="difference").fit(tiny_sd1, [FOX])
    x = at_site(tiny_sd1, [*FOX.prompts(), *FOX.anchor_prompts()])
    step = ((x[2, 5] + x[3, 1]) - (x[0, 5] + x[1, 1])) / 2  # word
    moved = at_site(tiny_sd1, "a photo of a fox", edit)[0] - x[0]
    assert_close(moved[5], step, atol=1e-5, rtol=1e-5)
    assert step.norm() > 0.1


def test_several_concepts_become_one_composed_edit_with_an_anchor_that_stays(tiny_sd1, method):
    cat = Concept("cat", anchor="dog", retain=["bear", "fox"], templates=FOX.templates)
    both = method.fit(tiny_sd1, [FOX, cat])
    assert isinstance(both, ComposedEdit) and both.concepts == ("fox", "cat")
    after = at_site(tiny_sd1, ["a photo of a fox", "a photo of a cat", NEUTRAL], both)
    dog = role_means(tiny_sd1, tiny_sd1.site("text.0"), [p.replace("fox", "dog") for p in FOX.prompts()], "dog")
    assert_close(after[0, 5], dog[0], atol=1e-5, rtol=1e-5)
    assert_close(after[1, 5], dog[0], atol=1e-5, rtol=1e-5)
    assert torch.equal(after[2], at_site(tiny_sd1, NEUTRAL)[0])


def test_the_control_moves_the_same_positions_as_far_and_elsewhere(tiny_sd1, method, tmp_path):
    edit = method.fit(tiny_sd1, [FOX])
    control = edit.random(seed=3)
    control.save(tmp_path / "control")
    plain = at_site(tiny_sd1, ["a photo of a fox", NEUTRAL])
    own, other = (at_site(tiny_sd1, ["a photo of a fox", NEUTRAL], one) - plain for one in (edit, control))
    assert_close(own.norm(dim=-1), other.norm(dim=-1), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(own, other, atol=1e-2)
    again = at_site(tiny_sd1, ["a photo of a fox", NEUTRAL], load_edit(tmp_path / "control")) - plain
    assert torch.equal(again, other)


@pytest.mark.parametrize(
    ("concept", "said"),
    [
        (Concept("fox", retain=["dog"]), "needs `anchor`"),
        (Concept("fox", anchor="cat"), "needs `retain or captions`"),
    ],
)
def test_what_cannot_be_fitted_is_refused(tiny_sd1, method, concept, said):
    with pytest.raises(WorkbenchError, match=said):
        method.fit(tiny_sd1, [concept])


def test_settings_that_the_detector_refuses_are_refused_at_once():
    with pytest.raises(WorkbenchError, match="m is 0"):
        DetectReplace(m=0)


@pytest.mark.parametrize(("kind", "site"), [("sd2", "text.0"), ("sdxl", "text2.1")])
def test_it_works_on_every_architecture_that_it_supports(tiny, tmp_path, kind, site):
    model = tiny(kind)
    sae = save_tiny_sae(memorising_sae(model, site), tmp_path / "sae")
    edit = DetectReplace(sae=sae, m=12).fit(model, [FOX])
    with torch.no_grad(), model.edited(edit):
        after = model.encode(["a photo of a fox", NEUTRAL]).embeddings
    before = model.encode(["a photo of a fox", NEUTRAL]).embeddings
    assert not torch.allclose(after[0], before[0], atol=1e-3) and torch.equal(after[1], before[1])
    assert kind in DetectReplace.supports.kinds
