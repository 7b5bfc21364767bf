"""Values of other people's configurations, which come as pairs, as nothing, or without a limit."""

from typing import Any

from saes.errors import WorkbenchError


def native_size(network: Any, factor: int) -> int:
    """The side of the pictures that a denoiser was made for, in pixels.

    Args:
        network: The denoiser. The `sample_size` of its configuration is a number, or a pair of height and width.
        factor: Pixels to a latent pixel.

    Raises:
        WorkbenchError: It does not say its size, or its pictures are no squares.
    """
    said = network.config.sample_size
    sides = set(said) if isinstance(said, list | tuple) else {said}
    if len(sides) > 1:
        raise WorkbenchError(
            f"The {type(network).__name__} was made for pictures of {' × '.join(str(side * factor) for side in said)}, "
            "and pictures are squares here.",
            "Give the folder a workbench.json with steps, guidance_scale and the image_size that you want.",
        )
    (side,) = sides
    if side is None:
        raise WorkbenchError(
            f"The configuration of the {type(network).__name__} does not say for what size of pictures it was made.",
            "Give the folder a workbench.json with steps, guidance_scale and image_size.",
        )
    return side * factor


def limit_tokenizers(pipe: Any) -> None:
    """Gives tokenizers that say no limit, or one beyond it, that of the encoder which reads their tokens.

    Args:
        pipe: A pipeline whose tokenizers and text encoders carry the same numbers.
    """
    for number in ("", "_2", "_3"):
        tokenizer, encoder = (getattr(pipe, part + number, None) for part in ("tokenizer", "text_encoder"))
        room = getattr(getattr(encoder, "config", None), "max_position_embeddings", None)
        if tokenizer is not None and room is not None:
            tokenizer.model_max_length = min(tokenizer.model_max_length, room)
