"""Adapters as other programs know them: a LoRA of peft and diffusers, always open.

What opens them by prompt is lost, and with it what it spares. As a change of weights they are `AdapterEdit.opened`.
"""

from pathlib import Path

from torch import Tensor

from saes.disk import new_folder, write_tensors
from saes.errors import WorkbenchError
from workbench.edits.adapter import AdapterEdit
from workbench.edits.edit import Edit

LORA_FILE = "pytorch_lora_weights.safetensors"  # what `load_lora_weights` looks for in a folder


def to_peft(edit: Edit, folder: Path | str) -> Path:
    """Writes adapters as one LoRA that `pipe.load_lora_weights(folder)` loads; its rank is their sum.

    The gate is not in it.

    Args:
        edit: The adapters.
        folder: A new folder.

    Returns:
        The folder.

    Raises:
        WorkbenchError: The folder exists, the edit is no adapter, or its adapters are combined as in the official code.
    """
    if not isinstance(edit, AdapterEdit):
        raise WorkbenchError(
            f"A LoRA holds adapters, and this is an edit of the kind {edit.kind!r}.",
            "Write it into a model with `workbench bake`, or fit a method that gives adapters, such as SPM.",
        )
    edit.check_sum()
    tensors: dict[str, Tensor] = {}
    for layer in edit.layers:
        down, up = edit.term(layer)
        tensors[f"{layer}.lora_A.weight"] = down
        tensors[f"{layer}.lora_B.weight"] = edit.factor * (up[:, :, None, None] if down.ndim == 4 else up)
    with new_folder(folder) as new:
        write_tensors(new / LORA_FILE, {name: tensor.contiguous() for name, tensor in tensors.items()})
    return Path(folder)
