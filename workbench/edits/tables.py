"""What is inside an edit, as tables: a row for each parameter that it changes, for each feature that it acts on, or for
each branch of guidance."""

from typing import Any

import torch
from torch import Tensor

from workbench.edits.activation import ActivationEdit
from workbench.edits.adapter import AdapterEdit
from workbench.edits.edit import Edit
from workbench.edits.exporting import to_weight_edit
from workbench.edits.guidance import GuidanceEdit
from workbench.edits.prompt import PromptEdit
from workbench.edits.weight import WeightEdit, spectrum
from workbench.models import Model

SHOWN = 3  # singular values in a row


def contents(edit: Edit, model: Model | None = None) -> list[dict[str, Any]]:
    """The rows of `parameters` for an edit of weights, of `features` for one of activations, of `branches` for one of
    guidance."""
    if isinstance(edit, WeightEdit):
        return parameters(edit, model)
    if isinstance(edit, GuidanceEdit | PromptEdit):
        return branches(edit)
    if isinstance(edit, AdapterEdit):
        return adapters(edit, model)
    assert isinstance(edit, ActivationEdit), f"a {edit.kind} edit has no table; take its leaves one by one"
    return features(edit)


def parameters(edit: WeightEdit, model: Model | None = None) -> list[dict[str, Any]]:
    """A row for each parameter: shape, numerical rank and Frobenius norm of its Δ, and its largest singular values.

    `share` is the norm as a share of that of the weight, None without a model. Raises `WorkbenchError` if the edit does
    not fit the model.
    """
    if model is not None:
        edit.check(model)
    rows = []
    for name in edit.names:
        values = spectrum(edit, name)
        norm = float(values.norm())
        share = None if model is None else norm / float(model.parameter(name).detach().double().norm())
        rows.append(
            {"parameter": name, "shape": list(edit.delta(name).shape), "rank": rank(values, edit.delta(name))}
            | {"norm": norm, "share": share, "singular_values": values[:SHOWN].tolist()}
        )
    return rows


def adapters(edit: AdapterEdit, model: Any = None) -> list[dict[str, Any]]:
    """The same for what each adapter adds to the weight of each layer when it is wide open: a row for both."""
    if model is not None:
        edit.check(model)
    return [
        {"adapter": ", ".join(one.targets[0]), **row}
        for one in (edit.only(number) for number in range(len(edit.targets)))
        for row in parameters(to_weight_edit(one), model)
    ]


def rank(values: Tensor, delta: Tensor) -> int:
    """How many singular values lie above the noise of the dtype that Δ is held in."""
    noise = torch.finfo(delta.dtype).eps * max(delta.shape)
    return int((values > noise * values[0]).sum()) if values.any() else 0


def features(edit: ActivationEdit) -> list[dict[str, Any]]:
    """A row for each feature: its number, and the share of the fit's rows on which it fires (None if not known)."""
    density = edit.tensors.get("density")
    return [
        {"site": edit.site, "feature": one, "fires": None if density is None else float(density[one])}
        for one in edit.tensors.get("features", torch.empty(0)).tolist()
    ]


def branches(edit: GuidanceEdit | PromptEdit) -> list[dict[str, Any]]:
    """A row for the branch of guidance that the edit adds or replaces. Nothing inside the network changes."""
    if isinstance(edit, PromptEdit):
        return [{"branch": "without prompt, now of the text", "text": edit.text, "rule": "negative prompt"}]
    return [{"branch": "one more, of the text", "text": edit.text, "rule": edit.rule}]
