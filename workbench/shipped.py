"""What comes with the package, by name: SAEs, an image adapter, a CLIP. A name is looked up without loading torch."""

from pathlib import Path

from saes.errors import unknown_name
from saes.files import CONFIG, WEIGHTS
from saes.hashes import HASHES

SHIPPED = Path(__file__).parent / "toy" / "weights" / "saes"
ADAPTER = "toy/image_adapter"
CLIP = SHIPPED.parent / "clip"  # a folder of transformers, with its calibration
LABELS = SHIPPED.parents[1] / "labels"  # edited pictures, labelled by looking: `evaluation.labels`


def sae_folder(sae: str | Path) -> Path:
    """The folder of an SAE that is given by its path or, if it is shipped, by its name ("toy/text.2")."""
    if not str(sae).startswith("toy/") or Path(sae).exists():
        return Path(sae)
    shipped = {f"toy/{folder.name}": folder for folder in SHIPPED.glob("*") if folder.is_dir()}
    if str(sae) not in shipped:
        raise unknown_name("shipped SAE", str(sae), shipped)
    return shipped[str(sae)]


def adapter_path(adapter: str | Path) -> Path:
    """Where an image adapter is that is given by its path or as "toy/image_adapter"."""
    return SHIPPED.parent / "image_adapter" if str(adapter) == ADAPTER else Path(adapter)


def sae_files(sae: str | Path) -> list[Path]:
    """The files that are read of an SAE, there or not: its configuration, its weights, and their hashes."""
    return [sae_folder(sae) / name for name in (CONFIG, WEIGHTS, HASHES)]


def adapter_files(adapter: str | Path) -> list[Path]:
    """The files that are read of an image adapter: its weights, and all of its image encoder."""
    path = adapter_path(adapter)
    folder = path if path.is_dir() else path.parent
    weights = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return [*weights, *sorted(file for file in (folder / "image_encoder").glob("*") if file.is_file())]
