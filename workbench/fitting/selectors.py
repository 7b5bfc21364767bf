"""Which parameters a method trains: the sets that papers name, as predicates on the names of parameters.

select(model, "esd-x")       {"unet.….attn2.to_q.weight": …, …}
select(model, is_key_or_value)

ESD's code has sets under one name that differ by its year. "esd-u" and "full" are those of 2023 (a2189e9), which the
paper and most comparisons use. The code of 2025 (25613d2) trains linear layers and convolutions alone, and no norm: in
its script for SD, "esd-u-2025" with the input, output and time embedding that 2023 leaves out, "esd-all-2025" with
cross-attention too; in its script for SDXL ("-xl"), both within the blocks alone and without what reads an embedding of
time. "esd-x" and "esd-strict" are the same in all.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from saes.errors import WorkbenchError, unknown_name
from workbench.fitting.copies import Wanted, denoiser_parameters, everything, parameters_of
from workbench.models import Diffusion, Janus, Model

FIRST = 5  # layers that EAR trains
ENDS = ("conv_out", "conv_norm_out", "time_embedding", "add_embedding")


def is_cross_attention(name: str) -> bool:
    """Queries, keys, values and outputs of cross-attention; not the norm before it.

    Args:
        name: A parameter's name in the model.

    Returns:
        Whether it is one of them.
    """
    return "attn2" in name.split(".")


def is_key_or_value(name: str) -> bool:
    """The maps of cross-attention that read the prompt.

    Args:
        name: A parameter's name in the model.

    Returns:
        Whether it is one of them.
    """
    parts = name.split(".")
    return is_cross_attention(name) and ("to_k" in parts or "to_v" in parts)


def is_self_attention(name: str) -> bool:
    """Queries, keys, values and outputs of self-attention.

    Args:
        name: A parameter's name in the model.

    Returns:
        Whether it is one of them.
    """
    return "attn1" in name.split(".")


def is_attention(name: str) -> bool:
    """The four maps of self-attention and of cross-attention.

    Args:
        name: A parameter's name in the model.

    Returns:
        Whether it is one of them.
    """
    return is_self_attention(name) or is_cross_attention(name)


def is_outside_cross_attention(name: str) -> bool:
    """All but cross-attention, the output layers and the embedding of time: ESD-u as it was published.

    What SDXL adds to that embedding is left out with it.

    Args:
        name: A parameter's name in the model.

    Returns:
        Whether it is one of them.
    """
    return not is_cross_attention(name) and name.split(".")[1] not in ENDS


def is_layer(name: str) -> bool:
    """Weights and biases of linear layers and convolutions, which are all but the norms.

    Args:
        name: A parameter's name in the model.

    Returns:
        Whether it is one of them.
    """
    return not any("norm" in part for part in name.split("."))


def is_layer_in_a_block(name: str) -> bool:
    """Those of the down, middle and up blocks, but for the projections of the time embedding.

    Args:
        name: A parameter's name in the model.

    Returns:
        Whether it is one of them.
    """
    return is_layer(name) and "block" in name and "emb" not in name


def layer_of(name: str) -> int | None:
    """The number of the layer of a text encoder that a parameter belongs to.

    Args:
        name: A parameter's name in the model, such as "text_encoder.encoder.layers.3.mlp.fc1.bias".

    Returns:
        Its number (3); None for a parameter of no layer.
    """
    _, found, after = name.partition(".layers.")
    return int(after.split(".")[0]) if found else None


def is_attention_of_first(name: str, layers: int) -> bool:
    """Queries, keys, values and outputs of a language model's first layers: what EAR trains.

    Args:
        name: A parameter's name in the model, such as "language_model.layers.3.self_attn.q_proj.weight".
        layers: How many, from the first on.

    Returns:
        Whether it is one of them.
    """
    parts = name.split(".")
    maps = ("q_proj", "k_proj", "v_proj", "o_proj")
    return (
        parts[:2] == ["language_model", "layers"]
        and int(parts[2]) < layers
        and parts[3] == "self_attn"
        and parts[4] in maps
    )


class Set(NamedTuple):
    """A set by its name in the papers."""

    wanted: Wanted
    what: str


DENOISER_SETS = {
    "esd-x": Set(is_cross_attention, "cross-attention"),
    "esd-strict": Set(is_key_or_value, "keys and values of cross-attention"),
    "esd-u": Set(is_outside_cross_attention, "all but cross-attention, output and time embedding"),
    "esd-u-2025": Set(
        lambda name: is_layer(name) and not is_cross_attention(name), "layers outside cross-attention, no norm"
    ),
    "esd-u-2025-xl": Set(
        lambda name: is_layer_in_a_block(name) and not is_cross_attention(name),
        "layers of the blocks outside cross-attention, no norm, nothing of the time embedding",
    ),
    "esd-all-2025": Set(is_layer, "all layers, no norm"),
    "esd-all-2025-xl": Set(is_layer_in_a_block, "all layers of the blocks, no norm, nothing of the time embedding"),
    "self": Set(is_self_attention, "self-attention"),
    "attention": Set(is_attention, "self-attention and cross-attention"),
    "full": Set(everything, "the whole denoiser"),
}


LANGUAGE_MODEL_SETS = {
    "ear": Set(lambda name: is_attention_of_first(name, FIRST), f"attention of the first {FIRST} layers"),
    "full": Set(everything, "the whole language model"),
}


def wanted(name: str) -> Wanted:
    """The predicate of a set.

    Args:
        name: A key of `DENOISER_SETS`.

    Returns:
        A function of a parameter's name.

    Raises:
        WorkbenchError: There is no such set; the nearest is named.
    """
    if name not in DENOISER_SETS:
        raise unknown_name("set of parameters", name, DENOISER_SETS)
    return DENOISER_SETS[name].wanted


def select(model: Model, which: str | Callable[[str], bool]) -> dict[str, nn.Parameter]:
    """The parameters of a set: of a denoiser, or of a Janus's language model.

    Args:
        model: The model, or a handle with a denoiser of its own.
        which: A key of `DENOISER_SETS`, of `LANGUAGE_MODEL_SETS` for a Janus, or a predicate on parameters' names.

    Returns:
        The parameters by name, at least one.

    Raises:
        WorkbenchError: There is no such set, or this model has no parameter of it.
    """
    if isinstance(model, Janus):
        if isinstance(which, str) and which not in LANGUAGE_MODEL_SETS:
            raise unknown_name("set of parameters", which, LANGUAGE_MODEL_SETS)
        own = LANGUAGE_MODEL_SETS[which].wanted if isinstance(which, str) else which
        chosen = parameters_of(model, "language_model", own)
    else:
        assert isinstance(model, Diffusion)
        chosen = denoiser_parameters(model, wanted(which) if isinstance(which, str) else which)
    if not chosen:
        raise WorkbenchError(f"No parameter of {model.name} belongs to the set {which}.", "Choose another set.")
    return chosen
