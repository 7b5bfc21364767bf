"""Gradient surgery: what of one gradient is against another goes, weight by weight.

With g the gradient of what is to be learnt, r that of what is to be kept, both of one tensor, and κ their cosine:
    (1)  κ < 0:  g ← g − λ ⟨g, r̂⟩ r̂,   r̂ = r / ‖r‖;    else g stays                  (PCGrad, arXiv:2001.06782)
    (2)  κ < 0:  g ← g − λ κ r̂                            as DoCo's code has it, without the length of g
At λ = 1 (1) leaves g ⊥ r. (2) adds up to |κ| along r whatever the length of g: where ‖g‖ < λ, as it is after clipping,
what is kept is pulled at too, in each tensor by as much.
"""

from torch import Tensor, nn

from workbench.fitting.players import Gradients


def without_conflict(learn: Tensor, keep: Tensor, scale: float = 1.0, *, official: bool = False) -> Tensor:
    """A gradient without what of it is against another.

    Args:
        learn: g, of any shape.
        keep: r, of the same shape.
        scale: λ.
        official: (2) in the place of (1).

    Returns:
        g by (1) or (2); g itself where there is no conflict, or one of them is 0.
    """
    unit = keep / keep.norm()
    along = (learn * unit).sum()  # ⟨g, r̂⟩ = κ ‖g‖, and no number for r = 0
    if not along < 0:
        return learn
    return learn - scale * (along / learn.norm() if official else along) * unit  # (2), (1)


def clipped(gradients: Gradients, largest: float) -> dict[str, Tensor]:
    """Gradients of all parameters together, shortened to a norm if they are longer.

    Args:
        gradients: By parameter.
        largest: The norm, more than 0.

    Returns:
        Copies, by parameter.
    """
    factor = (largest / nn.utils.get_total_norm(list(gradients.values()))).clamp(max=1.0)
    return {name: factor * one for name, one in gradients.items()}
