"""LoRAs put into the weights when a pipeline is loaded.

    (1)  W ← W + s (α / r) B A      for each layer that the file names; A [r, in], B [out, r], s the scale at load
Afterwards layers are plain again: sites, edits, baking and copies know of no adapter.
"""

import logging
from typing import Any

from safetensors import SafetensorError
from torch import nn

from saes.errors import WorkbenchError
from workbench.models.chosen import Lora
from workbench.models.quiet import quiet
from workbench.models.weights import check_whole

ADAPTER = "chosen_at_load"
FIRST_FACTOR = (".lora_A.weight", ".lora.down.weight", "_lora.down.weight", ".lora_down.weight")


def fuse_lora(pipe: Any, lora: Lora) -> None:
    """Adds a LoRA to the weights of a pipeline, by (1), as diffusers reads and fuses it.

    Args:
        pipe: A pipeline of diffusers; its weights are changed.
        lora: The file, and the factor s.

    Raises:
        WorkbenchError: diffusers cannot read the file, or layers of it belong to none of the pipeline's.
    """
    check_whole([lora.path])
    logging.getLogger("diffusers.loaders.lora_base").setLevel(logging.ERROR)  # it warns where no encoder is meant
    if not hasattr(pipe, "load_lora_weights"):
        raise WorkbenchError(f"A {type(pipe).__name__} takes no LoRA.", "Leave --lora out.")
    try:
        with quiet():
            named, *_ = pipe.lora_state_dict(lora.path.parent, weight_name=lora.path.name, local_files_only=True)
            pipe.load_lora_weights(
                lora.path.parent, weight_name=lora.path.name, adapter_name=ADAPTER, local_files_only=True
            )
            parts = {name: _layers(getattr(pipe, name, None)) for name in pipe._lora_loadable_modules}
            _check_all(pipe, lora, sum(key.endswith(FIRST_FACTOR) for key in named), sum(parts.values()))
            pipe.set_adapters([ADAPTER], [lora.scale])
            pipe.fuse_lora([name for name, layers in parts.items() if layers], adapter_names=[ADAPTER])
            pipe.unload_lora_weights()
    except (ValueError, RuntimeError, KeyError, IndexError, AttributeError, SafetensorError, OSError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise WorkbenchError(
            f"The LoRA {lora.path} does not fit a {type(pipe).__name__} of this size ({said[0].strip()}).",
            "Take one that was made for this model.",
        ) from error


def _layers(part: nn.Module | None) -> int:
    """How many layers of a network the LoRA was put beside."""
    beside = (getattr(layer, "lora_A", None) for layer in (part.modules() if part is not None else ()))
    return sum(one is not None and ADAPTER in one for one in beside)


def _check_all(pipe: Any, lora: Lora, named: int, found: int) -> None:
    if found < named or not found:
        raise WorkbenchError(
            f"The LoRA {lora.path} has {named} layers, of which a {type(pipe).__name__} of this size has {found}.",
            "Take one that was made for this model.",
        )
