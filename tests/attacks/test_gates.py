"""What an edit decides, as attacks treat it: forward as it is, backward as a sigmoid; or held open and held shut."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from tests.attacks.double import double, edits
from tests.attacks.test_reach import PROMPTS, seen
from workbench.attacks.gates import MARGIN, TEMPERATURE, TreatedGates, branches_of, cosines, straight
from workbench.attacks.reach import Reach, reaching
from workbench.edits.gates import Decision, blended
from workbench.edits.gating import Gating
from workbench.models import TokenEmbeddings

DECIDES = ("itd", "detect_replace", "gated adapter", "composed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return double("sd1", tmp_path_factory.mktemp("double"))


@pytest.fixture(scope="module")
def every(model, tmp_path_factory):
    return edits(model, tmp_path_factory.mktemp("edits"))


def predicted(model, change, treatment, branches=(None, None), prompts=PROMPTS):
    with reaching(model, change, treatment) as reach:
        return reach(seen(), prompts, branches)


def decision(scores, threshold=2.0):
    draw = torch.Generator().manual_seed(0)
    changed = torch.randn(len(scores), 3, 4, generator=draw, dtype=torch.float64)
    score = torch.tensor(scores, dtype=torch.float64)
    return Decision(torch.arange(len(scores)), changed, score, torch.tensor(threshold))


def test_edits_that_decide_are_known_and_others_are_attacked_once(every):
    assert {name for name, one in every.items() if one.decides()} == set(DECIDES)
    assert branches_of(every["itd"], "two_branch") == (1.0, 0.0)
    assert branches_of(every["itd"], "straight_through") == branches_of(every["weight"], "two_branch") == (None,)


def test_straight_through_is_the_decision_forward_and_a_sigmoid_of_the_margin_backward():
    scores = torch.tensor([1.9, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    made = decision([0.0] * 3)._replace(score=scores)
    x = torch.zeros(3, 3, 4, dtype=torch.float64)
    y = blended(x, made, TreatedGates("straight_through"))
    assert torch.equal(y, torch.stack([x[0], made.changed[1], made.changed[2]]))
    (gradient,) = torch.autograd.grad(y.sum(), scores)
    soft = torch.sigmoid((scores / 2 - 1) / TEMPERATURE)
    assert_close(gradient, soft * (1 - soft) / TEMPERATURE / 2 * made.changed.sum(dim=(1, 2)))
    hard = blended(x, made, TreatedGates("hard"))
    assert torch.equal(hard, y) and not hard.requires_grad


def test_a_held_branch_acts_or_does_not_whatever_the_score_and_pays_for_what_would_make_it_act():
    made, gates = decision([1.0, 1.9, 3.0, 3.0]), TreatedGates("two_branch")
    with gates.held((0.0, 0.0, 0.0, 1.0)):
        assert gates.acts(made).tolist() == [0, 0, 0, 1]
        assert_close(gates.overshoot(), torch.tensor([0, MARGIN - 0.05, MARGIN + 0.5, 0], dtype=torch.float64))
    with gates.held((None,) * 4):
        assert gates.overshoot() == 0


def test_a_threshold_of_nothing_is_no_decision():
    made, gates = decision([0.0, 1.0], threshold=0.0), TreatedGates("two_branch")
    with gates.held((0.0, 0.0)):
        assert gates.acts(made).tolist() == [1, 1] and gates.overshoot() == 0


@pytest.mark.parametrize("kind", DECIDES)
@pytest.mark.parametrize("treatment", ["hard", "straight_through"])
def test_forward_the_edit_is_as_it_is(model, every, kind, treatment):
    """Of two prompts of which it acts on one."""
    with model.edited(every[kind]), torch.no_grad():
        wanted = Reach(model, 7.5 if kind == "composed" else None)(seen(), PROMPTS).noise
    got = predicted(model, every[kind], treatment)
    assert_close(got.noise, wanted, rtol=1e-9, atol=1e-9)
    assert got.overshoot == 0


@pytest.mark.parametrize("kind", ["itd", "detect_replace", "gated adapter"])
def test_held_open_it_acts_on_all_and_held_shut_on_none(model, every, kind):
    edit = every[kind]
    opened = replace(edit, gate="always") if kind == "gated adapter" else opened_by_threshold(edit)
    got = predicted(model, edit, "two_branch", (1.0, 0.0))
    with torch.no_grad():
        acted = predicted(model, opened, "hard").noise
        x = seen().latents(model)
        plain = model.predicted_noise(x, 600, model.encode(PROMPTS))
    assert_close(got.noise[0], acted[0], rtol=1e-9, atol=1e-9)
    assert_close(got.noise[1], plain[1], rtol=1e-9, atol=1e-9)
    assert got.overshoot[0] == 0 <= got.overshoot[1]
    assert not torch.allclose(acted, plain)


def opened_by_threshold(edit):
    return replace(edit, tensors={**edit.tensors, "tau": torch.tensor(1e-12, dtype=torch.float64)})


def test_through_a_straight_gate_a_gradient_comes_back_that_the_gate_itself_has_not(model, every):
    """Of a prompt that ItD touches: with the decision as it is, nothing tells how to pass below the threshold."""
    given = model.token_embeddings(["a photo of a fox"])
    grads = {}
    for treatment in ("hard", "straight_through"):
        leaf = given.embeddings[0].detach().requires_grad_()
        with reaching(model, every["itd"], treatment) as reach:
            noise = reach(seen(rows=1), TokenEmbeddings(given.ids, (leaf,))).noise
            (grads[treatment],) = torch.autograd.grad(noise.square().sum(), leaf)
    assert not torch.allclose(grads["hard"], grads["straight_through"], rtol=1e-3)


def test_the_cosine_of_a_gate_is_its_own_and_has_a_gradient(model, every):
    gating = Gating(model, [["fox", "cat"], ["dog"]], "cosine")
    given = model.token_embeddings(PROMPTS)
    leaf = given.embeddings[0].detach().requires_grad_()
    soft = cosines(model.encode(TokenEmbeddings(given.ids, (leaf,))), gating)
    assert_close(soft.detach(), gating.of(PROMPTS))
    assert torch.autograd.grad(soft.sum(), leaf)[0].abs().sum() > 0
    assert cosines(model.encode(PROMPTS), Gating(model, [["fox"]], "tokens")).tolist() == [[0.0], [0.0]]


def test_straight_has_the_value_of_one_and_the_gradient_of_the_other():
    soft = torch.tensor([0.25], requires_grad=True)
    got = straight(torch.tensor([1.0]), 3 * soft)
    assert got.item() == 1.0 and torch.autograd.grad(got.sum(), soft)[0].item() == 3.0
