"""Whether a configuration can make pictures at all, told before any weights are read.

transformers opens each of these and fails later, or makes pictures of another size without a word.
"""

from pathlib import Path
from typing import Any

from saes.errors import WorkbenchError


def check_whole(folder: Path, said: dict[str, Any]) -> None:
    """Refuses what is no Janus, or a part of one.

    Args:
        folder: Its folder.
        said: What its `config.json` says.

    Raises:
        WorkbenchError: It is of another type, or lacks the text, vision or picture side.
    """
    kind = said.get("model_type")
    if kind != "janus":
        raise WorkbenchError(
            f"{folder} has no model_index.json, as pipelines have, and its config.json is of the type {kind!r}.",
            "Give the folder of a whole model that save_pretrained wrote: a diffusers pipeline, or a Janus.",
        )
    missing = [name for name in ("text_config", "vision_config", "vq_config") if not said.get(name)]
    if missing:
        raise WorkbenchError(
            f"{folder / 'config.json'} has no {missing[0]}, so that no picture could be made.",
            "Use a whole Janus, with language model, vision tower and picture autoencoder.",
        )


def check_sizes(folder: Path, config: Any) -> None:
    """Refuses a grid of tokens that is not that of the pictures.

    Args:
        folder: Of the model.
        config: `JanusConfig`.

    Raises:
        WorkbenchError: The numbers of tokens, cells and pixels do not fit together, or widths differ.
    """
    vision, vq = config.vision_config, config.vq_config
    side, patch, tokens = vision.image_size, vision.patch_size, vision.num_image_tokens
    upsampling = 2 ** (len(vq.channel_multiplier) - 1)
    width = config.text_config.hidden_size
    if side % patch or tokens != (side // patch) ** 2:
        problem = f"{tokens} tokens a picture, and {side} pixels in patches of {patch} are {(side // patch) ** 2}"
    elif upsampling != patch:
        problem = f"pictures of {side} pixels, and its decoder makes {side // patch * upsampling}"
    elif (vq.projection_dim, vq.image_token_embed_dim) != (width, width):
        problem = f"picture tokens of width {vq.projection_dim}, and its language model has {width}"
    else:
        return
    raise WorkbenchError(f"{folder / 'config.json'} says {problem}.", "Save the model again with sizes that fit.")
