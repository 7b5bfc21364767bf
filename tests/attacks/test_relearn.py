"""Relearn: the loss is that of the model's own training, with the edit in place; looking in between changes nothing."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.attacks.small import EDIT, ROWS, Always
from workbench.attacks import attack_of
from workbench.attacks.attack import Budget
from workbench.attacks.controls import Nothing
from workbench.attacks.relearn import Data, Relearn, denoising_loss
from workbench.concepts import Concept

SMALL = {"n": 2, "batch": 2, "lr": 0.01, "templates": ("a {}",)}


def data(model):
    with torch.no_grad():
        return Data(model.noise([1, 2, 3]), [model.encode(text) for text in ("a fox", "a cat", "a dog")])


@pytest.mark.parametrize(("kind", "aims"), [("sd1", "noise"), ("sd2", "v"), ("flux", "velocity")])
def test_equation_1_aims_at_what_the_denoiser_predicts(tiny, kind, aims):
    model, places = tiny(kind), [2, 0]
    known = data(model)
    with torch.no_grad():
        got = denoising_loss(model, known, places, torch.Generator().manual_seed(5))
    draw = torch.Generator().manual_seed(5)
    times = torch.randint(1000, (2,), generator=draw)
    noise = torch.randn(2, *known.pictures.shape[1:], generator=draw)
    total = []
    for place, time, eps in zip(places, times, noise, strict=True):
        x0 = known.pictures[place]
        if aims == "velocity":
            sigma = time / 1000
            x, u = (1 - sigma) * x0 + sigma * eps, eps - x0
        else:
            alpha = model.pipe.scheduler.alphas_cumprod[time]
            x = alpha.sqrt() * x0 + (1 - alpha).sqrt() * eps
            u = eps if aims == "noise" else alpha.sqrt() * eps - (1 - alpha).sqrt() * x0
        with torch.no_grad():
            predicted = model.noise_prediction(x[None], int(time), known.prompts[place])[0]
        total.append((predicted - u).double().square().mean())
    assert_close(got.double(), torch.stack(total).mean(), rtol=1e-3, atol=1e-5)


def test_what_is_looked_at_in_between_does_not_change_the_training(tiny_sd1):
    """And each part is a change of its own, of the selected weights alone."""
    parts, whole = (
        Relearn(steps=steps, **SMALL).attempts(
            tiny_sd1, EDIT, ROWS[:1], Always(False), budget=Budget(gradients=9), steps=1
        )[0]
        for steps in ((1, 2, 4), (4,))
    )
    assert (parts.images, parts.gradients, whole.images, whole.gradients) == (3, 4, 1, 4)
    for name, delta in whole.given.edit.tensors.items():
        assert "attn2" in name and torch.equal(delta, parts.given.edit.tensors[name])
    assert any(delta.abs().max() > 0 for delta in whole.given.edit.tensors.values())
    first = Relearn(steps=(1, 2, 4), **SMALL).attempts(
        tiny_sd1, EDIT, ROWS[:1], Always(True), budget=Budget(gradients=9), steps=1
    )[0]
    assert (first.success, first.images, first.gradients) == (True, 1, 1)


def test_it_learns_with_the_edit_in_place(tiny_sd1):
    """The same pictures teach other changes where the text encoder is another one."""
    given = [
        Relearn(steps=(2,), **SMALL).attempts(
            tiny_sd1, edit, ROWS[:1], Always(False), budget=Budget(gradients=2), steps=1
        )[0]
        for edit in (EDIT, Nothing())
    ]
    pairs = zip(*(one.given.edit.tensors.values() for one in given), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)


def test_other_things_can_be_taught_in_its_place(tiny_sd1):
    """The prompts that are encoded say so."""
    said = []
    encode = tiny_sd1.encode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_sd1, "encode", lambda prompts, role="cond": said.append(prompts) or encode(prompts, role))
        Relearn(steps=(1,), instead=("dog", "bear"), **SMALL).attempts(
            tiny_sd1, EDIT, ROWS[:1], Always(False), budget=Budget(gradients=1), steps=1
        )
    assert {"a dog", "a bear"} <= {one for one in said if isinstance(one, str)}
    assert "a fox" not in said


def test_a_concept_brings_its_templates():
    assert attack_of("relearn", Concept("fox", templates=("one {}",))).templates == ("one {}",)


@pytest.mark.parametrize("told", [{"steps": ()}, {"steps": (5, 2)}, {"steps": (0,)}, {"templates": ("fox",)}])
def test_what_is_no_plan_is_refused(told):
    with pytest.raises(WorkbenchError, match=r"steps are|no single place"):
        Relearn(**told)


def test_a_budget_below_the_first_look_is_refused(tiny_sd1):
    with pytest.raises(WorkbenchError, match="less than the 10 steps"):
        Relearn().attempts(tiny_sd1, EDIT, ROWS, Always(False), budget=Budget(gradients=3))
