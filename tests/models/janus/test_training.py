"""A student of its own: trained by teacher forcing, it becomes an edit, and the model never changes."""

import pytest
import torch

from saes.errors import WorkbenchError
from workbench.edits import WeightEdit
from workbench.fitting.copies import changes, own_language_model, parameters_of

CHOSEN = "language_model.layers.0.self_attn."


def is_chosen(name):
    return name.startswith(CHOSEN)


def test_a_student_shares_what_is_not_trained_and_its_change_is_an_edit(tiny_janus):
    before, codes = tiny_janus.identity, tiny_janus.sample_codes("a fox", 1)
    student = own_language_model(tiny_janus, is_chosen)
    trained = parameters_of(student, "language_model", is_chosen)
    assert len(trained) == 4 and all(one is not tiny_janus.parameter(name) for name, one in trained.items())
    others = parameters_of(student, "language_model", lambda name: not is_chosen(name))
    assert all(one is tiny_janus.parameter(name) for name, one in others.items())
    assert torch.equal(student.sample_codes("a fox", 1), codes)

    for one in trained.values():
        one.requires_grad_()
    target = tiny_janus.hidden(codes, "a cat")
    optimizer = torch.optim.Adam(trained.values(), lr=0.01)
    losses = []
    for _ in range(5):
        losses.append((student.hidden(codes, "a fox") - target).square().mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    assert all(one.grad is not None and one.grad.any() for one in trained.values())

    tensors = changes(tiny_janus, student, trained)
    edit = WeightEdit(
        tensors=tensors, settings={}, method="by hand", concepts=["fox"], seed=0, base_fingerprint=before.fingerprint
    )
    drawn = student.sample_codes("a fox", [1, 2])
    with tiny_janus.edited(edit):
        assert torch.equal(tiny_janus.sample_codes("a fox", [1, 2]), drawn)
    assert tiny_janus.identity == before and not torch.equal(drawn[:1], codes)


def test_sessions_of_the_model_are_none_of_the_student(tiny_janus):
    student = own_language_model(tiny_janus, is_chosen)
    with tiny_janus.session(record=["lm.0"]) as session:
        student.sample_codes("a fox", 1)
        assert not session.records["lm.0"]
        with pytest.raises(WorkbenchError, match="A session has hooks in the language_model"):
            own_language_model(tiny_janus, is_chosen)
    with student.session(record=["lm.0"]) as session:
        student.sample_codes("a fox", 1)
    assert session.records["lm.0"]


def test_a_student_in_half_precision_learns_in_float32(tiny_janus):
    from workbench.models import load

    half = load(tiny_janus.folder, device="cpu", dtype=torch.bfloat16)
    student = own_language_model(half, is_chosen)
    trained = parameters_of(student, "language_model", is_chosen)
    assert {one.dtype for one in trained.values()} == {torch.float32}
    for one in trained.values():
        one.requires_grad_()
    student.logits(torch.tensor([[1, 2, 3]]), "a fox").float().square().mean().backward()
    assert all(one.grad.any() for one in trained.values())
    assert student.sample_codes("a fox", 1).shape == (1, 16)
