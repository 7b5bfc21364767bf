"""The pooled embedding of a prompt, by which it reaches the denoiser beside cross-attention."""

import warnings

from workbench.fitting.embedding import encoded
from workbench.models import Diffusion


def warn_of_pooled_text(model: Diffusion, method: str) -> None:
    """Warns where an edit of the maps that read the prompt leaves a way for it to the picture.

    SDXL adds a projection of the pooled embedding to the embedding of time; no map reads it as it is, and the official
    closed forms do not edit it. SD1 and SD2 have none, and of SD3 and Flux the map that reads it is edited.

    Args:
        model: The model that is edited.
        method: Its name for the sentence.
    """
    if encoded(model, [""]).pooled is not None and not model.prompt_maps("pooled"):
        warnings.warn(
            f"{method} does not edit how {model.name} reads the pooled text embedding, by which the concept can still "
            "reach the picture. Judge the edit by its pictures, or choose a method that trains the denoiser.",
            stacklevel=3,
        )
