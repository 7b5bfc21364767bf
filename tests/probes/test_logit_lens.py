"""The arithmetic of the logit lens, against other ways to the same numbers."""

import torch
from torch.distributions import Categorical, kl_divergence
from torch.testing import assert_close

from probes.logit_lens import agreement, decided_at


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_divergence_probability_and_rank_are_those_of_the_distributions():
    layer, final, token = draw(3, 5, 7), draw(3, 5, 7, seed=1), torch.arange(15).reshape(3, 5) % 7
    found = agreement(layer, final, token)
    assert_close(found.kl, kl_divergence(Categorical(logits=final), Categorical(logits=layer)))
    assert_close(found.probability.log(), Categorical(logits=layer).log_prob(token))
    order = layer.argsort(dim=-1, descending=True)
    assert_close(found.rank, 1.0 + (order == token[..., None]).double().argmax(dim=-1).double())


def test_the_last_layer_agrees_with_itself_and_a_common_shift_of_logits_changes_nothing():
    final, token = draw(4, 6), torch.zeros(4, dtype=torch.int64)
    for same in (final, final + 3):
        assert_close(agreement(same, final, token).kl, torch.zeros(4).double(), atol=1e-12, rtol=0)
    assert (agreement(draw(4, 6, seed=2), final, token).kl > 0.01).all()


def test_a_cell_is_decided_where_all_later_layers_agree():
    same = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 1, 0]])  # layers × cells
    assert decided_at(same.float()).tolist() == [2, 3, 0, 3]
    assert decided_at(same[None].float()).shape == (1, 4)
