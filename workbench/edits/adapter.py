"""Edits beside weights: adapters of low rank, each of which opens as far as the prompt of a picture asks for.

For adapters i with factors u_i [out, q], d_i [q, in], α_i, γ_i of the picture's prompt (`workbench.edits.gating`), and
the edit's factor f, which multiplies every γ_i:
    (1)  y = W x + Σ_i γ_i (α_i / q) u_i (d_i x)
    (2)  y = W x + (Σ_i γ_i (α_i / q) u_i) (Σ_j γ_j d_j x)
    (3)  Δ = f Σ_i (α_i / q) u_i d_i        (1) always open, as a change of W
(2) is what SPM's official code does instead: its cross terms u_i d_j were never trained, and one adapter acts with γ².
A convolution has d_i with its own kernel and u_i as 1 × 1.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.edits.checks import check_tensors
from workbench.edits.controls import DIRECTIONS, redrawn
from workbench.edits.edit import Summary, named
from workbench.edits.fields import EditFields
from workbench.edits.gates import Gates
from workbench.edits.gating import Gate, Gating, check_gate
from workbench.edits.mixing import Mixing, Openness, as_it_is
from workbench.edits.weight import DELTA, LEFT, RIGHT, WeightEdit
from workbench.models import Diffusion
from workbench.models.beside import Mix, Term, beside

DOWN, UP = ":down", ":up"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AdapterEdit(EditFields):
    """Adapters beside the layers of a denoiser. Exact to remove: the weights are never touched.

    `tensors` are `N:PATH:down` and `N:PATH:up`, N the number of the adapter and PATH that of the layer in the model;
    all adapters have the same layers, and each one rank. Raises `WorkbenchError` if one lacks a layer.
    `targets` and `alphas` have an entry for each adapter: the texts that open it, and its α. `factor` multiplies every
    γ. γ is computed once a prompt, by the text encoder of the model that it is installed in, and is the same at all
    steps and in both branches of guidance; a row whose prompt nobody knows has γ = 1. `combination` is "sum" for (1),
    "official" for (2).
    """

    targets: Sequence[Sequence[str]]
    alphas: Sequence[float]
    gate: Gate
    factor: float = 1.0
    combination: Literal["sum", "official"] = "sum"

    kind: ClassVar[str] = "adapter"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "alphas", tuple(self.alphas))
        object.__setattr__(self, "targets", tuple(tuple(targets) for targets in self.targets))
        _check_whole(self)

    @property
    def layers(self) -> list[str]:
        """The paths of all layers that have an adapter, in the order of their names."""
        return sorted({key.split(":")[1] for key in self.tensors})

    def factors(self, adapter: int, layer: str) -> Term:
        """One adapter at one layer.

        Args:
            adapter: Its number, from 0.
            layer: A path of `layers`.

        Returns:
            d `[q, in]` (of a convolution `[q, in, height, width]`), and (α / q) u `[out, q]`.
        """
        down, up = (self.tensors[f"{adapter}:{layer}{side}"] for side in (DOWN, UP))
        return Term(down, up * (self.alphas[adapter] / len(down)))

    def term(self, layer: str) -> Term:
        """All adapters at a layer side by side.

        Args:
            layer: A path of `layers`.

        Returns:
            The same as `factors`, for all of them in their order: q is the sum of the ranks.
        """
        both = [self.factors(number, layer) for number in range(len(self.targets))]
        return Term(torch.cat([one.down for one in both]), torch.cat([one.up for one in both], dim=1))

    @property
    def ranks(self) -> list[int]:
        """q of each adapter."""
        return [len(self.tensors[f"{number}:{self.layers[0]}{DOWN}"]) for number in range(len(self.targets))]

    def only(self, number: int) -> "AdapterEdit":
        """One of the adapters as an edit of its own.

        Args:
            number: Which, from 0.

        Returns:
            The edit, combined with nothing.
        """
        own = {key: one for key, one in self.tensors.items() if key.startswith(f"{number}:")}
        tensors = {f"0:{key.split(':', 1)[1]}": one for key, one in own.items()}
        targets, alphas = self.targets[number : number + 1], self.alphas[number : number + 1]
        return replace(self, tensors=tensors, targets=targets, alphas=alphas, combination="sum")

    def check(self, model: Diffusion) -> None:
        """Raises `WorkbenchError` for layers that the model lacks or has in another width, for other weights than those
        it was fitted on (see `transferred`), and for a gate that needs a text encoder that is not there."""
        self.check_layers(model)
        if self.base_fingerprint != model.fingerprint:
            raise WorkbenchError(
                f"{named(self)} was fitted on another model "
                f"({self.base_fingerprint[:12]}…) than {model.name} ({model.fingerprint[:12]}…).",
                "Its layers fit: workbench.edits.transferred(edit, model) carries it over.",
            )
        check_tensors(self.tensors, named(self))
        check_gate(self.gate, model)

    def check_layers(self, model: Diffusion) -> None:
        """Refuses a model of another architecture or width.

        Args:
            model: The model.

        Raises:
            WorkbenchError: It lacks a layer, or has one in another width; the first is named.
        """
        known = adaptable(model)
        missing = [layer for layer in self.layers if layer not in known]
        if missing:
            raise WorkbenchError(
                f"The edit has adapters for {len(self.layers)} layers, and {model.name} ({model.kind}) lacks "
                f"{len(missing)} of them, first {missing[0]}.",
                "Adapters fit models of the architecture that they were fitted on.",
            )
        for layer in self.layers:
            own, there = _shape(self.term(layer)), tuple(known[layer].weight.shape)
            if own != there:
                raise WorkbenchError(
                    f"The adapter beside {layer} is for a weight of {own} and that of {model.name} is {there}.",
                    "Fit the method on this model: adapters go from one model to another of the same width.",
                )

    @contextmanager
    def installed(self, model: Diffusion) -> Iterator[None]:
        """(1) or (2) at every layer. Raises `WorkbenchError` at the end if the picture side ran and a layer did not."""
        self.check(model)
        if self._is_constant:
            with self._beside(model, lambda: as_it_is, self.factor):
                yield
        else:
            with self._opened(model, Gating(model, self.targets, self.gate).of_rows):
                yield

    def decides(self) -> bool:
        """Whether prompts open it."""
        return self.gate != "always"

    @contextmanager
    def installed_by(self, model: Diffusion, gates: Gates) -> Iterator[None]:
        """(1) or (2) at every layer, with γ as the gates say."""
        self.check(model)
        gating = Gating(model, self.targets, self.gate)
        with self._opened(model, lambda clock: gates.opens(clock, gating)) if self.decides() else self.installed(model):
            yield

    @contextmanager
    def _opened(self, model: Diffusion, openness: Openness) -> Iterator[None]:
        mixing = Mixing(model, openness, self.ranks, self.factor, summed=self.combination == "sum")
        with model.wiring.followed(), self._beside(model, mixing):
            yield

    @contextmanager
    def _beside(self, model: Diffusion, mixing: Callable[[], Mix], factor: float = 1.0) -> Iterator[None]:
        terms = {layer: self._term_in(model, layer, factor) for layer in self.layers}
        runs = model.wiring.calls.runs["image"]
        with beside(model.module, terms, mixing) as ran:
            yield
        silent = terms.keys() - ran
        if silent and model.wiring.calls.runs["image"] > runs:
            raise WorkbenchError(
                f"The picture side ran, and {len(silent)} layers with adapters did not, first {min(silent)}.",
                "Use the model without fused attention projections.",
            )

    def gates(self, model: Diffusion, prompts: Sequence[str]) -> Float[Tensor, "prompts adapters"]:
        """How far each adapter opens for each prompt.

        Args:
            model: Its text encoder compares the prompts.
            prompts: At least one.

        Returns:
            γ times `factor`, `[prompts, adapters]`, float64, on the CPU.
        """
        return self.factor * Gating(model, self.targets, self.gate).of(prompts)

    def opened(self) -> WeightEdit:
        """(3): the adapters open for every prompt. What the gate spares is spared no longer.

        Returns:
            A `WeightEdit`: thin factors of linear layers, whole convolutions.

        Raises:
            WorkbenchError: They are combined as in the official code, which is no sum.
        """
        self.check_sum()
        tensors: dict[str, Tensor] = {}
        for layer in self.layers:
            down, up = self.term(layer)
            if down.ndim == 4:
                tensors[f"{layer}.weight{DELTA}"] = self.factor * (up @ down.flatten(1)).view(len(up), *down.shape[1:])
            else:
                tensors |= {f"{layer}.weight{LEFT}": self.factor * up, f"{layer}.weight{RIGHT}": down}
        return WeightEdit(
            tensors=tensors, settings=self.settings, method=self.method, concepts=self.concepts,
            base_fingerprint=self.base_fingerprint, seed=self.seed,
        )  # fmt: skip

    def check_sum(self) -> None:
        """Refuses adapters whose effects do not add up.

        Raises:
            WorkbenchError: They are combined as in the official code.
        """
        if self.combination != "sum":
            raise WorkbenchError("Adapters that are combined as in the official code are no sum.", "Combine by 'sum'.")

    def no_op(self) -> "AdapterEdit":
        """The same adapters with u = 0."""
        none = {key: torch.zeros_like(one) if key.endswith(UP) else one for key, one in self.tensors.items()}
        return replace(self, tensors=none, settings={}, method="no-op")

    def random(self, seed: int = 0) -> "AdapterEdit":
        """The same adapters with random inputs: each d becomes R Q, Q random orthonormal rows and R that of d's own.

        Norm, rank and singular values of every product u d stay, and so does what it can add and when it opens; what it
        reacts to is another direction, drawn anew for each adapter and layer.
        """
        generator = torch.Generator().manual_seed(seed)
        tensors = {
            key: redrawn(one, generator) if key.endswith(DOWN) else one for key, one in sorted(self.tensors.items())
        }
        return replace(self, tensors=tensors, method=f"{DIRECTIONS} like {self.method}", seed=seed)

    def rows(self, model: Diffusion | None = None) -> list[dict[str, Any]]:
        """What each adapter adds to the weight of each layer when wide open, as `WeightEdit.rows`: a row for both."""
        if model is not None:
            self.check(model)
        return [
            {"adapter": ", ".join(one.targets[0]), **row}
            for one in (self.only(number) for number in range(len(self.targets)))
            for row in one.opened().rows(model)
        ]

    def summary(self) -> Summary:
        """How many layers, and whether the prompt opens them."""
        opens = "open" if self.gate == "always" else "by prompt"
        changes = f"adapters beside {len(self.layers)} layers, {opens}"
        return Summary(changes, DIRECTIONS, in_weights=self.gate == "always")

    def in_weights(self) -> Sequence[WeightEdit]:
        """(3), if it is always open. Raises `WorkbenchError` if a prompt opens it."""
        if self.gate != "always":
            raise WorkbenchError(
                f"{named(self)} opens by the prompt of each picture, which weights cannot do.",
                "Use it with `model.edited(…)` or `--edit`, or bake it open for every prompt: "
                "dataclasses.replace(edit, gate='always').",
            )
        return (self.opened(),)

    @property
    def _is_constant(self) -> bool:
        return self.gate == "always" and self.combination == "sum"

    def _term_in(self, model: Diffusion, layer: str, factor: float) -> Term:
        weight = model.module(layer).weight
        down, up = (one.to(weight.device, weight.dtype) for one in self.term(layer))  # type: ignore[arg-type]
        return Term(down, factor * up)

    def _told(self) -> dict[str, Any]:
        targets = "; ".join(", ".join(targets) for targets in self.targets)
        return {"layers": len(self.layers), "opens for": targets, "gate": self.gate}


def adaptable(model: Diffusion) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers that an adapter can stand beside.

    Args:
        model: The model.

    Returns:
        The linear layers and plain convolutions of the picture side, by their paths in the model.
    """
    component = model.architecture.image_side.path
    named_modules = model.module(component).named_modules()
    return {
        f"{component}.{name}": layer
        for name, layer in named_modules
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
    }


def _shape(term: Term) -> tuple[int, ...]:
    return (term.up.shape[0], *term.down.shape[1:])


def _check_whole(edit: AdapterEdit) -> None:
    """Raises `WorkbenchError` unless every adapter has its texts, its α and both factors at every layer."""
    if not all(map(math.isfinite, (edit.factor, *edit.alphas))):
        raise WorkbenchError(f"{named(edit)} has a factor or an α that is not finite.", "Give finite numbers.")
    if not edit.targets or not all(edit.targets):
        raise WorkbenchError(f"{named(edit)} has an adapter that no text opens.", "Give each adapter its targets.")
    if odd := sorted(key for key in edit.tensors if key.count(":") != 2):
        raise WorkbenchError(
            f"{named(edit)} has the tensor {odd[0]!r}, which names no factor.", "Name each N:PATH:down or N:PATH:up."
        )
    numbers = range(len(edit.targets))
    wanted = {f"{number}:{layer}{side}" for number in numbers for layer in edit.layers for side in (DOWN, UP)}
    unpaired = wanted ^ edit.tensors.keys()
    if unpaired or not wanted or len(edit.alphas) != len(numbers):
        raise WorkbenchError(
            f"{len(numbers)} adapters beside {len(edit.layers)} layers with {len(edit.alphas)} α do not go with their "
            f"tensors" + (f", first {min(unpaired)}." if unpaired else "."),
            "Give every adapter a target, an α, and both factors at every layer.",
        )
    _check_ranks(edit)


def _check_ranks(edit: AdapterEdit) -> None:
    ranks = [
        {n for layer in edit.layers for n in _ranks(edit.tensors, f"{number}:{layer}")}
        for number in range(len(edit.targets))
    ]
    if any(len(one) > 1 for one in ranks):
        raise WorkbenchError("An adapter has different ranks beside different layers.", "Give each adapter one rank.")
    if edit.combination == "official" and len(set(edit.ranks)) > 1:
        raise WorkbenchError("Adapters of different ranks cannot be added factor by factor.", "Combine by 'sum'.")


def _ranks(tensors: Mapping[str, Tensor], adapter: str) -> tuple[int, int]:
    """q by each of the two factors."""
    return tensors[adapter + DOWN].shape[0], tensors[adapter + UP].shape[-1]
