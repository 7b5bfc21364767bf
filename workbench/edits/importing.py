"""Edits that others published, as edits of the workbench.

    weights   the changed parameters themselves, W′, by their names in the pipeline or in one component of it: what ESD,
              UCE and AdvUnlearn publish, and any folder's model.safetensors
    LoRA      thin products, by the names of peft and diffusers (lora_A, lora_B) or of kohya's trainers and WebUI
              (lora_down, lora_up, alpha): what SPM publishes
Δ is W′ − W for the former, (α / r) U D for the latter. SPM's adapters open by the prompt, which its files do not say:
name the method "spm", and they are gated by the names of the concepts.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saes.disk import read_tensors, sha256_of
from saes.errors import WorkbenchError
from workbench.edits.adapter import DOWN, UP, AdapterEdit
from workbench.edits.edit import Edit
from workbench.edits.exporting import published, webui_name
from workbench.edits.weight import DELTA, LEFT, RIGHT, WeightEdit
from workbench.models import Model

SPM = "spm"
_SIDES = re.compile(r"(?P<layer>.+?)\.(?P<side>lora_A|lora_B|lora_down|lora_up)(\.default)?\.weight|(?P<of>.+)\.alpha")
_DOWN = ("lora_A", "lora_down")


class Product(NamedTuple):
    """A LoRA at one layer: D [r, in] or a small convolution, U [out, r], α (None: r)."""

    down: Tensor
    up: Tensor
    alpha: float | None

    @property
    def scale(self) -> float:
        """α / r."""
        return 1.0 if self.alpha is None else self.alpha / len(self.down)


def import_edit(path: Path | str, model: Model, concepts: Sequence[str], method: str) -> Edit:
    """Reads what others published.

    Args:
        path: A file in safetensors.
        model: What it changes.
        concepts: What it erases, for the record.
        method: How it was made, for the record; "spm" makes adapters that open for the concepts.

    Returns:
        A change of weights, or SPM's adapters.

    Raises:
        WorkbenchError: The file is no safetensors, a name in it is no layer of the model or stands for several, a shape
            is another, or nothing would change.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WorkbenchError(
            f"{path} is no safetensors file, and what is pickled is never opened here.",
            "Have its owner save it in safetensors.",
        )
    found = read_tensors(path)
    about = {"imported": path.name, "sha256": sha256_of(path)}
    told: dict[str, Any] = {
        "settings": about, "method": method, "concepts": tuple(concepts), "base_fingerprint": model.fingerprint,
    }  # fmt: skip
    if not any(_SIDES.fullmatch(name) for name in found):
        edit: Edit = WeightEdit(tensors=_deltas(found, model, path), **told)
    elif method == SPM:
        edit = _adapter(_products(found, model, path), told, concepts)
    else:
        edit = WeightEdit(tensors=_thin(_products(found, model, path)), **told)
    edit.check(model)
    return edit


def _deltas(found: Mapping[str, Tensor], model: Model, path: Path) -> dict[str, Tensor]:
    """W′ − W of every parameter that differs."""
    known = dict(_parameters(model))
    names = [(one, name) for name in known for one in _spellings(name)]
    shorter = _once([*names, *((one.partition(".")[2], name) for one, name in names)])
    tensors = {}
    for name, given in found.items():
        full = shorter.get(name)
        if full is None:
            raise _unknown(name, path, model)
        if given.shape != known[full].shape:
            raise WorkbenchError(
                f"{path}: {name} is {tuple(given.shape)}, and that of {model.name} is {tuple(known[full].shape)}.",
                "Open it on the model that it was made for.",
            )
        delta = given.float() - known[full].detach().float().cpu()
        if delta.any():
            tensors[full + DELTA] = delta
    if not tensors:
        raise WorkbenchError(f"{path} changes nothing of {model.name}.", "Is it the file of the unedited model?")
    return tensors


def _products(found: Mapping[str, Tensor], model: Model, path: Path) -> dict[str, Product]:
    """The LoRA of every layer, by its path in the pipeline."""
    kind = model.architecture.kind
    paths = [name.removesuffix(".weight") for name, _ in _parameters(model) if name.endswith(".weight")]
    layers = _once((one, layer) for layer in paths for one in (*_spellings(layer), _webui(layer, kind)))
    read: dict[str, dict[str, Tensor]] = {}
    for name, tensor in found.items():
        match = _SIDES.fullmatch(name)
        layer = match and layers.get(match["layer"] or match["of"])
        if match is None or layer is None:
            raise _unknown(name, path, model)
        side = "alpha" if match["of"] else "down" if match["side"] in _DOWN else "up"
        read.setdefault(layer, {})[side] = tensor.float()
    for layer, sides in read.items():
        if lacking := {"down", "up"} - sides.keys():
            raise WorkbenchError(f"{path} lacks the {min(lacking)} factor of {layer}.", "Download it again.")
    products = {
        layer: Product(sides["down"], sides["up"].flatten(1), float(sides["alpha"]) if "alpha" in sides else None)
        for layer, sides in read.items()
    }
    acting = {layer: one for layer, one in products.items() if one.up.any() and one.down.any()}
    if not acting:
        raise WorkbenchError(f"{path} changes nothing of {model.name}.", "Is it a LoRA before its training?")
    return acting


def _thin(products: Mapping[str, Product]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for layer, one in products.items():
        up = one.scale * one.up
        if one.down.ndim == 4:
            tensors[f"{layer}.weight{DELTA}"] = torch.einsum("or,rihw->oihw", up, one.down)
        else:
            tensors |= {f"{layer}.weight{LEFT}": up, f"{layer}.weight{RIGHT}": one.down}
    return tensors


def _adapter(products: Mapping[str, Product], told: Mapping[str, Any], concepts: Sequence[str]) -> AdapterEdit:
    """One adapter that opens for the concepts; its α is 1 a rank, and each layer's own is in its U."""
    tensors: dict[str, Tensor] = {}
    rank = len(next(iter(products.values())).down)
    for layer, one in products.items():
        tensors |= {f"0:{layer}{DOWN}": one.down, f"0:{layer}{UP}": one.scale * one.up}
    return AdapterEdit(tensors=tensors, targets=[tuple(concepts)], alphas=[float(rank)], gate="both", **told)


def _parameters(model: Model) -> Iterator[tuple[str, nn.Parameter]]:
    """Those of all components that read prompts or make the picture, by their names in the pipeline."""
    for component in model.architecture.components:
        for name, parameter in model.module(component.path).named_parameters():
            yield f"{component.path}.{name}", parameter


def _spellings(name: str) -> set[str]:
    """A name with and without the level that only some releases of transformers have."""
    return {name, published(name), name.replace(".text_model.", ".")}


def _webui(layer: str, kind: str) -> str:
    try:
        return webui_name(layer, kind)
    except KeyError:  # of a component that WebUI has no name for
        return layer


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Short name → full name, without short names that stand for several."""
    seen: dict[str, str] = {}
    twice = set()
    for short, full in pairs:
        if seen.setdefault(short, full) != full:
            twice.add(short)
    return {short: full for short, full in seen.items() if short not in twice}


def _unknown(name: str, path: Path, model: Model) -> WorkbenchError:
    return WorkbenchError(
        f"{path}: {name} is nothing of {model.name}, or stands for several things there.",
        "Open it on the model that it was made for, with names as they are in its pipeline.",
    )
