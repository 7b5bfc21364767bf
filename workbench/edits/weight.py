"""Edits that add to weights: dense, or as a product of two thin matrices."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.edits.controls import DIRECTIONS, Turns
from workbench.edits.edit import Summary, named
from workbench.edits.fields import EditFields
from workbench.edits.rounding import warn_of_rounding
from workbench.models import Model

DELTA, LEFT, RIGHT = ":delta", ":left", ":right"
SHOWN = 3  # singular values in a row


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WeightEdit(EditFields):
    """W ← W + Δ for each named parameter, while it is in place or for good (`workbench.edits.bake`).

    `tensors` gives each Δ by the parameter's name: `NAME:delta` whole, or `NAME:left` `[out, r]` times `NAME:right`
    `[r, in]`; a left factor without a right one of its own uses the common `:right`, so that closed-form edits, which
    share it over all layers, hold it once. Raises `WorkbenchError` for tensors that give no Δ.
    """

    kind: ClassVar[str] = "weight"
    shown: ClassVar[tuple[str, ...]] = ("shapes",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_names(self)

    @property
    def names(self) -> list[str]:
        """The parameters that change, in the order of their names."""
        return sorted({key.rpartition(":")[0] for key in self.tensors} - {""})

    def factors(self, name: str) -> tuple[Tensor, Tensor] | None:
        """The thin form of a parameter's Δ.

        Args:
            name: One of `names`.

        Returns:
            The left factor `[out, r]` and the right one `[r, in]`; None if Δ is held whole.
        """
        return _factors(self.tensors, name)

    def delta(self, name: str) -> Tensor:
        """Δ of one parameter, whole.

        Args:
            name: One of `names`.

        Returns:
            Of the parameter's shape, multiplied out.
        """
        return _delta(self.tensors, name)

    def check(self, model: Model) -> None:
        """Raises `WorkbenchError` for another model (see `transferred`), a parameter that it lacks, and one of another
        shape."""
        super().check(model)
        self.check_layers(model)

    def check_layers(self, model: Model) -> None:
        """Refuses a model of another architecture or width.

        Args:
            model: The model.

        Raises:
            WorkbenchError: It lacks a parameter, or has one of another shape; the first is named.
        """
        for name in self.names:
            shape, wanted = self._shape(name), tuple(model.parameter(name).shape)
            if shape != wanted:
                raise WorkbenchError(
                    f"The edit changes {name} as {shape} and that of {model.name} is {wanted}.",
                    "Fit the method on this model.",
                )

    def installed(self, model: Model) -> AbstractContextManager[None]:
        """Every Δ is added to its parameter, and rounded to its dtype; a warning says where that loses much of Δ."""
        deltas = self.weight_deltas(model)
        warn_of_rounding(named(self), {name: model.parameter(name) for name in deltas}, deltas)
        return model.shifted(deltas)

    def weight_deltas(self, model: Model) -> dict[str, Tensor]:
        """Every Δ, multiplied out.

        Args:
            model: It is checked first.

        Returns:
            Δ by name, on the model's device, in the dtype that the edit holds it in.

        Raises:
            WorkbenchError: As `check` does.
        """
        self.check(model)
        there = {key: tensor.to(model.device) for key, tensor in self.tensors.items()}
        return {name: _delta(there, name) for name in self.names}

    def scaled(self, factor: float) -> "WeightEdit":
        """The edit at another strength.

        Args:
            factor: 0 is none, 1 the same, −1 takes it back.

        Returns:
            An edit whose settings say `scaled`, the product of all factors so far.
        """
        tensors = {key: value if key.endswith(RIGHT) else factor * value for key, value in self.tensors.items()}
        told = {**self.settings, "scaled": factor * self.settings.get("scaled", 1)}
        return replace(self, tensors=tensors, settings=told)

    def no_op(self) -> "WeightEdit":
        """Δ = 0 for the same parameters."""
        zeros = {name + DELTA: torch.zeros_like(self.delta(name)) for name in self.names}
        return replace(self, tensors=zeros, settings={}, method="no-op")

    def random(self, seed: int = 0) -> "WeightEdit":
        """The same edit turned: each Δ becomes ΔQ with one random orthogonal Q in its input space.

        Norm, rank and singular values of every Δ stay, and so do the outputs that it can add; what the weights react to
        is another direction. A vector (a bias or a norm) is multiplied by random signs.
        """
        turned = Turns(seed)
        tensors = {
            key: turned(value) if key.endswith((DELTA, RIGHT)) else value
            for key, value in sorted(self.tensors.items())  # in this order the signs are drawn
        }
        return replace(self, tensors=tensors, method=f"{DIRECTIONS} like {self.method}", seed=seed)

    def rows(self, model: Model | None = None) -> list[dict[str, Any]]:
        """A row for each parameter: shape, numerical rank and Frobenius norm of its Δ, its largest singular values.

        `share` is the norm as a share of that of the weight, None without a model.
        """
        if model is not None:
            self.check(model)
        rows = []
        for name in self.names:
            values, delta = spectrum(self, name), self.delta(name)
            norm = float(values.norm())
            share = None if model is None else norm / float(model.parameter(name).detach().double().norm())
            rows.append(
                {"parameter": name, "shape": list(delta.shape), "rank": rank(values, delta)}
                | {"norm": norm, "share": share, "singular_values": values[:SHOWN].tolist()}
            )
        return rows

    def summary(self) -> Summary:
        """How many weights change, and how."""
        dense = any(self.factors(name) is None for name in self.names)
        changes = f"{len(self.names)} weights, " + ("dense" if dense else "low rank")
        return Summary(changes, DIRECTIONS, in_weights=True)

    def in_weights(self) -> Sequence["WeightEdit"]:
        """Itself."""
        return (self,)

    def described(self) -> dict[str, Any]:
        """The shape of each Δ."""
        return {"shapes": {name: list(self._shape(name)) for name in self.names}}

    def _shape(self, name: str) -> tuple[int, ...]:
        factors = self.factors(name)
        if factors is None:
            return tuple(self.tensors[name + DELTA].shape)
        return factors[0].shape[0], factors[1].shape[1]

    def _told(self) -> dict[str, Any]:
        numbers = sum(tensor.numel() for tensor in self.tensors.values())
        ranks = {factors[0].shape[1] for name in self.names if (factors := self.factors(name))}
        rank = f"rank ≤ {max(ranks)}" if ranks else "dense"
        return {"parameters": f"{len(self.names)}, {rank}", "numbers": numbers}


def spectrum(edit: WeightEdit, name: str) -> Tensor:
    """Singular values of a parameter's Δ; a vector and a convolution count as `[out, all else]`.

    Args:
        edit: The edit.
        name: One of its `names`.

    Returns:
        In float64, largest first; of a Δ that is held thin only the first r, by its factors.
    """
    factors = edit.factors(name)
    if factors is None:
        delta = edit.delta(name).double()
        return torch.linalg.svdvals(delta.reshape(len(delta), -1))
    left, right = (torch.linalg.qr(factor.double()).R for factor in (factors[0], factors[1].T))
    return torch.linalg.svdvals(left @ right.T)


def rank(values: Tensor, delta: Tensor) -> int:
    """The numerical rank of a Δ.

    Args:
        values: Its singular values, largest first.
        delta: Δ itself, for its dtype and shape.

    Returns:
        How many singular values lie above the noise of the dtype.
    """
    noise = torch.finfo(delta.dtype).eps * max(delta.shape)
    return int((values > noise * values[0]).sum()) if values.any() else 0


def _factors(tensors: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor] | None:
    if name + LEFT not in tensors:
        return None
    own = tensors.get(name + RIGHT)
    return tensors[name + LEFT], tensors[RIGHT] if own is None else own


def _delta(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    factors = _factors(tensors, name)
    return tensors[name + DELTA] if factors is None else factors[0] @ factors[1]


def _check_names(edit: WeightEdit) -> None:
    """Raises `WorkbenchError` unless every tensor is, or is a factor of, the Δ of a parameter, and there is one."""
    for key in edit.tensors:
        name, colon, part = key.rpartition(":")
        if colon + part not in (DELTA, LEFT, RIGHT) or not (name or key == RIGHT):
            raise WorkbenchError(
                f"{named(edit)} has the tensor {key!r}, which names no change of a parameter.",
                "Give what is added to a parameter, not its new value, as NAME:delta or as NAME:left and NAME:right.",
            )
    if not edit.names:
        raise WorkbenchError(
            f"{named(edit)} names no parameter that it changes.", "Name the change of each as NAME:delta."
        )
    for name in edit.names:
        _check_factors(edit, name)


def _check_factors(edit: WeightEdit, name: str) -> None:
    held = {part for part in (DELTA, LEFT, RIGHT) if name + part in edit.tensors}
    if held != {DELTA} and held | ({RIGHT} & edit.tensors.keys()) != {LEFT, RIGHT}:
        raise WorkbenchError(
            f"{named(edit)} has {' and '.join(sorted(held))} of {name}, which do not make one change.",
            "Give :delta alone, or :left with its own or a common :right.",
        )
    if factors := edit.factors(name):
        left, right = (tuple(factor.shape) for factor in factors)
        if not len(left) == len(right) == 2 or left[1] != right[0]:
            raise WorkbenchError(
                f"The factors of {name} are {left} and {right}, which have no product.",
                "Give matrices, the left one with as many columns as the right one has rows.",
            )
