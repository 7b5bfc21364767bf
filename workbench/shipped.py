"""The autoencoders that come with the package, by name. Light: a name is looked up without loading torch."""

from pathlib import Path

from saes.errors import unknown_name

SHIPPED = Path(__file__).parent / "toy" / "weights" / "saes"


def sae_folder(sae: str | Path) -> Path:
    """The folder of an SAE that is given by its path or, if it is shipped, by its name ("toy/text.2")."""
    if not str(sae).startswith("toy/") or Path(sae).exists():
        return Path(sae)
    shipped = {f"toy/{folder.name}": folder for folder in SHIPPED.glob("*") if folder.is_dir()}
    if str(sae) not in shipped:
        raise unknown_name("shipped SAE", str(sae), shipped)
    return shipped[str(sae)]
