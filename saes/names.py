"""Names of features, kept in `names.json` in the SAE's folder, so that they travel with it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from saes.disk import read_json, sha256_of, write_json
from saes.errors import WorkbenchError
from saes.files import WEIGHTS

NAMES = "names.json"


@dataclass(frozen=True)
class FeatureName:
    """What a feature is called, and how well it detects the factor that it is called after.

    `factor` is "" for a feature that detects none and is called after what it fires on most. `precision` is the share
    of its firings that have the factor, `recall` the share of the factor's items on which it fires. Both are in [0, 1],
    on items that had no part in the choice of the factor, and 0 without a factor.
    """

    name: str
    factor: str = ""
    precision: float = 0.0
    recall: float = 0.0


def write_names(sae_folder: Path | str, names: Mapping[int, FeatureName]) -> None:
    """Writes the names beside the weights to which they belong.

    Args:
        sae_folder: the folder of the SAE.
        names: name by feature; features without one are left out.

    Raises:
        WorkbenchError: the weights cannot be read, or the names cannot be written.
    """
    folder = Path(sae_folder)
    features = {str(feature): asdict(name) for feature, name in sorted(names.items())}
    write_json(folder / NAMES, {"weights": sha256_of(folder / WEIGHTS), "features": features})


def read_names(sae_folder: Path | str) -> dict[int, FeatureName]:
    """Reads the names of an SAE's features.

    Args:
        sae_folder: the folder of the SAE.

    Returns:
        Name by feature, in the order of the features; {} if none were given.

    Raises:
        WorkbenchError: the file is damaged, or its names belong to other weights.
    """
    path = Path(sae_folder) / NAMES
    if not path.exists():
        return {}
    content = read_json(path, ("weights", "features"))
    if content["weights"] != sha256_of(path.with_name(WEIGHTS)):
        raise WorkbenchError(f"{path} names the features of other weights.", "Name them again: workbench name.")
    try:
        return {int(feature): FeatureName(**fields) for feature, fields in content["features"].items()}
    except (TypeError, ValueError, AttributeError):
        raise WorkbenchError(f"{path} is damaged.", "Name the features again: workbench name.") from None
