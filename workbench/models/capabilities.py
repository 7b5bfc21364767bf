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
PROMPT_TOKENS = "prompt_tokens"  # some sites hold a prompt's own tokens, each where it is: `text.…`, `lm.…`
FRAMED_PROMPTS = "framed_prompts"  # … between a begin and an end token, wherever they are read
PICTURE_SITES = "picture_sites"  # some sites hold a picture's pixels or tokens: `unet.…`, `transformer.…`, `lm.…`
NEGATIVE_PROMPT = "negative_prompt"  # what guidance leads away from may be a text
AUTOREGRESSIVE = "autoregressive"  # a language model writes the picture token by token, at sites called `lm.…`

_ALL = frozenset({PROMPT_TOKENS, PICTURE_SITES})
_UNET = _ALL | {
    DENOISER, NOISE_SCHEDULE, GUIDANCE_BRANCHES, CROSS_ATTENTION, PROMPT_MAPS, TEXT_ENCODER, FRAMED_PROMPTS,
    NEGATIVE_PROMPT,
}  # fmt: skip
KINDS: dict[str, frozenset[str]] = {
    "sd1": _UNET | {ONE_TEXT_ENCODER},
    "sd2": _UNET | {ONE_TEXT_ENCODER},
    "sdxl": _UNET,
    "sd3": _ALL | {DENOISER, GUIDANCE_BRANCHES, PROMPT_MAPS, TEXT_ENCODER, NEGATIVE_PROMPT},
    "flux": _ALL | {DENOISER, PROMPT_MAPS, TEXT_ENCODER},
    "janus": _ALL | {AUTOREGRESSIVE, FRAMED_PROMPTS, NEGATIVE_PROMPT},
}


def kinds_with(needed: Set[str]) -> tuple[str, ...]:
    """The kinds of models that have all these capabilities, in the order of `KINDS`."""
    return tuple(kind for kind, has in KINDS.items() if needed <= has)
