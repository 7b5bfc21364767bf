"""Programs that belong to no single method.

    (1)  x′ = x + (s − 1) Σ_{f∈F} z_f d_f       z the code of x, d_f the decoder row of feature f

Written as a difference, so that what the dictionary does not explain of x stays as it is.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from saes.dictionary import Code, Dictionary
from workbench.hooks import Activation, Clock


def identity(x: Activation, clock: Clock, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Activation:
    """Changes nothing: the control that shows what installing an edit costs."""
    return x


def scale_features(
    x: Activation, clock: Clock, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> Activation:
    """(1) on all conditional rows. The first position of a prompt, its begin token, is never touched.

    Tensors: a dictionary and `features`. Settings: those of the dictionary and `strength`, s.
    """
    rows = clock.mask("cond")
    if not rows.any():
        return x
    dictionary = Dictionary.from_tensors(tensors, settings)
    chosen = x[rows].to(dictionary.W_dec.dtype)
    touched = torch.ones(chosen.shape[:2], dtype=torch.bool, device=x.device)
    touched[:, : int(clock.component == "text")] = False
    code = dictionary.encode(chosen)
    changed = x.clone()
    changed[rows] = (chosen + scaling(dictionary, code, tensors["features"], touched, settings["strength"])).to(x.dtype)
    return changed  # (1)


def scaling(
    dictionary: Dictionary,
    code: Code,
    features: Int64[Tensor, " found"],
    touched: Bool[Tensor, "rows positions"],
    strength: float,
) -> Float[Tensor, "rows positions d"]:
    """(s − 1) Σ_{f∈F} z_f d_f at the touched positions, exactly 0 elsewhere."""
    scaled = torch.isin(code.indices, features) & touched[..., None]
    return (strength - 1) * dictionary.directions(Code(code.values * scaled, code.indices))
