"""CLIP and SigLIP as encoders of pictures and texts: any folder or hub id. Safetensors only, never code of others.

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

from saes.disk import read_json
from saes.errors import WorkbenchError, unknown_name
from workbench.identity import hashed
from workbench.models.loading import HUB_ID
from workbench.models.quiet import quiet
from workbench.models.weights import check_complete, check_whole, fingerprint, weight_files

FAMILIES = {"clip": "CLIPModel", "siglip": "SiglipModel"}  # model_type of config.json → class of transformers
FILES = ("model*.safetensors*", "*.json", "*.txt", "*.model")  # what is downloaded of a hub id
READ = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json", "tokenizer.json",
        "special_tokens_map.json", "vocab.json", "merges.txt", "spiece.model")  # fmt: skip
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
        folder = _folder(str(name))
        config = read_json(folder / "config.json")
        family = str(config.get("model_type"))
        if family not in FAMILIES:
            raise unknown_name("kind of image and text encoder", family, FAMILIES)
        if "auto_map" in config:
            raise WorkbenchError(f"{name} brings code of its own.", "Take a CLIP or SigLIP that transformers has.")
        files = weight_files(folder, "")
        check_whole(files)
        read = {path: fingerprint({"": [folder / path]}) for path in READ if (folder / path).is_file()}
        model, tokenizer, processor = _parts(folder, family)
        return cls(str(name), family, hashed([fingerprint({"": files}), read]), model, tokenizer, processor)

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
        found = self.tokenizer(list(texts), padding=padding, truncation=True, max_length=length, return_tensors="pt")
        kept = ("input_ids",) if self.family == "siglip" else ("input_ids", "attention_mask")
        return {name: found[name].to(self.model.device) for name in kept}

    @torch.no_grad()
    def _embedded(self, embed: Any, n: int) -> Embeddings:
        parts = [embed(slice(start, start + BATCH)).float() for start in range(0, n, BATCH)]
        return torch.nn.functional.normalize(torch.cat(parts), dim=1).cpu().numpy()


def _folder(name: str) -> Path:
    """The folder of a model, downloaded first if it is a hub id that is not on this machine."""
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return path
    if path.exists() or not HUB_ID.fullmatch(name) or name.count("/") != 1:
        raise WorkbenchError(
            f"{name} is no CLIP or SigLIP: it has no config.json.", "Give a folder or a hub id of one."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:  # the hub's client raises a dozen types; each means that there is no model
        raise WorkbenchError(
            f"{name!r} is neither a folder nor a model that could be downloaded ({str(error).splitlines()[0]}).",
            "Check the spelling and the network; for a gated model run `hf auth login` first.",
        ) from error


def _parts(folder: Path, family: str) -> tuple[Any, Any, Any]:
    """Network, tokenizer and image processor."""
    import transformers

    kind = getattr(transformers, FAMILIES[family])
    try:
        with quiet():
            model, report = kind.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise WorkbenchError(
            f"{folder} cannot be opened ({str(error).splitlines()[0]}).", "Download or save the whole model again."
        ) from None
    check_complete(folder, report)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.eval().requires_grad_(False).to(device), tokenizer, processor
