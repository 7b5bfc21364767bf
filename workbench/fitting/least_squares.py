"""One least-squares problem for the whole closed-form family: move some rows, keep others, stay near the old weights.

For each map W of a group that reads the same rows (all keys and values of cross-attention):
    (1)  min over W′ of  Σ_i w_i ‖W′c_i − W a_i‖² + Σ_j w_j ‖W′k_j − W k_j‖² + λ ‖W′ − W‖_F²
         c_i reads as a_i did; k_j reads as before; the terms are UCE's, RECE's, TRCE's and RealEra's
    (2)  W′ = W (I + M),   M = X A⁻¹,   A = λI + Σ w_i c_i c_iᵀ + Σ w_j k_j k_jᵀ,   X = Σ w_i (a_i − c_i) c_iᵀ
M does not depend on W: one factorisation of one d×d matrix serves every layer, whatever their number, and the edit is a
change of the text embedding that only cross-attention sees. Its rank is at most the number of moved rows: as long as
these are no more than d, M is held as a product of two thin matrices; beyond, only sums over the rows are.
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
SLAB = 128  # rows of a Gram matrix that are formed at once


class Shift(NamedTuple):
    """M, by which every map W becomes W (I + M): left · right, or `left` alone, d×d, where the two would be larger."""

    left: Float[Tensor, "d r"]
    right: Float[Tensor, "r d"] | None = None

    def dense(self) -> Square:
        """M itself.

        Returns:
            `[d, d]`.
        """
        return self.left if self.right is None else self.left @ self.right

    def of(self, maps: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The maps as M shifts them.

        Args:
            maps: Rows of W, `[n, d]`.

        Returns:
            maps · (I + M), of the same shape.
        """
        moved = maps @ self.left
        return maps + (moved if self.right is None else moved @ self.right)

    def then(self, later: "Shift") -> "Shift":
        """(I + M)(I + M′) = I + M″: first this shift, then one that was solved for with the shifted maps.

        Args:
            later: M′, of the same width d.

        Returns:
            M″, held thin as long as the two ranks together are no more than d.
        """
        if self.right is None or later.right is None or len(self.right) + len(later.right) > len(self.left):
            first, second = self.dense(), later.dense()
            return Shift(first + second + first @ second)
        left = torch.cat([self.left, later.left + self.left @ (self.right @ later.left)], dim=1)
        return Shift(left, torch.cat([self.right, later.right]))


class Gram:
    """Σ w r rᵀ over rows r that come a few at a time; float64, memory O(d²). Only the upper triangle is used.

    Args:
        d: The width of the rows.
        device: Where the sum is.
    """

    def __init__(self, d: int, device: torch.device | str = "cpu") -> None:
        self.d = d
        self._upper = torch.zeros(d, d, dtype=torch.float64, device=device)
        self._waiting: list[Tensor] = []  # √w r: one large product takes less time than many small ones

    def add(self, rows: Rows, weight: float = 1.0) -> None:
        """Takes rows in.

        Args:
            rows: r, `[n, d]`, of any dtype and device.
            weight: w of each, 0 or more.

        Raises:
            WorkbenchError: The weight is negative.
        """
        self._waiting.append(self.scaled(rows, weight))
        if sum(map(len, self._waiting)) > self.d:
            self._gather()

    def add_total(self, total: Square) -> None:
        """Takes another such sum in.

        Args:
            total: Σ w r rᵀ, `[d, d]`, symmetric.
        """
        self._upper += total

    def total(self) -> Square:
        """The sum so far.

        Returns:
            `[d, d]`, float64, symmetric.
        """
        if self._waiting:
            self._gather()
        return self._upper.triu() + self._upper.triu(1).T

    def scaled(self, rows: Rows, weight: float) -> Rows:
        """Rows as the sum needs them.

        Args:
            rows: r, `[n, d]`.
            weight: w, 0 or more.

        Returns:
            √w r, float64, on the sum's device.

        Raises:
            WorkbenchError: The weight is negative.
        """
        if weight < 0:
            raise WorkbenchError(f"Rows cannot have the weight {weight}.", "Choose 0 or more.")
        return weight**0.5 * rows.to(self._upper)

    def _gather(self) -> None:
        rows, self._waiting = torch.cat(self._waiting), []
        for start in range(0, self.d, SLAB):
            slab = slice(start, start + SLAB)
            self._upper[slab, start:].addmm_(rows[:, slab].T, rows[:, start:])


class Moves:
    """Pairs c_i → a_i as (2) needs them. They are held up to d of them; of more, Σ w c cᵀ and Σ w a cᵀ are.

    Args:
        d: The width of the rows.
        device: Where the sums are.
    """

    def __init__(self, d: int, device: torch.device | str = "cpu") -> None:
        self.gram = Gram(d, device)  # Σ w c cᵀ
        self._cross: Square | None = None  # Σ w a cᵀ of the pairs that are no longer held
        self._pairs: list[tuple[Rows, Rows]] = []  # √w c, √w a

    def add(self, rows: Rows, to: Rows, weight: float = 1.0) -> None:
        """Takes pairs in.

        Args:
            rows: c_i, `[n, d]`.
            to: a_i, `[n, d]`, in the same order.
            weight: w_i of each, 0 or more.

        Raises:
            WorkbenchError: The weight is negative.
        """
        c = self.gram.scaled(rows, weight)
        self.gram.add(c)
        self._hold([(c, self.gram.scaled(to, weight))])

    def join(self, other: "Moves") -> None:
        """Takes the other's pairs in.

        Args:
            other: Pairs of the same width d; they stay with the other, too.
        """
        self.gram.add_total(other.gram.total())
        if other._cross is not None:
            self._cross = other._cross if self._cross is None else self._cross + other._cross
        self._hold(other._pairs)

    def steps(self) -> Shift:
        """X of (2), held as a shift is.

        Returns:
            Thin, `[d, pairs]` and `[pairs, d]`, while the pairs are held; else dense.

        Raises:
            WorkbenchError: There is no pair.
        """
        if self._cross is not None:
            return Shift(self._crossed() - self.gram.total())
        c, a = self._held()
        return Shift((a - c).T, c)

    def through(self, change: Square) -> "Moves":
        """The pairs G c_i → a_i.

        Args:
            change: G, `[d, d]`.

        Returns:
            New moves; these stay as they are.

        Raises:
            WorkbenchError: There is no pair.
        """
        moves = Moves(self.gram.d, change.device)
        if self._cross is None:
            c, a = self._held()
            moves.add(c @ change.T, a)
        else:
            moves.gram.add_total(change @ self.gram.total() @ change.T)
            moves._cross = self._crossed() @ change.T
        return moves

    def _hold(self, pairs: list[tuple[Rows, Rows]]) -> None:
        self._pairs += pairs
        if sum(len(c) for c, _ in self._pairs) > self.gram.d:
            self._crossed()

    def _held(self) -> tuple[Rows, Rows]:
        if not self._pairs:
            raise WorkbenchError("There is nothing to move.", "Give at least one concept.")
        c, a = (torch.cat(rows) for rows in zip(*self._pairs, strict=True))
        return c, a

    def _crossed(self) -> Square:
        """Σ w a cᵀ of all pairs, which is kept; none of them are held any more."""
        if self._pairs:
            c, a = self._held()
            self._pairs = []
            self._cross = a.T @ c if self._cross is None else torch.addmm(self._cross, a.T, c)
        assert self._cross is not None
        return self._cross


class Ridge:
    """The terms of (1), gathered a batch of rows at a time.

    Args:
        d: The width of the rows.
        damping: λ, 0 or more.
        device: Where the sums are.
        kept: Σ w k kᵀ of what is kept; problems that keep the same may share it. A new one if left out.
    """

    def __init__(self, d: int, damping: float, device: torch.device | str = "cpu", *, kept: Gram | None = None) -> None:
        self.damping, self.moves = damping, Moves(d, device)
        self.kept = Gram(d, device) if kept is None else kept

    def move(self, rows: Rows, to: Rows, weight: float = 1.0) -> None:
        """Adds the first sum of (1).

        Args:
            rows: c_i, `[n, d]`.
            to: a_i, `[n, d]`, in the same order.
            weight: w_i of each, 0 or more.

        Raises:
            WorkbenchError: The weight is negative.
        """
        self.moves.add(rows, to, weight)

    def keep(self, rows: Rows, weight: float = 1.0) -> None:
        """Adds the second sum of (1).

        Args:
            rows: k_j, `[n, d]`.
            weight: w_j of each, 0 or more.

        Raises:
            WorkbenchError: The weight is negative.
        """
        self.kept.add(rows, weight)

    @property
    def gram(self) -> Square:
        """A."""
        return damped(self.moves.gram.total() + self.kept.total(), self.damping)

    def solve(self) -> Shift:
        """(2).

        Returns:
            M, of rank no more than the number of moved rows.

        Raises:
            WorkbenchError: Nothing is to be moved, or some rows are not finite.
        """
        steps, times_inverse = self.moves.steps(), inverse(self.gram)
        if steps.right is None:
            return Shift(times_inverse(steps.left))
        return Shift(steps.left, times_inverse(steps.right))


def damped(gram: Square, damping: float) -> Square:
    """λI + gram.

    Args:
        gram: A sum of r rᵀ, `[d, d]`.
        damping: λ, 0 or more.

    Returns:
        `[d, d]`, a new tensor.
    """
    return gram + damping * torch.eye(len(gram)).to(gram)


def inverse(square: Square) -> Callable[[Rows], Rows]:
    """`rows ↦ rows · A⁻¹` for a symmetric A without negative eigenvalues.

    Cholesky; if A is singular, the pseudo-inverse from its eigenvectors, with a warning: the solution is then the
    smallest among all that fit equally well, as `torch.linalg.lstsq` gives it.

    Args:
        square: A, `[d, d]`.

    Returns:
        A function of rows `[n, d]`.

    Raises:
        WorkbenchError: A is not finite.
    """
    if not bool(torch.isfinite(square).all()):
        raise WorkbenchError("The text embeddings are not finite.", "Load the model in a wider dtype.")
    factor, failed = torch.linalg.cholesky_ex(square)
    smallest = factor.diagonal().square().min() / square.diagonal().max()
    if not bool(failed) and float(smallest) > SMALLEST:
        return lambda rows: torch.cholesky_solve(rows.T, factor).T
    warnings.warn(
        "The rows to move and to keep do not determine the edit (their Gram matrix is singular): of all solutions "
        "the smallest is taken. Give more text to keep, or a damping above 0.",
        stacklevel=3,
    )
    values, vectors = torch.linalg.eigh(square)
    kept = values > SMALLEST * values.max()
    return lambda rows: (rows @ vectors[:, kept] / values[kept]) @ vectors[:, kept].T


def deltas(maps: Mapping[str, Tensor], shift: Shift) -> dict[str, Tensor]:
    """Δ = W M of every map, as tensors of a `WeightEdit`.

    Args:
        maps: W `[out, d]` by name.
        shift: M.

    Returns:
        `NAME:left` of each map with the common `:right`, where the factors hold fewer numbers than the Δ; else
        `NAME:delta`. float32 (float64 for maps in float64).

    Raises:
        WorkbenchError: There are no maps, or they have several dtypes.
    """
    dtype = torch.promote_types(one_dtype(maps), torch.float32)
    if shift.right is not None and thin(maps, shift.right):
        left, right = shift.left.to(dtype), shift.right.to(dtype)
        return {name + LEFT: weight.detach().to(dtype) @ left for name, weight in maps.items()} | {RIGHT: right}
    whole = shift.dense().to(dtype)
    return {name + DELTA: weight.detach().to(dtype) @ whole for name, weight in maps.items()}


def thin(maps: Mapping[str, Tensor], right: Float[Tensor, "r d"]) -> bool:
    """Whether the factors of all Δ together hold fewer numbers than the Δ.

    Args:
        maps: W `[out, d]` by name.
        right: The factor that they share, `[r, d]`.

    Returns:
        True where factors are the smaller form.
    """
    rank, d = right.shape
    height = sum(map(len, maps.values()))
    return rank * (height + d) < height * d


def one_dtype(maps: Mapping[str, Tensor]) -> torch.dtype:
    """The dtype that all maps have.

    Args:
        maps: Weights by name.

    Returns:
        Their dtype.

    Raises:
        WorkbenchError: There are no maps, or they have several dtypes.
    """
    dtypes = {weight.dtype for weight in maps.values()}
    if not dtypes:
        raise WorkbenchError("The model has no maps that read the prompt.", "Use a method that does not edit them.")
    if len(dtypes) > 1:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        raise WorkbenchError(f"The maps that read the prompt have several dtypes ({names}).", "Load the model in one.")
    return dtypes.pop()
