"""A Janus taken apart: its networks and its tokenizer by name."""

import shutil
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

BODY = (
    "language_model", "generation_embeddings", "generation_aligner", "generation_head", "vqmodel", "vision_model",
    "aligner",
)  # fmt: skip
PROCESSORS = ("processor_config.json", "preprocessor_config.json")  # for other programs


class Parts:
    """The components of a Janus as attributes, the `pipe` of its handle. Names are those of transformers, without the
    "model." before most of them.

    Args:
        whole: `JanusForConditionalGeneration`, which stays in charge of its networks.
        tokenizer: Its tokenizer.
        folder: Where they were loaded from.
    """

    def __init__(self, whole: Any, tokenizer: Any, folder: Path) -> None:
        self.whole = whole
        self.tokenizer = tokenizer
        self.folder = folder
        self.lm_head = whole.lm_head
        for name in BODY:
            setattr(self, name, getattr(whole.model, name))

    language_model: Any
    vqmodel: Any
    generation_head: Any
    lm_head: Any

    @property
    def components(self) -> dict[str, Any]:
        """Networks and tokenizer by name."""
        return {name: getattr(self, name) for name in (*BODY, "lm_head", "tokenizer")}

    @property
    def cells(self) -> int:
        """Tokens of a picture, row by row from the upper left."""
        return self.vqmodel.config.num_patches**2

    @property
    def image_size(self) -> int:
        """The side of the square images, in pixels."""
        return self.whole.config.vision_config.image_size

    def looked_up(self, ids: Int64[Tensor, "rows positions"]) -> Float[Tensor, "rows positions d"]:
        """What the language model reads for tokens of text."""
        return self.language_model.embed_tokens(ids.to(self.language_model.device))

    def drawn_as(self, codes: Int64[Tensor, "rows positions"]) -> Float[Tensor, "rows positions d"]:
        """What the language model reads for tokens of a picture: their codebook rows, lifted to its width."""
        return self.whole.prepare_embeddings_for_image_generation(codes.to(self.language_model.device))

    def save_pretrained(self, folder: Path, safe_serialization: bool = True) -> None:
        """Saves the networks as they are, the tokenizer, and what else was in the folder that other programs read."""
        self.whole.save_pretrained(folder, safe_serialization=safe_serialization)
        self.tokenizer.save_pretrained(folder)
        for name in PROCESSORS:
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)
