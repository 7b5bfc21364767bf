"""What is chosen at load beside the model's name: LoRAs, a scheduler, a VAE, and the configuration of a single file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from saes.disk import sha256_of
from saes.errors import WorkbenchError

Place = str | Path
LoraGiven = Place | Sequence[Place] | Mapping[str, float]
LORA_FILE = "pytorch_lora_weights.safetensors"  # what diffusers calls one in a folder


class Lora(NamedTuple):
    """A LoRA file and the factor of its update."""

    path: Path
    scale: float


class Chosen(NamedTuple):
    """All of it; what is left out stays as the model's folder has it."""

    loras: tuple[Lora, ...] = ()
    scheduler: Place | None = None
    vae: Place | None = None
    config_from: Place | None = None

    @property
    def names(self) -> list[str]:
        """The arguments of `load` that were given."""
        given = {"lora": self.loras, "scheduler": self.scheduler, "vae": self.vae, "config_from": self.config_from}
        return [name for name, one in given.items() if one]

    def refuse(self, names: Sequence[str], why: str, remedy: str) -> None:
        """Raises `WorkbenchError` if one of these arguments was given: it could have no effect.

        Args:
            names: Of arguments of `load`.
            why: How the sentence ends that begins with the argument.
            remedy: What to do instead.
        """
        for name in self.names:
            if name in names:
                raise WorkbenchError(f"`{name}` (--{name.replace('_', '-')}) {why}.", remedy)

    @property
    def record(self) -> list[Any]:
        """What the LoRAs add to the fingerprint of the weights: content and scale of each, in their order."""
        return [["lora", sha256_of(one.path), one.scale] for one in self.loras]


def loras_of(given: LoraGiven) -> tuple[Lora, ...]:
    """LoRAs as they are given: one path or several, at full strength, or a scale for each.

    A path is of a safetensors file, or of a folder with the one that diffusers writes. As text it may end in its scale:
    "watercolour.safetensors=0.7".

    Args:
        given: As `load` takes it.

    Returns:
        The files, in their order.

    Raises:
        WorkbenchError: A file is not there or no safetensors, or a scale is zero or no number.
    """
    if isinstance(given, Mapping):
        return tuple(_lora(Path(path), float(scale)) for path, scale in given.items())
    several = [given] if isinstance(given, (str, Path)) else given
    return tuple(_lora(*_parted(path)) for path in several)


def _parted(given: Place) -> tuple[Path, float]:
    path, equals, scale = str(given).rpartition("=")
    if equals and not Path(given).expanduser().exists():
        try:
            return Path(path), float(scale)
        except ValueError:
            pass  # then the sign belongs to the path
    return Path(given), 1.0


def _lora(path: Path, scale: float) -> Lora:
    path = path.expanduser()
    path = path / LORA_FILE if (path / LORA_FILE).is_file() else path
    if not path.is_file():
        raise WorkbenchError(
            f"There is no LoRA at {path}.",
            f"Give a .safetensors file, or a folder with {LORA_FILE}.",
        )
    if path.suffix != ".safetensors":
        raise WorkbenchError(
            f"{path} is no safetensors file, and a pickle could run any code when it is read.",
            "Convert it on a machine that you can lose: torch.load with weights_only, then safetensors.",
        )
    if not math.isfinite(scale) or not scale:
        raise WorkbenchError(f"The LoRA {path} has the scale {scale:g}.", "Give another number, or leave it out.")
    return Lora(path, scale)
