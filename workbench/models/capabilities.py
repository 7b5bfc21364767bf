"""What a model can do that a method may need. Models declare it by kind; methods name what they need.

A new kind of model is one entry of `KINDS`: every method that needs no more than this kind has works on it.
"""

from collections.abc import Set

DENOISER = "denoiser"  # pictures come from noise, step by step, at sites called `unet.…` or `transformer.…`
NOISE_SCHEDULE = "noise_schedule"  # x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, with ε or v predicted
GUIDANCE_BRANCHES = "guidance_branches"  # a conditional and an unconditional prediction, joined outside the network
CROSS_ATTENTION = "cross_attention"  # the picture reads the prompt through key and value maps alone
PROMPT_MAPS = "prompt_maps"  # linear maps that are applied to an encoded prompt as it is
TEXT_ENCODER = "text_encoder"  # prompts pass a text encoder with begin and end tokens, at sites called `text.…`
ONE_TEXT_ENCODER = "one_text_encoder"  # … and no other
AUTOREGRESSIVE = "autoregressive"  # a language model writes the picture token by token, at sites called `lm.…`

_UNET = frozenset({DENOISER, NOISE_SCHEDULE, GUIDANCE_BRANCHES, CROSS_ATTENTION, PROMPT_MAPS, TEXT_ENCODER})
KINDS: dict[str, frozenset[str]] = {
    "sd1": _UNET | {ONE_TEXT_ENCODER},
    "sd2": _UNET | {ONE_TEXT_ENCODER},
    "sdxl": _UNET,
    "sd3": frozenset({DENOISER, GUIDANCE_BRANCHES, PROMPT_MAPS, TEXT_ENCODER}),
    "flux": frozenset({DENOISER, PROMPT_MAPS, TEXT_ENCODER}),
    "janus": frozenset({AUTOREGRESSIVE}),
}


def kinds_with(needed: Set[str]) -> tuple[str, ...]:
    """The kinds of models that have all these capabilities, in the order of `KINDS`."""
    return tuple(kind for kind, has in KINDS.items() if needed <= has)
