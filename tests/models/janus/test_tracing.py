"""nnsight at the sites of a Janus sees, changes and differentiates what teacher forcing passes."""

import torch
from torch.testing import assert_close

from workbench.hooks import SiteEdit

CODES = torch.tensor([[5, 6, 7]])


def test_a_trace_reads_and_writes_as_a_session_does(tiny_janus):
    order = ["lm.in", "lm.0", "lm.1.attn", "lm.2", "lm.norm", "head.in"]
    with tiny_janus.trace("a fox", CODES) as look:
        found = {}.save()
        for alias in order:
            found[alias] = look[alias]
    with tiny_janus.session(record=order) as session:
        plain = tiny_janus.logits(CODES, "a fox")
    for alias in order:
        assert torch.equal(found[alias].detach(), session.records[alias][0][1]), alias
    with tiny_janus.trace("a fox", CODES) as look:
        look["lm.1"] = 0.5 * look["lm.1"]
        after = look["head.in"].detach().save()
    with tiny_janus.session(edits=[SiteEdit(tiny_janus.site("lm.1"), lambda x, clock: 0.5 * x)]):
        changed = tiny_janus.logits(CODES, "a fox")
    assert_close(tiny_janus.pipe.generation_head(after), changed)
    assert not torch.allclose(changed, plain)


def test_a_gradient_reaches_from_the_picture_to_the_words(tiny_janus):
    with tiny_janus.trace("a fox", CODES) as look:
        words = look.with_gradient("lm.0").save()
        last = look["head.in"][:, -1].square().sum().save()
    (slope,) = torch.autograd.grad(last, words)
    assert slope.shape == (1, 10, 32) and (slope[0, :-1].abs().sum(dim=-1) > 0).all()
