"""Adapters of several edits as one, and edits of one model for another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from torch import Tensor

from saes.errors import WorkbenchError
from workbench.edits.adapter import AdapterEdit
from workbench.edits.weight import WeightEdit
from workbench.models import Diffusion

Carried = TypeVar("Carried", AdapterEdit, WeightEdit)


def combined(edits: Sequence[AdapterEdit]) -> AdapterEdit:
    """The adapters of several edits in one, as cheap as one: (1) over all of them.

    Args:
        edits: At least one.

    Returns:
        An edit with all their adapters, in their order.

    Raises:
        WorkbenchError: There are none, or they are of different models, gates, factors or combinations.
    """
    alike = {(one.base_fingerprint, one.gate, one.factor, one.combination) for one in edits}
    if len(alike) != 1:
        raise WorkbenchError(
            "Adapters of different models, gates, factors or combinations cannot be one edit."
            if edits
            else "There are no adapters to combine.",
            "Give edits that are alike, or compose them: ComposedEdit(edits).",
        )
    tensors: dict[str, Tensor] = {}
    for edit in edits:
        before = len({key.split(":")[0] for key in tensors})
        for key, tensor in edit.tensors.items():
            number, rest = key.split(":", 1)
            tensors[f"{int(number) + before}:{rest}"] = tensor
    return replace(
        edits[0],
        tensors=tensors,
        targets=[one for edit in edits for one in edit.targets],
        alphas=[one for edit in edits for one in edit.alphas],
        concepts=list(dict.fromkeys(one for edit in edits for one in edit.concepts)),
    )


def transferred(edit: Carried, model: Diffusion) -> Carried:
    """The same adapters or changes of weights for another model of the same architecture and width.

    What an edit adds is carried over, not what it led to: adapters are opened by the other model's own text encoder,
    and a change of a component is the edited component itself where the two models have that in common, as descendants
    of one model often have its text encoder.

    Args:
        edit: Fitted elsewhere.
        model: Where it is to be used.

    Returns:
        An edit of that model, whose settings say from which it was transferred.

    Raises:
        WorkbenchError: A layer or a weight does not fit.
    """
    edit.check_layers(model)
    told = {**edit.settings, "transferred_from": edit.base_fingerprint}
    return replace(edit, base_fingerprint=model.fingerprint, settings=told)
