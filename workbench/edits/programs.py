"""Programs of activation edits, and those of them that belong to no single method.

    (1)  x′ = x + Σ_{f∈F} (z′_f − z_f) d_f      z the code of x, d_f the decoder row of feature f
    (2)  z′_f = s·z_f    scale | s    clamp | z_f + s    add

Written as a difference, so that what the dictionary does not explain of x stays as it is. Scaling acts wherever a
feature fires; the other two also where it does not, so they keep to the positions that carry a prompt's own words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from saes.dictionary import NAMES, Code, Dictionary
from workbench.activations.positions import Frame, marked, places
from workbench.edits.gates import Decision
from workbench.hooks import Activation, Clock, Place

ACTIONS = ("scale", "clamp", "add")


Apply = Callable[[Activation, Clock, Mapping[str, Tensor], Mapping[str, Any]], Activation]
Decide = Callable[[Activation, Clock, Mapping[str, Tensor], Mapping[str, Any]], Decision | None]


@dataclass(frozen=True)
class ActivationProgram:
    """What an `ActivationEdit` does at its site. A saved edit names it as "module:NAME".

    Args:
        apply: A pure function of the activation `[rows, positions, channels]`, the clock of the call, the edit's
            tensors and its settings. It returns the new activation, or the very same where it changes nothing.
        control: What `edit.random()` exchanges. "features": it changes `tensors["features"]`, and decides by
            `tensors["gate_features"]`, where these are given, when it acts. "turn": what it adds is multiplied by
            `tensors["turn"]`, where that is given (`turned` does it).
        tensors: The names of the tensors that it cannot do without.
        settings: The names of the settings that it cannot do without.
        decide: Of a program that acts on a prompt as a whole or not at all: a function of the same arguments as
            `apply`, which gives the decision that `apply` makes, differentiable, or None where there is none to make.
    """

    apply: Apply
    control: Literal["features", "turn"] = "features"
    tensors: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    decide: Decide | None = None


DICTIONARY = NAMES  # tensors of a dictionary, and
OF_DICTIONARY = ("architecture", "k")  # its settings


def identity(x: Activation, clock: Clock, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Activation:
    """Changes nothing: the control that shows what installing an edit costs.

    Args:
        x: The activation.
        clock: Of the call; not read.
        tensors: Of the edit; not read.
        settings: Of the edit; not read.

    Returns:
        The very same activation.
    """
    return x


def change_features(
    x: Activation, clock: Clock, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> Activation:
    """(1) on all conditional rows, in those calls that lie in the window. The begin token is never touched.

    Args:
        x: The activation, `[rows, positions, channels]`.
        clock: Of the call.
        tensors: A dictionary, and `features`.
        settings: Those of the dictionary, `action` (of `ACTIONS`), `strength`, s, `window`, the highest and the lowest
            timestep at which it acts (None: always), and `end`, the id of the token that ends a prompt (of no use to
            scaling).

    Returns:
        The new activation, or the very same where nothing changes.
    """
    rows = clock.mask("cond")
    if not rows.any() or not in_window(clock, settings["window"]):
        return x
    found = places(clock, x.shape[1], Frame(settings.get("end")))[rows]
    dictionary = Dictionary.from_tensors(tensors, settings)
    chosen = x[rows].to(dictionary.W_dec.dtype)
    action, strength, features = settings["action"], settings["strength"], tensors["features"]
    if action == "scale":
        touched = found != Place.BEGIN
        new = chosen + scaling(dictionary, dictionary.encode(chosen), features, touched, strength)
    else:
        content = marked(found)
        new = chosen + content[..., None] * (strength * dictionary.W_dec[features].sum(dim=0))
        if action == "clamp":
            new = new + scaling(dictionary, dictionary.encode(chosen), features, content, 0.0)
    changed = x.clone()
    changed[rows] = new.to(x.dtype)  # (1)
    return changed


def in_window(clock: Clock, window: tuple[float, float] | list[float] | None) -> bool:
    """Whether a call's timestep is one of a window's, its ends included.

    Args:
        clock: Of the call.
        window: The highest and the lowest timestep; None for all.

    Returns:
        Always true for text calls, which have no timestep.
    """
    if window is None or clock.timestep is None:
        return True
    return window[1] <= clock.timestep <= window[0]


def scaling(
    dictionary: Dictionary,
    code: Code,
    features: Int64[Tensor, " found"],
    touched: Bool[Tensor, "rows positions"],
    strength: float,
) -> Float[Tensor, "rows positions d"]:
    """What scaling features adds: (s − 1) Σ_{f∈F} z_f d_f.

    Args:
        dictionary: Has the rows d_f.
        code: z of the activation.
        features: F.
        touched: The positions at which it acts, `[rows, positions]`.
        strength: s.

    Returns:
        `[rows, positions, d]`, exactly 0 elsewhere.
    """
    scaled = torch.isin(code.indices, features) & touched[..., None]
    return (strength - 1) * dictionary.directions(Code(code.values * scaled, code.indices))


def gated(decide: Decide) -> Apply:
    """What a program does that is nothing but a decision.

    Args:
        decide: Gives the decision of a call.

    Returns:
        A function that changes the rows on which it acts; all others keep their very bits.
    """

    def apply(x: Activation, clock: Clock, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Activation:
        seen = decide(x, clock, tensors, settings)
        if seen is None or not seen.acts.any():
            return x
        changed = x.clone()
        changed[seen.rows[seen.acts]] = seen.changed[seen.acts].to(x.dtype)
        return changed

    return apply


def turned(change: Float[Tensor, "*rows d"], tensors: Mapping[str, Tensor]) -> Float[Tensor, "*rows d"]:
    """A change, turned by the rotation `turn` if there is one: a control that moves as far, and somewhere else.

    Args:
        change: What a program adds, `[…, d]`.
        tensors: Those of the edit.

    Returns:
        Of the same shape.
    """
    return change @ tensors["turn"] if "turn" in tensors else change


IDENTITY = ActivationProgram(identity)
CHANGE_FEATURES = ActivationProgram(
    change_features,
    tensors=(*DICTIONARY, "features"),
    settings=(*OF_DICTIONARY, "action", "strength", "window"),
)
