"""How far a prediction that is read off an early layer agrees with the one that the model makes in the end.

After the logit lens (nostalgebraist 2020, lesswrong.com/posts/AcKRB8wDpdaN6v6ru): a layer's hidden state is given to
the final norm and the output head, as if no layer came after it. With p the final distribution over the codebook, q
that of the layer, and c the token that was taken:
    (1)  KL(p ‖ q) = Σ_v p_v (log p_v − log q_v)      in nats; 0 where the layer says what the end says
    (2)  q_c, and the rank of c in q: 1 + the number of tokens that q finds likelier
"""

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor


class Agreement(NamedTuple):
    """(1) in nats, and (2): probability in [0, 1], rank from 1 on."""

    kl: Float[Tensor, "*rows"]
    probability: Float[Tensor, "*rows"]
    rank: Float[Tensor, "*rows"]


def agreement(
    layer: Float[Tensor, "*rows codes"], final: Float[Tensor, "*rows codes"], token: Int64[Tensor, "*rows"]
) -> Agreement:
    """How far one prediction agrees with another, and with a token.

    Args:
        layer: Logits of the layer, `[…, codes]`.
        final: Logits of the end.
        token: What was taken, `[…]`.

    Returns:
        A number for each prediction.
    """
    log_q, log_p = layer.log_softmax(dim=-1), final.log_softmax(dim=-1)
    kl = (log_p.exp() * (log_p - log_q)).sum(dim=-1).clamp(min=0)  # (1)
    own = layer.gather(-1, token[..., None])
    rank = 1 + (layer > own).sum(dim=-1)  # (2)
    return Agreement(kl, log_q.gather(-1, token[..., None])[..., 0].exp(), rank.to(kl.dtype))


def decided_at(same: Float[Tensor, "*rows layers codes"]) -> Int64[Tensor, "*rows codes"]:
    """The first layer from which on every layer agrees.

    Args:
        same: Positive where a layer agrees with the end, `[…, layers, places]`.

    Returns:
        Numbers of layers `[…, places]`; as many as there are layers where not even the last agrees.
    """
    agreeing_to_the_end = (same > 0).long().flip(-2).cumprod(dim=-2).sum(dim=-2)
    return same.shape[-2] - agreeing_to_the_end
