"""Edits beside weights: adapters of low rank, each of which opens as far as the prompt of a picture asks for.

For adapters i with factors u_i [out, q], d_i [q, in], α_i, and γ_i of the picture's prompt (`workbench.edits.gating`):
    (1)  y = W x + Σ_i γ_i (α_i / q) u_i (d_i x)
    (2)  y = W x + (Σ_i γ_i (α_i / q) u_i) (Σ_j γ_j d_j x)
(2) is what SPM's official code does instead: its cross terms u_i d_j were never trained, and one adapter acts with γ².
A convolution has d_i with its own kernel and u_i as 1 × 1.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.edits.edit import html_table
from workbench.edits.files import read_edit, write_edit
from workbench.edits.gating import Gate, Gating, check_gate
from workbench.hooks import Clock
from workbench.models import Diffusion
from workbench.models.beside import Low, Mix, Term, beside

DOWN, UP = ":down", ":up"


@dataclass(frozen=True, kw_only=True, eq=False)
class AdapterEdit:
    """Adapters beside the layers of a denoiser. Exact to remove: the weights are never touched.

    `tensors` are `N:PATH:down` and `N:PATH:up`, N the number of the adapter and PATH that of the layer in the model;
    all adapters have the same layers, and each one rank. Raises `WorkbenchError` if one lacks a layer.
    `targets` and `alphas` have an entry for each adapter: the texts that open it, and its α. `factor` multiplies every
    γ. γ is computed once a prompt, by the text encoder of the model that it is installed in, and is the same at all
    steps and in both branches of guidance; a row whose prompt nobody knows has γ = 1. `combination` is "sum" for (1),
    "official" for (2).
    """

    tensors: Mapping[str, Tensor]
    targets: Sequence[Sequence[str]]
    alphas: Sequence[float]
    gate: Gate
    settings: Mapping[str, Any]
    method: str
    concepts: Sequence[str]
    base_fingerprint: str
    factor: float = 1.0
    combination: Literal["sum", "official"] = "sum"
    seed: int = 0

    kind: ClassVar[str] = "adapter"

    def __post_init__(self) -> None:
        for name in ("concepts", "alphas"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "targets", tuple(tuple(targets) for targets in self.targets))
        _check_whole(self)

    @property
    def layers(self) -> list[str]:
        """The paths of all layers that have an adapter, in the order of their names."""
        return sorted({key.split(":")[1] for key in self.tensors})

    def factors(self, adapter: int, layer: str) -> Term:
        """d and (α / q) u of one adapter at one layer."""
        down, up = (self.tensors[f"{adapter}:{layer}{side}"] for side in (DOWN, UP))
        return Term(down, up * (self.alphas[adapter] / len(down)))

    def term(self, layer: str) -> Term:
        """All adapters at a layer side by side, in their order."""
        both = [self.factors(number, layer) for number in range(len(self.targets))]
        return Term(torch.cat([one.down for one in both]), torch.cat([one.up for one in both], dim=1))

    @property
    def ranks(self) -> list[int]:
        """q of each adapter."""
        return [len(self.tensors[f"{number}:{self.layers[0]}{DOWN}"]) for number in range(len(self.targets))]

    def only(self, number: int) -> "AdapterEdit":
        """One of the adapters as an edit of its own, combined with nothing."""
        own = {key: one for key, one in self.tensors.items() if key.startswith(f"{number}:")}
        tensors = {f"0:{key.split(':', 1)[1]}": one for key, one in own.items()}
        targets, alphas = self.targets[number : number + 1], self.alphas[number : number + 1]
        return replace(self, tensors=tensors, targets=targets, alphas=alphas, combination="sum")

    def check(self, model: Diffusion) -> None:
        """Raises `WorkbenchError` for layers that the model lacks or has in another width, for other weights than those
        it was fitted on (see `transferred`), and for a gate that needs a text encoder that is not there."""
        check_layers(self, model)
        if self.base_fingerprint != model.fingerprint:
            raise WorkbenchError(
                f"The {self.method} edit of {', '.join(self.concepts)} was fitted on another model "
                f"({self.base_fingerprint[:12]}…) than {model.name} ({model.fingerprint[:12]}…).",
                "Its layers fit: workbench.edits.transferred(edit, model) carries it over.",
            )
        check_gate(self.gate, model)

    @contextmanager
    def installed(self, model: Diffusion) -> Iterator[None]:
        """(1) or (2) at every layer. Raises `WorkbenchError` at the end if the denoiser ran and a layer did not."""
        self.check(model)
        terms = {layer: self._term_in(model, layer) for layer in self.layers}
        runs = model.wiring.calls.runs["image"]
        follows = nullcontext() if self._is_constant else model.wiring.followed()
        with follows, beside(model.module, terms, self._mixing(model)) as ran:
            yield
        silent = terms.keys() - ran
        if silent and model.wiring.calls.runs["image"] > runs:
            raise WorkbenchError(
                f"The denoiser ran, and {len(silent)} layers with adapters did not, first {min(silent)}.",
                "Use the model without fused attention projections.",
            )

    def gates(self, model: Diffusion, prompts: Sequence[str]) -> Float[Tensor, "prompts adapters"]:
        """γ of each adapter for each prompt, times `factor`."""
        return self.factor * Gating(model, self.targets, self.gate).of(prompts)

    def save(self, path: Path | str) -> None:
        """Writes a new folder with `edit.json` and `tensors.safetensors`; refused if it exists."""
        saved = {name: getattr(self, name) for name in _SAVED}
        saved |= {"concepts": list(self.concepts), "settings": dict(self.settings)}
        saved |= {"alphas": list(self.alphas), "targets": [list(targets) for targets in self.targets]}
        write_edit(path, self.kind, saved, self.tensors)

    @classmethod
    def read(cls, path: Path) -> "AdapterEdit":
        """Reads what `save` wrote; use `load_edit`, which knows all kinds."""
        saved, tensors = read_edit(path, _SAVED)
        return cls(**saved, tensors=tensors)

    def _repr_html_(self) -> str:
        targets = "; ".join(", ".join(targets) for targets in self.targets)
        return html_table(self, {"layers": len(self.layers), "opens for": targets, "gate": self.gate})

    @property
    def _is_constant(self) -> bool:
        return self.gate == "always" and self.combination == "sum"

    def _term_in(self, model: Diffusion, layer: str) -> Term:
        weight = model.module(layer).weight
        down, up = (one.to(weight.device, weight.dtype) for one in self.term(layer))  # type: ignore[arg-type]
        return Term(down, self.factor * up if self._is_constant else up)

    def _mixing(self, model: Diffusion) -> Callable[[], Mix]:
        if self._is_constant:
            return lambda: _as_it_is
        return _Mixing(self, model)


_SAVED = tuple(one.name for one in fields(AdapterEdit) if one.name != "tensors")


def _as_it_is(low: Low) -> Low:
    return low


class _Mixing:
    """M of `beside` for the call that the denoiser is in: γ of its rows, worked out once a call."""

    def __init__(self, edit: AdapterEdit, model: Diffusion) -> None:
        self.edit, self.calls = edit, model.wiring.calls
        self.denoiser = model.architecture.denoiser.path
        self.gating = Gating(model, edit.targets, edit.gate)
        self.ranks = torch.tensor(edit.ranks)
        self._clock: Clock | None = None
        self._mix: Mix = _as_it_is

    def __call__(self) -> Mix:
        clock = self.calls.now(self.denoiser)
        if clock is not None and clock is not self._clock:  # None: a block run again for its gradients
            self._clock, self._mix = clock, self._of(clock)
        return self._mix

    def _of(self, clock: Clock) -> Mix:
        ones = torch.ones(len(clock.roles), len(self.ranks), dtype=torch.float64)
        gates = ones if clock.prompts is None else self.gating.of(clock.prompts)
        gates = (self.edit.factor * gates).repeat_interleave(self.ranks, dim=1).to(clock.device)
        if self.edit.combination == "sum":
            return lambda low: low * gates[:, None].to(low.dtype)  # (1)
        place = torch.cat([torch.arange(rank) for rank in self.ranks.tolist()]).to(clock.device)
        crossed = gates[:, :, None] * gates[:, None] * (place[:, None] == place)
        return lambda low: low @ crossed.to(low.dtype)  # (2)


def combined(edits: Sequence[AdapterEdit]) -> AdapterEdit:
    """The adapters of several edits in one, as cheap as one: (1) over all of them.

    Raises `WorkbenchError` for no edits, and for edits of different models, gates, factors or combinations.
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


def transferred(edit: AdapterEdit, model: Diffusion) -> AdapterEdit:
    """The same adapters for another model of the same architecture and width; its own text encoder opens them.

    Raises `WorkbenchError` if a layer does not fit.
    """
    check_layers(edit, model)
    told = {**edit.settings, "transferred_from": edit.base_fingerprint}
    return replace(edit, base_fingerprint=model.fingerprint, settings=told)


def check_layers(edit: AdapterEdit, model: Diffusion) -> None:
    """Raises `WorkbenchError` for the first layer that the model lacks or has in another width."""
    known = adaptable(model)
    missing = [layer for layer in edit.layers if layer not in known]
    if missing:
        raise WorkbenchError(
            f"The edit has adapters for {len(edit.layers)} layers, and {model.name} ({model.kind}) lacks "
            f"{len(missing)} of them, first {missing[0]}.",
            "Adapters fit models of the architecture that they were fitted on.",
        )
    for layer in edit.layers:
        own, there = _shape(edit.term(layer)), tuple(known[layer].weight.shape)
        if own != there:
            raise WorkbenchError(
                f"The adapter beside {layer} is for a weight of {own} and that of {model.name} is {there}.",
                "Fit the method on this model: adapters go from one model to another of the same width.",
            )


def adaptable(model: Diffusion) -> dict[str, nn.Linear | nn.Conv2d]:
    """The linear layers and plain convolutions of the denoiser, by their paths in the model."""
    component = model.architecture.denoiser.path
    named = model.module(component).named_modules()
    return {
        f"{component}.{name}": layer
        for name, layer in named
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
    }


def _shape(term: Term) -> tuple[int, ...]:
    return (term.up.shape[0], *term.down.shape[1:])


def _check_whole(edit: AdapterEdit) -> None:
    numbers = range(len(edit.targets))
    wanted = {f"{number}:{layer}{side}" for number in numbers for layer in edit.layers for side in (DOWN, UP)}
    odd = wanted ^ edit.tensors.keys()
    if odd or not wanted or len(edit.alphas) != len(numbers):
        raise WorkbenchError(
            f"{len(numbers)} adapters beside {len(edit.layers)} layers with {len(edit.alphas)} α do not go with their "
            f"tensors" + (f", first {min(odd)}." if odd else "."),
            "Give every adapter a target, an α, and both factors at every layer.",
        )
    if any(len({len(edit.tensors[f"{number}:{layer}{DOWN}"]) for layer in edit.layers}) > 1 for number in numbers):
        raise WorkbenchError("An adapter has different ranks beside different layers.", "Give each adapter one rank.")
    if edit.combination == "official" and len(set(edit.ranks)) > 1:
        raise WorkbenchError("Adapters of different ranks cannot be added factor by factor.", "Combine by 'sum'.")
