"""Pictures of which the first tokens are given: they are kept, and what follows is what the model would write."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_janus import CELLS, CODES, SIDE
from workbench.models import Continued

PROMPTS = ["a photo of a fox", "a cat"]


def test_a_picture_that_is_continued_from_its_own_tokens_is_the_same_picture(tiny_janus):
    own = tiny_janus.sample_codes(PROMPTS, [3, 4])
    for n in (0, 1, SIDE, CELLS - 1):
        again = tiny_janus.sample_codes(Continued(PROMPTS, own[:, :n]), [3, 4])
        assert torch.equal(again, own), f"from its first {n}"


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_given_tokens_are_kept_and_the_best_ones_follow_by_one_pass_over_them(tiny_janus, guidance_scale):
    """Each token behind them is the best of the guided logits of all before it."""
    given = torch.randint(CODES, (1, 6), generator=torch.Generator().manual_seed(0))
    got = tiny_janus.sample_codes(Continued(["a fox"], given), 0, temperature=0.0, guidance_scale=guidance_scale)
    assert torch.equal(got[:, :6], given)
    with torch.no_grad():
        cond, uncond = (tiny_janus.logits(got, "a fox", role) for role in ("cond", "uncond"))
    best = (uncond + guidance_scale * (cond - uncond)).argmax(dim=-1)
    assert torch.equal(best[:, 6:], got[:, 6:]) and not torch.equal(best[:, :6], given)


def test_a_picture_does_not_depend_on_those_beside_it(tiny_janus):
    codes = torch.randint(CODES, (2, SIDE), generator=torch.Generator().manual_seed(1))
    both = tiny_janus.generate(Continued(PROMPTS, codes), [5, 6])
    rows = Continued(PROMPTS, codes).rows()
    alone = [tiny_janus.generate(row, seed) for row, seed in zip(rows, [5, 6], strict=True)]
    assert np.array_equal(both, np.concatenate(alone))
    ids = Continued(tiny_janus.token_ids(PROMPTS), codes)
    assert np.array_equal(both, tiny_janus.generate(ids, [5, 6]))


def test_what_is_no_beginning_is_refused(tiny_janus):
    with pytest.raises(WorkbenchError, match="2 prompts and 1 beginnings of pictures"):
        Continued(PROMPTS, torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(WorkbenchError, match=r"16 of the 16 tokens of a picture are given, .* Give 15 or fewer"):
        tiny_janus.generate(Continued(["a fox"], torch.zeros(1, CELLS, dtype=torch.int64)), 0)
    with pytest.raises(WorkbenchError, match="The codebook has the codes 0 to 63"):
        tiny_janus.generate(Continued(["a fox"], torch.full((1, 2), CODES)), 0)


def test_what_a_janus_cannot_draw_is_no_prompt_in_a_sentence(tiny_janus):
    with pytest.raises(WorkbenchError, match="Encoding is no prompt"):
        tiny_janus.generate(tiny_janus.encode("a fox"), 0)
