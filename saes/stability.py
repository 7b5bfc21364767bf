"""Whether two SAEs that differ in their seed found the same directions.

    (1)  C_ij = cos(a_i, b_j)        a, b the decoder rows
    (2)  matched = mean_i C_{i π(i)},   π the one-to-one matching with the largest sum (Hungarian algorithm)
    (3)  nearest = mean_i max_j C_ij    (several i may have the same j, so (3) ≥ (2))
Neither is 0 for unrelated dictionaries: with enough latents in few dimensions something is always near. Compare with
`random_directions`. (Paulo and Belrose 2025, arXiv:2501.16615, match the same way.)
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from saes.errors import WorkbenchError


class Matching(NamedTuple):
    """`cosines` of the matched pairs (row `pairs[i, 0]` of a, row `pairs[i, 1]` of b); `mean` is (2), `nearest` (3)."""

    pairs: Int64[Tensor, "n 2"]
    cosines: Float[Tensor, " n"]
    mean: float
    nearest: float


def matched(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Matching:
    """Matches decoder rows one to one. Rows for which the smaller dictionary has no partner are left out.

    Args:
        a: rows of one dictionary, `[n, d]`, of any length. Give those of latents that fire: dead ones lie where they
            were drawn.
        b: rows of the other, `[m, d]`.

    Returns:
        The pairs, their cosines, and the means (2) and (3).

    Raises:
        WorkbenchError: one of the two has no rows.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(a) or not len(b):
        raise WorkbenchError("There are no latents to match.", "Compare SAEs that fire.")
    cosines = normalize(a.double(), dim=1) @ normalize(b.double(), dim=1).T  # (1)
    left, right = linear_sum_assignment(cosines.numpy(), maximize=True)
    pairs = torch.stack([torch.from_numpy(left), torch.from_numpy(right)], dim=1)
    found = cosines[pairs[:, 0], pairs[:, 1]]
    return Matching(pairs, found.float(), float(found.mean()), float(cosines.amax(1).mean()))  # (2), (3)


def random_directions(a: Float[Tensor, "n d"], seed: int = 0) -> Float[Tensor, "n d"]:
    """As many uniform random directions, to match with instead of the other SAE's.

    Args:
        a: rows, `[n, d]`; only their shape is used.
        seed: seed of the directions.

    Returns:
        Unit rows, `[n, d]`.
    """
    return normalize(torch.randn(a.shape, generator=torch.Generator().manual_seed(seed)), dim=1)
