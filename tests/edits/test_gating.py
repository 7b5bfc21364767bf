"""How far adapters open: cosine and shared tokens, by the model's own text encoder."""

import pytest
import torch

from workbench.edits.gating import Gating, shared, similarity, tokens


def test_a_target_opens_its_own_adapter_wholly(tiny_sd1):
    for gate in ("both", "cosine", "tokens", "always"):
        assert Gating(tiny_sd1, [["red fox"]], gate).of(["red fox"]).item() == pytest.approx(1.0)


def test_a_prompt_with_all_tokens_of_the_target_opens_it_and_letters_do_not_count(tiny_sd1):
    gates = Gating(tiny_sd1, [["red fox"]], "tokens").of(["a fox by a RED cat", "a photo of a fox", "a cat", ""])
    assert gates.flatten().tolist() == [1.0, 0.5, 0.0, 0.0]


def test_specials_never_count(tiny_sd1):
    tokenizer = tiny_sd1.pipe.tokenizer
    assert not tokens(tiny_sd1, "a fox") & set(tokenizer.all_special_ids)
    assert len(tokens(tiny_sd1, "a fox a fox")) == 2
    assert tokens(tiny_sd1, "") == set()


def test_the_cosine_is_over_all_tokens_as_the_denoiser_gets_them(tiny_sd1):
    e = tiny_sd1.encode(["a photo of a cat", "fox"]).embeddings.detach().double().flatten(1)
    wanted = float(e[0] @ e[1] / (e[0].norm() * e[1].norm()))
    assert Gating(tiny_sd1, [["fox"]], "cosine").of(["a photo of a cat"]).item() == pytest.approx(wanted, rel=1e-5)
    assert Gating(tiny_sd1, [["fox"]], "both").of(["a photo of a cat"]).item() == pytest.approx(wanted, rel=1e-5)
    assert 0 < wanted < 1


def test_the_wider_of_both_halves_and_of_several_targets_counts(tiny_sd1):
    prompts = ["a red fox", "a cat", "a blue dog"]

    def of(targets, gate):
        return Gating(tiny_sd1, targets, gate).of(prompts)

    both = of([["red fox"], ["dog", "cat"]], "both")
    halves = [of([[one]], gate) for one in ("red fox", "dog", "cat") for gate in ("cosine", "tokens")]
    wanted = torch.cat([torch.maximum(*halves[:2]), torch.stack(halves[2:]).amax(dim=0)], dim=1)
    torch.testing.assert_close(both, wanted)
    assert both.shape == (3, 2)


def test_no_gate_is_outside_0_and_1():
    x = torch.tensor([1.0, 2.0])
    assert similarity(x, -x) == 0.0 and similarity(x, 3 * x) == pytest.approx(1.0)
    assert shared({1, 2, 3}, {2, 3}) == 1.0 and shared({1}, set()) == 0.0


def test_a_prompt_is_encoded_once_and_recorders_do_not_see_it(tiny_sd1):
    passes = []
    counting = tiny_sd1.pipe.text_encoder.register_forward_hook(lambda *_: passes.append(1))
    try:
        with tiny_sd1.session(record=["text.0"]) as session:
            gating = Gating(tiny_sd1, [["fox"]], "both")
            first = gating.of(["a cat", "a cat"])
            assert torch.equal(gating.of(["a cat"]), first[:1])
    finally:
        counting.remove()
    assert len(passes) == 2 and not session.records["text.0"]  # the target and the prompt
