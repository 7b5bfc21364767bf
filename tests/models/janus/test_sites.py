"""Sites against what the modules hand over: calls, shapes, and what the positions of each call stand for."""

import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_janus import BOI, CELLS, LAYERS, WIDTH
from workbench.hooks import AttentionRecorder, Place, SiteEdit

PROMPTS, LENGTHS = ["a fox", "a red fox"], (8, 9)


def test_the_table_names_every_layer(tiny_janus):
    expected = ["lm.in"]
    for layer in range(LAYERS):
        expected += [f"lm.{layer}", f"lm.{layer}.attn", f"lm.{layer}.attn.heads", f"lm.{layer}.mlp"]
    assert list(tiny_janus.sites()) == [*expected, "lm.norm", "head.in"]


def test_every_site_is_passed_once_a_token_with_the_declared_shape(tiny_janus):
    sites = tiny_janus.sites()
    with tiny_janus.session(record=list(sites)) as session:
        codes = tiny_janus.sample_codes(PROMPTS, [1, 2])
    for alias, site in sites.items():
        clocks, activations = zip(*session.records[alias], strict=True)
        first = 1 if alias == "head.in" else max(LENGTHS)
        assert [each.shape for each in activations] == [(4, first, WIDTH), *[(4, 1, WIDTH)] * (CELLS - 1)], alias
        assert site.channels == WIDTH and site.positions == CELLS
        steps = [(clock.step.index, clock.step.of, clock.timestep, clock.call) for clock in clocks]
        assert steps == [(index, CELLS, None, index) for index in range(CELLS)]
        assert {clock.roles for clock in clocks} == {("cond", "cond", "uncond", "uncond")}
        assert clocks[0].prompts == (*PROMPTS, *PROMPTS)
        for cell, clock in enumerate(clocks[1:]):
            assert clock.tokens.ids.tolist() == [[code] for code in codes[:, cell].tolist() * 2]
            assert (clock.tokens.position == cell).all() and (clock.tokens.places == Place.PICTURE).all()
    first = session.records["lm.0"][0][0].tokens
    assert first.places[0].tolist() == [6, 0, 5, 5, 1, 1, 5, 5, 2] and first.places[2, 4:6].tolist() == [3, 3]
    assert session.records["head.in"][0][0].tokens.ids.tolist() == [[BOI]] * 4


def test_the_parts_of_a_layer_are_the_models_own(tiny_janus):
    names = ["lm.in", "lm.0", "lm.0.attn", "lm.0.attn.heads", "lm.0.mlp", "lm.norm", "head.in"]
    with tiny_janus.session(record=names) as session:
        hidden = tiny_janus.hidden(torch.tensor([[1, 2, 3]]), "a fox")
        tiny_janus.logits(torch.tensor([[1, 2, 3]]), "a fox")
    seen = {name: records[0][1] for name, records in session.records.items()}
    torch.testing.assert_close(seen["lm.in"] + seen["lm.0.attn"] + seen["lm.0.mlp"], seen["lm.0"])
    joined = tiny_janus.module("language_model.layers.0.self_attn.o_proj")(seen["lm.0.attn.heads"])
    torch.testing.assert_close(joined, seen["lm.0.attn"])
    assert torch.equal(seen["lm.norm"], hidden) and torch.equal(seen["head.in"], hidden[:, -3:])


def test_unconditional_rows_of_one_length_are_equal(tiny_janus):
    with tiny_janus.session(record=["lm.in", "lm.0"]) as session:
        tiny_janus.sample_codes(["a fox", "a cat"], [1, 2])
    for alias in ("lm.in", "lm.0"):
        first = session.records[alias][0][1]
        assert torch.equal(first[2], first[3]) and not torch.equal(first[0], first[1]), alias


def test_an_edit_that_does_nothing_leaves_every_bit_at_all_sites(tiny_janus):
    plain = tiny_janus.generate(PROMPTS, [1, 2])
    for change in (lambda x, clock: x, lambda x, clock: x.contiguous().clone()):
        with tiny_janus.session(edits=[SiteEdit(site, change) for site in tiny_janus.sites().values()]):
            assert (tiny_janus.generate(PROMPTS, [1, 2]) == plain).all()


def test_a_large_shift_of_conditional_rows_changes_the_tokens_at_every_site(tiny_janus):
    plain = tiny_janus.sample_codes("a fox", 1)

    def shift(x, clock):
        return torch.where(clock.mask("cond")[:, None, None], 3 * x.flip(-1) + 1, x)

    for alias, site in tiny_janus.sites().items():
        with tiny_janus.session(edits=[SiteEdit(site, shift)]):
            assert not torch.equal(tiny_janus.sample_codes("a fox", 1), plain), alias
    assert torch.equal(tiny_janus.sample_codes("a fox", 1), plain)


def test_an_edit_can_keep_to_the_picture(tiny_janus):
    """Token 0 is told from the prompt alone, so it stays."""
    plain = tiny_janus.sample_codes("a fox", 1)

    def shift(x, clock):
        return torch.where((clock.tokens.places == Place.PICTURE)[..., None], x.flip(-1), x)

    with tiny_janus.session(edits=[SiteEdit(tiny_janus.site("lm.1"), shift)]):
        changed = tiny_janus.sample_codes("a fox", 1)
    assert changed[0, 0] == plain[0, 0] and not torch.equal(changed, plain)


def test_attention_goes_to_the_prompt_and_to_earlier_tokens(tiny_janus):
    sites = tiny_janus.attention_sites()
    with AttentionRecorder(tiny_janus, list(sites.values()), role="cond") as recorder:
        tiny_janus.sample_codes(PROMPTS, [1, 2])
    assert list(sites) == [f"lm.{layer}.attn" for layer in range(LAYERS)]
    for records in recorder.records.values():
        prompt = records[0][1]
        assert prompt.shape == (2, 9, 9) and len(records) == CELLS
        assert (prompt[0, 1:, 0] == 0).all(), "padding on the left is not attended"
        assert not prompt[1].triu(1).any()
        for call, (_, seen) in enumerate(records[1:]):
            assert seen.shape == (2, 1, 10 + call)
            torch.testing.assert_close(seen.sum(dim=-1), torch.ones(2, 1))


def test_what_has_no_meaning_here_is_refused(tiny_janus):
    with pytest.raises(WorkbenchError, match="Prompts of a Janus have no fixed length"):
        tiny_janus.architecture.segments()
    with pytest.raises(WorkbenchError, match="was called directly"), tiny_janus.session(record=["lm.0"]):
        tiny_janus.pipe.language_model(torch.tensor([[1, 2]]))
