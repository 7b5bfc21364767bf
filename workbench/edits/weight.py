"""Edits that add to weights: dense, or as a product of two thin matrices."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.edits.edit import check_fingerprint, html_table
from workbench.edits.files import read_edit, write_edit
from workbench.models import Model

DELTA, LEFT, RIGHT = ":delta", ":left", ":right"


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightEdit:
    """W ← W + Δ for each named parameter, while it is in place or for good (`workbench.edits.bake`).

    `tensors` gives each Δ by the parameter's name: `NAME:delta` whole, or `NAME:left` `[out, r]` times `NAME:right`
    `[r, in]`; a left factor without a right one of its own uses the common `:right`, so that closed-form edits, which
    share it over all layers, hold it once. `settings` (JSON) is everything that the method was told.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    method: str
    concepts: Sequence[str]
    base_fingerprint: str
    seed: int = 0

    kind: ClassVar[str] = "weight"

    def __post_init__(self) -> None:
        object.__setattr__(self, "concepts", tuple(self.concepts))

    @property
    def names(self) -> list[str]:
        """The parameters that change, in the order of their names."""
        return sorted({key.rpartition(":")[0] for key in self.tensors} - {""})

    def factors(self, name: str) -> tuple[Tensor, Tensor] | None:
        """Left and right factor of a parameter's Δ, None if it is held whole."""
        if name + LEFT not in self.tensors:
            return None
        own = self.tensors.get(name + RIGHT)
        return self.tensors[name + LEFT], self.tensors[RIGHT] if own is None else own

    def delta(self, name: str) -> Tensor:
        """Δ of one parameter, whole."""
        factors = self.factors(name)
        return self.tensors[name + DELTA] if factors is None else factors[0] @ factors[1]

    def check(self, model: Model) -> None:
        """Raises `WorkbenchError` for another model, a parameter that it lacks, and one of another shape."""
        check_fingerprint(self, model)
        for name in self.names:
            shape, wanted = self._shape(name), tuple(model.parameter(name).shape)
            if shape != wanted:
                raise WorkbenchError(
                    f"The edit changes {name} as {shape} and that of {model.name} is {wanted}.",
                    "Fit the method on this model.",
                )

    def installed(self, model: Model) -> AbstractContextManager[None]:
        """Every Δ is added to its parameter."""
        return model.shifted(self.weight_deltas(model))

    def weight_deltas(self, model: Model) -> dict[str, Tensor]:
        """Every Δ, multiplied out on the model's device."""
        self.check(model)
        on_device = replace(self, tensors={key: value.to(model.device) for key, value in self.tensors.items()})
        return {name: on_device.delta(name) for name in self.names}

    def scaled(self, factor: float) -> "WeightEdit":
        """The edit at another strength: 0 is none, −1 takes it back."""
        tensors = {key: value if key.endswith(RIGHT) else factor * value for key, value in self.tensors.items()}
        told = {**self.settings, "scaled": factor * self.settings.get("scaled", 1)}
        return replace(self, tensors=tensors, settings=told)

    def save(self, path: Path | str) -> None:
        """Writes a new folder with `edit.json` and `tensors.safetensors`; refused if it exists."""
        saved = {name: getattr(self, name) for name in _SAVED}
        saved |= {"concepts": list(self.concepts), "settings": dict(self.settings)}
        saved["shapes"] = {name: list(self._shape(name)) for name in self.names}
        write_edit(path, self.kind, saved, self.tensors)

    @classmethod
    def read(cls, path: Path) -> "WeightEdit":
        """Reads what `save` wrote; use `load_edit`, which knows all kinds."""
        saved, tensors = read_edit(path, (*_SAVED, "shapes"))
        shapes = saved.pop("shapes")
        edit = cls(**{**saved, "tensors": tensors})
        if shapes != {name: list(edit._shape(name)) for name in edit.names}:
            raise WorkbenchError(f"The tensors of {path} have other shapes than its description.", "Fit it again.")
        return edit

    def _shape(self, name: str) -> tuple[int, ...]:
        factors = self.factors(name)
        if factors is None:
            return tuple(self.tensors[name + DELTA].shape)
        return factors[0].shape[0], factors[1].shape[1]

    def _repr_html_(self) -> str:
        numbers = sum(tensor.numel() for tensor in self.tensors.values())
        ranks = {factors[0].shape[1] for name in self.names if (factors := self.factors(name))}
        rank = f"rank ≤ {max(ranks)}" if ranks else "dense"
        return html_table(self, {"parameters": f"{len(self.names)}, {rank}", "numbers": numbers})


_SAVED = tuple(field.name for field in fields(WeightEdit) if field.name != "tensors")


def spectrum(edit: WeightEdit, name: str) -> Tensor:
    """Singular values of a parameter's Δ (a vector and a convolution count as `[out, all else]`), largest first.

    float64, by the small factors where it is held thin.
    """
    factors = edit.factors(name)
    if factors is None:
        delta = edit.delta(name).double()
        return torch.linalg.svdvals(delta.reshape(len(delta), -1))
    left, right = (torch.linalg.qr(factor.double()).R for factor in (factors[0], factors[1].T))
    return torch.linalg.svdvals(left @ right.T)
