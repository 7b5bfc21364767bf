"""One least-squares problem for the whole closed-form family: move some rows, keep others, stay near the old weights.

For each map W of a group that reads the same rows (all keys and values of cross-attention):
    (1)  min over W′ of  Σ_i w_i ‖W′c_i − W a_i‖² + Σ_j w_j ‖W′k_j − W k_j‖² + λ ‖W′ − W‖_F²
         c_i reads as a_i did; k_j reads as before; the terms are UCE's, RECE's, TRCE's and RealEra's
    (2)  W′ = W (I + M),   M = X A⁻¹,   A = λI + Σ w_i c_i c_iᵀ + Σ w_j k_j k_jᵀ,   X = Σ w_i (a_i − c_i) c_iᵀ
M does not depend on W: one factorisation of one d×d matrix serves every layer, whatever their number, and the edit is a
change of the text embedding that only cross-attention sees. Its rank is at most the number of moved rows, so that as
long as these are few M is held as a product of two thin matrices.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.edits.weight import DELTA, LEFT, RIGHT

Rows = Float[Tensor, "n d"]
Square = Float[Tensor, "d d"]
SMALLEST = 1e-13  # eigenvalues of A below this share of the largest count as 0 in the fallback


class Shift(NamedTuple):
    """M = left · right: every map W becomes W (I + M)."""

    left: Float[Tensor, "d r"]
    right: Float[Tensor, "r d"]

    def dense(self) -> Square:
        """M itself."""
        return self.left @ self.right

    def then(self, later: "Shift") -> "Shift":
        """(I + M)(I + M′) = I + M″: first this shift, then one that was solved for with the shifted maps."""
        left = torch.cat([self.left, later.left + self.left @ (self.right @ later.left)], dim=1)
        return compact(Shift(left, torch.cat([self.right, later.right])))


def compact(shift: Shift) -> Shift:
    """The same M, as M · I where the factors are larger than M."""
    d = shift.left.shape[0]
    if shift.left.shape[1] <= d:
        return shift
    return Shift(shift.dense(), torch.eye(d, dtype=shift.left.dtype, device=shift.left.device))


class Ridge:
    """The normal equations of (1), gathered a batch of rows at a time; float64, memory O(d²)."""

    def __init__(self, d: int, damping: float, device: torch.device | str = "cpu") -> None:
        self.gram = damping * torch.eye(d, dtype=torch.float64, device=device)  # A
        self._cross: Square | None = None  # X, once the moved rows are more than d
        self._moved: list[tuple[Tensor, Tensor]] = []  # (a − c, w c), while they are not

    def move(self, rows: Rows, to: Rows, weight: float = 1.0) -> None:
        """c_i = `rows`, a_i = `to`, w_i = `weight`."""
        rows, to = rows.to(self.gram), to.to(self.gram)
        self.keep(rows, weight)
        self._moved.append((to - rows, weight * rows))
        if self._cross is not None or sum(len(step) for step, _ in self._moved) > len(self.gram):
            total = sum(step.T @ weighted for step, weighted in self._moved)
            self._cross = total if self._cross is None else self._cross + total  # type: ignore[assignment]
            self._moved = []

    def keep(self, rows: Rows, weight: float = 1.0) -> None:
        """k_j = `rows`, w_j = `weight`."""
        rows = rows.to(self.gram)
        self.gram.addmm_(rows.T, rows, alpha=weight)

    def inverse(self) -> Callable[[Rows], Rows]:
        """`rows ↦ rows · A⁻¹`. Cholesky; if A is singular, the pseudo-inverse from its eigenvectors, with a warning:
        the solution is then the smallest M among all that fit equally well, as `torch.linalg.lstsq` gives it."""
        if not bool(torch.isfinite(self.gram).all()):
            raise WorkbenchError("The text embeddings are not finite.", "Load the model in a wider dtype.")
        factor, failed = torch.linalg.cholesky_ex(self.gram)
        smallest = factor.diagonal().square().min() / self.gram.diagonal().max()
        if not bool(failed) and float(smallest) > SMALLEST:
            return lambda rows: torch.cholesky_solve(rows.T, factor).T
        warnings.warn(
            "The rows to move and to keep do not determine the edit (their Gram matrix is singular): of all solutions "
            "the smallest is taken. Give more text to keep, or a damping above 0.",
            stacklevel=3,
        )
        values, vectors = torch.linalg.eigh(self.gram)
        kept = values > SMALLEST * values.max()
        return lambda rows: (rows @ vectors[:, kept] / values[kept]) @ vectors[:, kept].T

    def solve(self) -> Shift:
        """(2). Raises `WorkbenchError` if nothing is to be moved."""
        times_inverse = self.inverse()
        if self._cross is not None:
            eye = torch.eye(len(self.gram)).to(self.gram)
            return Shift(times_inverse(self._cross), eye)
        if not self._moved:
            raise WorkbenchError("There is nothing to move.", "Give at least one concept.")
        steps, weighted = (torch.cat(parts) for parts in zip(*self._moved, strict=True))
        return Shift(steps.T, times_inverse(weighted))


def deltas(maps: Mapping[str, Tensor], shift: Shift) -> dict[str, Tensor]:
    """Δ = W M of every map, as tensors of a `WeightEdit`, by one product over all maps.

    float32 products of the float64 solution (float64 for maps in float64). Raises `WorkbenchError` if the maps are
    none, or of several dtypes.
    """
    dtype = torch.promote_types(one_dtype(maps), torch.float32)
    stacked = torch.cat([weight.detach() for weight in maps.values()]).to(dtype)
    sizes = [len(weight) for weight in maps.values()]
    if thin(stacked, shift):
        lefts = (stacked @ shift.left.to(dtype)).split(sizes)
        return {name + LEFT: left for name, left in zip(maps, lefts, strict=True)} | {RIGHT: shift.right.to(dtype)}
    whole = (stacked @ shift.dense().to(dtype)).split(sizes)
    return {name + DELTA: delta for name, delta in zip(maps, whole, strict=True)}


def thin(stacked: Tensor, shift: Shift) -> bool:
    """Whether the factors of all Δ together hold fewer numbers than the Δ."""
    rank, d = shift.right.shape
    return rank * (len(stacked) + d) < len(stacked) * d


def one_dtype(maps: Mapping[str, Tensor]) -> torch.dtype:
    """The dtype that all maps have."""
    dtypes = {weight.dtype for weight in maps.values()}
    if not dtypes:
        raise WorkbenchError("The model has no maps that read the prompt.", "Use a method that does not edit them.")
    if len(dtypes) > 1:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        raise WorkbenchError(f"The maps that read the prompt have several dtypes ({names}).", "Load the model in one.")
    return dtypes.pop()
