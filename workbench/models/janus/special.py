"""Which ids begin a text, pad it, and begin the picture. transformers forgets the last when it saves a Janus."""

from pathlib import Path
from typing import Any

from saes.errors import WorkbenchError
from workbench.models.janus.layout import Special

PUBLISHED = "<begin_of_image>"


def special_ids(folder: Path, tokenizer: Any, config: Any, told: int | None) -> Special:
    """The ids.

    Args:
        folder: Of the model.
        tokenizer: Its tokenizer.
        config: `GenerationConfig` of the folder.
        told: The begin-of-image id that the folder's `workbench.json` gives, if it does.

    Raises:
        WorkbenchError: One is not known, or is no id of the tokenizer.
    """
    found = {
        "begin": _first(config.bos_token_id, tokenizer.bos_token_id),
        "pad": _first(config.pad_token_id, tokenizer.pad_token_id),
        "image": _first(told, *_of_image(tokenizer, config)),
    }
    for name, what in (("begin", "begin token"), ("pad", "padding token"), ("image", "begin-of-image token")):
        number = found[name]
        if number is None or not 0 <= number < len(tokenizer):
            raise WorkbenchError(
                f"{folder} does not say which id is the {what}"
                + (f", or says {number}, which the tokenizer lacks." if number is not None else "."),
                f"Set `boi_token_id` in {folder / 'workbench.json'}."
                if name == "image"
                else f"Set `{'bos' if name == 'begin' else 'pad'}_token_id` in {folder / 'generation_config.json'}.",
            )
    return Special(**found)  # type: ignore[arg-type]


def _of_image(tokenizer: Any, config: Any) -> list[int | None]:
    """Where the begin-of-image id may stand besides: the tokenizer's own name for it, the last run, the vocabulary."""
    vocabulary = tokenizer.get_vocab()
    given = getattr(config, "generation_kwargs", None) or {}
    return [vocabulary.get(getattr(tokenizer, "boi_token", None)), given.get("boi_token_id"), vocabulary.get(PUBLISHED)]


def _first(*found: int | None) -> int | None:
    return next((number for number in found if number is not None), None)
