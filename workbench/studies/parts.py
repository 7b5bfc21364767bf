"""Parts of an activation, and the one change that every condition of a study makes to them.

A part of x has coordinates a(x) along some rows D, and c(x) = a(x) D is what it contributes to x:
    features F of an SAE    a = z_F(x), their code       D = their decoder rows
    a subspace              a = (x − 0) Uᵀ                D = U, orthonormal: a direction, or a head's own channels
    everything              a = x                         D = the identity: a layer
    (1)  x′ = x + s t (a° − a(x)) D           t the dose, s the scale (1, but for controls of equal norm)
a° is what the part is moved to: 0 (an ablation of features); the mean over the same sentence with other words (mean
ablation); or what it is in the sentence that names the concept (a patch). A text prompt is known by its token ids and
has an a° of its own; on the picture side there is one for each timestep.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from saes.dictionary import Dictionary
from workbench.activations.positions import Frame, places
from workbench.edits import ActivationEdit
from workbench.edits.programs import ActivationProgram
from workbench.hooks import Activation, Clock, Place
from workbench.models import Model


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the activation at a site: `features` of a dictionary, or the span of `basis`; everything if neither."""

    site: str
    dictionary: Dictionary | None = None
    features: Int64[Tensor, " k"] | None = None
    basis: Float[Tensor, "k d"] | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What the program needs of it."""
        if self.dictionary is not None:
            assert self.features is not None
            return {**self.dictionary.tensors, "features": self.features}
        return {} if self.basis is None else {"basis": self.basis}

    @property
    def settings(self) -> dict[str, Any]:
        """The same as JSON."""
        return {} if self.dictionary is None else self.dictionary.settings

    def coordinates(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows k"]:
        """a(x)."""
        return coordinates(x, self.tensors, self.settings)

    def contribution(self, a: Float[Tensor, "*rows k"]) -> Float[Tensor, "*rows d"]:
        """a D."""
        return contribution(a, self.tensors)


@dataclass(frozen=True, eq=False)
class Target:
    """a° by key: token ids of a prompt (`[n, tokens]`) or timesteps (`[n]`); None moves the part to 0 everywhere."""

    to: Float[Tensor, "n positions k"] | None = None
    keys: Tensor | None = None


def move(
    model: Model, part: Part, target: Target, *, dose: float, scale: float = 1.0, method: str, concept: str
) -> ActivationEdit:
    """The edit that moves one part to its target (1)."""
    tensors = dict(part.tensors)
    if target.to is not None:
        tensors |= {"to": target.to.contiguous(), "keys": cast(Tensor, target.keys)}
    return ActivationEdit(
        site=part.site, width=model.site(part.site).channels, program=f"{__name__}:PROGRAM", tensors=tensors,
        settings={**part.settings, "dose": dose, "scale": scale}, method=method, concepts=[concept],
        base_fingerprint=model.fingerprint,
    )  # fmt: skip


def move_part(x: Activation, clock: Clock, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Activation:
    """(1) on conditional rows; the begin token stays, and so does a prompt or a timestep that has no target."""
    rows = clock.mask("cond")
    if not rows.any():
        return x
    chosen = x[rows].to(next((t.dtype for name, t in tensors.items() if t.is_floating_point()), x.dtype))
    a = coordinates(chosen, tensors, settings)
    to, known = _targets(a, clock, rows, tensors)
    step = settings["scale"] * settings["dose"] * contribution(to - a, tensors)  # (1)
    step = step * known[:, None, None]
    step[places(clock, x.shape[1], Frame())[rows] == Place.BEGIN] = 0
    changed = x.clone()
    changed[rows] = (chosen + step).to(x.dtype)
    return changed


PROGRAM = ActivationProgram(move_part, settings=("dose", "scale"))


def coordinates(
    x: Float[Tensor, "*rows d"], tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> Float[Tensor, "*rows k"]:
    """a(x) of the part that the tensors describe."""
    if "features" in tensors:
        code = Dictionary.from_tensors(tensors, settings).encode(x)
        own = code.indices[..., None] == tensors["features"]
        return (code.values[..., None] * own).sum(dim=-2)
    return x @ tensors["basis"].mT if "basis" in tensors else x


def contribution(a: Float[Tensor, "*rows k"], tensors: Mapping[str, Tensor]) -> Float[Tensor, "*rows d"]:
    """a D."""
    if "features" in tensors:
        return a @ tensors["W_dec"][tensors["features"]]
    return a @ tensors["basis"] if "basis" in tensors else a


def _targets(
    a: Float[Tensor, "rows positions k"], clock: Clock, rows: Bool[Tensor, " all"], tensors: Mapping[str, Tensor]
) -> tuple[Tensor, Bool[Tensor, " rows"]]:
    """a° of each row, and whether it has one."""
    if "to" not in tensors:
        return torch.zeros_like(a), torch.ones(len(a), dtype=torch.bool, device=a.device)
    keys, to = tensors["keys"], tensors["to"].to(a.dtype)
    if clock.token_ids is not None:
        same = (clock.token_ids[rows][:, None] == keys).all(dim=-1)
    else:
        assert clock.timestep is not None, "an image call has a timestep"
        same = torch.eq(keys, clock.timestep).expand(len(a), -1)
    return to[same.int().argmax(dim=1)], same.any(dim=1)
