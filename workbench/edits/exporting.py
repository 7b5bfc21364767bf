"""Adapters as other programs know them, always open: a LoRA of peft and diffusers, and a change of weights.

    (1)  Δ = f Σ_i (α_i / q) u_i d_i        f the edit's factor
What opens them by prompt is lost with either, and with it what it spares.
"""

from pathlib import Path

from torch import Tensor

from saes.disk import new_folder, write_tensors
from saes.errors import WorkbenchError
from workbench.edits.adapter import AdapterEdit
from workbench.edits.weight import DELTA, LEFT, RIGHT, WeightEdit

LORA_FILE = "pytorch_lora_weights.safetensors"  # what `load_lora_weights` looks for in a folder


def to_peft(edit: AdapterEdit, folder: Path | str) -> Path:
    """Writes a new folder that `pipe.load_lora_weights(folder)` loads: (1) as one LoRA, its rank the sum of all.

    The gate is not in it. Raises `WorkbenchError` if the folder exists, and for the combination of the official code.
    """
    _check_sum(edit)
    tensors: dict[str, Tensor] = {}
    for layer in edit.layers:
        down, up = edit.term(layer)
        tensors[f"{layer}.lora_A.weight"] = down
        tensors[f"{layer}.lora_B.weight"] = edit.factor * (up[:, :, None, None] if down.ndim == 4 else up)
    with new_folder(folder) as new:
        write_tensors(new / LORA_FILE, {name: tensor.contiguous() for name, tensor in tensors.items()})
    return Path(folder)


def to_weight_edit(edit: AdapterEdit) -> WeightEdit:
    """(1) as an edit of weights, which can be baked: thin factors of linear layers, whole convolutions.

    Raises `WorkbenchError` for the combination of the official code.
    """
    _check_sum(edit)
    tensors: dict[str, Tensor] = {}
    for layer in edit.layers:
        down, up = edit.term(layer)
        if down.ndim == 4:
            tensors[f"{layer}.weight{DELTA}"] = edit.factor * (up @ down.flatten(1)).view(len(up), *down.shape[1:])
        else:
            tensors |= {f"{layer}.weight{LEFT}": edit.factor * up, f"{layer}.weight{RIGHT}": down}
    return WeightEdit(
        tensors=tensors, settings=edit.settings, method=edit.method, concepts=edit.concepts,
        base_fingerprint=edit.base_fingerprint, seed=edit.seed,
    )  # fmt: skip


def _check_sum(edit: AdapterEdit) -> None:
    if edit.combination != "sum":
        raise WorkbenchError("Adapters that are combined as in the official code are no sum.", "Combine by 'sum'.")
