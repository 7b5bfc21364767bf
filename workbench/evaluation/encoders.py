"""CLIP and SigLIP as encoders of pictures and texts: any folder or hub id.

For a picture x and a text y with embeddings of unit length, cos = x·y. Their own reading of a pair:
    (1)  CLIP     ℓ = τ cos,        τ = exp(logit_scale)          (Radford et al. 2021, arXiv:2103.00020)
    (2)  SigLIP   ℓ = τ cos + b,    P(y describes x) = σ(ℓ)       (Zhai et al. 2023, arXiv:2303.15343)
CLIP's ℓ means something beside other texts alone, in a softmax; SigLIP's means something by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from saes.errors import unknown_name
from workbench.evaluation.opening import found, loaded, network

FAMILIES = {"clip": "CLIPModel", "siglip": "SiglipModel"}  # model_type of config.json → class of transformers
BATCH = 64
Embeddings = Float32[np.ndarray, "n d"]


@dataclass(frozen=True)
class Encoder:
    """A CLIP or a SigLIP.

    Args:
        name: What it was opened by.
        family: "clip" or "siglip".
        digest: SHA-256 of all files that it was read from.
        model: Its network.
        tokenizer: Of its texts.
        processor: Of its pictures.
    """

    name: str
    family: str
    digest: str
    model: Any
    tokenizer: Any
    processor: Any

    @classmethod
    def open(cls, name: str | Path) -> "Encoder":
        """Opens a folder that `save_pretrained` wrote, or a hub id, on the GPU if there is one, in float32.

        Args:
            name: The folder or the id.

        Returns:
            The encoder, frozen.

        Raises:
            WorkbenchError: There is no such model, it is of another kind, brings code, has its weights only as a pickle
                or not whole.
        """
        folder, config, digest = found(name, "a CLIP or SigLIP")
        family = str(config.get("model_type"))
        if family not in FAMILIES:
            raise unknown_name("kind of image and text encoder", family, FAMILIES)
        model, tokenizer, processor = _parts(folder, family)
        return cls(str(name), family, digest, model, tokenizer, processor)

    @property
    def short(self) -> str:
        """The last part of its name: "clip-vit-base-patch32"."""
        return Path(self.name).name

    @property
    def scale(self) -> float:
        """τ of (1) and (2)."""
        return float(self.model.logit_scale.exp())

    @property
    def bias(self) -> float:
        """b of (2); 0 for a CLIP."""
        return float(self.model.logit_bias) if self.family == "siglip" else 0.0

    def pictures(self, images: UInt8[np.ndarray, "n h w 3"]) -> Embeddings:
        """Embeddings of pictures, of unit length. Each is resized and cropped as the encoder's own processor says."""

        def embed(part: slice) -> torch.Tensor:
            pixels = self.processor(images=list(images[part]), return_tensors="pt").pixel_values
            return self.model.get_image_features(pixel_values=pixels.to(self.model.device)).pooler_output

        return self._embedded(embed, len(images))

    def texts(self, texts: Sequence[str]) -> Embeddings:
        """Embeddings of texts, of unit length. Texts are cut to what the encoder reads."""

        def embed(part: slice) -> torch.Tensor:
            return self.model.get_text_features(**self._tokens(texts[part])).pooler_output

        return self._embedded(embed, len(texts))

    def _tokens(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Padded as in training: SigLIP reads the last place and no mask, CLIP the end of the text."""
        length = int(self.model.config.text_config.max_position_embeddings)
        padding = "max_length" if self.family == "siglip" else True
        given = self.tokenizer(list(texts), padding=padding, truncation=True, max_length=length, return_tensors="pt")
        kept = ("input_ids",) if self.family == "siglip" else ("input_ids", "attention_mask")
        return {name: given[name].to(self.model.device) for name in kept}

    @torch.no_grad()
    def _embedded(self, embed: Any, n: int) -> Embeddings:
        parts = [embed(slice(start, start + BATCH)).float() for start in range(0, n, BATCH)]
        return torch.nn.functional.normalize(torch.cat(parts), dim=1).cpu().numpy()


def _parts(folder: Path, family: str) -> tuple[Any, Any, Any]:
    """Network, tokenizer and image processor."""
    import transformers

    model = network(getattr(transformers, FAMILIES[family]), folder)
    return model, loaded(transformers.AutoTokenizer, folder), loaded(transformers.AutoImageProcessor, folder)
