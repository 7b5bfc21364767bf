"""The judge of the embedded world: which of its concepts a picture shows, trained on renders whose content is known.

Every concept has a sigmoid of its own, so *none of these* is the answer wherever all stay low; shapes that the world
has no word for, blends, decoded noise and broken pictures were trained to get it. `intact` tells a whole picture from
a broken one.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from saes.disk import read_json, read_tensors
from saes.errors import WorkbenchError
from workbench.evaluation.judges import Scores
from workbench.toy.world import ARTISTS, CHARACTERS, COLOURS, IMPLICIT, SLIME, THINGS

LOCAL = (*THINGS, "person")  # found somewhere in the picture; each with a colour of its own (a person's is the shirt's)
ATTRIBUTES = ("woman", "man", "senior", "glasses", "hat", "beard")
GLOBAL = (*ARTISTS, *CHARACTERS, *IMPLICIT, SLIME, *ATTRIBUTES, "intact")
KINDS = (
    dict.fromkeys(THINGS, "object") | dict.fromkeys(ARTISTS, "style") | dict.fromkeys(CHARACTERS, "character")
    | dict.fromkeys(IMPLICIT, "implicit") | {SLIME: "unsafe"}
)  # fmt: skip


class Logits(NamedTuple):
    local: Float[Tensor, "n things"]
    colours: Float[Tensor, "n things colours"]
    overall: Float[Tensor, "n factors"]
    features: Float[Tensor, "n d"]


class Residual(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(d), nn.SiLU(), nn.Conv2d(d, d, 3, padding=1),
            nn.BatchNorm2d(d), nn.SiLU(), nn.Conv2d(d, d, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Adds what its two convolutions make of the map.

        Args:
            x: `[n, d, h, w]`.

        Returns:
            Of the same shape.
        """
        return x + self.layers(x)


class OracleNet(nn.Module):
    """0.9 M parameters. Objects and their colours are read off a 6×6 map, everything else off its pooled features."""

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 128)):
        super().__init__()
        layers: list[nn.Module] = []
        for d_in, d in zip((3, *widths), widths, strict=False):
            layers += [nn.Conv2d(d_in, d, 4, stride=2, padding=1), Residual(d)]
        self.trunk = nn.Sequential(*layers, Residual(widths[-1]), nn.BatchNorm2d(widths[-1]), nn.SiLU())
        self.local = nn.Conv2d(widths[-1], len(LOCAL), 1)
        self.colours = nn.Conv2d(widths[-1], len(COLOURS), 1)
        self.overall = nn.Sequential(nn.Linear(2 * widths[-1], 128), nn.SiLU(), nn.Linear(128, len(GLOBAL)))

    def forward(self, pixels: Float[Tensor, "n 3 h w"]) -> Logits:
        """Reads pictures. An object's logit is a soft maximum over places; its colour is read where it is.

        Args:
            pixels: `[n, 3, h, w]` in [−1, 1].

        Returns:
            Logits of objects, their colours and everything else, and pooled features.
        """
        x = self.trunk(pixels)
        places = self.local(x).flatten(2)
        colours = torch.einsum("nip,ncp->nic", places.softmax(-1), self.colours(x).flatten(2))
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)
        return Logits(places.logsumexp(-1) - 2.0, colours, self.overall(pooled), pooled)


class Judged(NamedTuple):
    """What the oracle says of n pictures. Probabilities are calibrated."""

    present: Float[np.ndarray, "n concepts"]  # in the order of `KINDS`
    intact: Float[np.ndarray, "n"]
    features: Float[np.ndarray, "n d"]
    colour: Float[np.ndarray, "n things colours"]  # given that the thing (or person) is there
    attributes: Float[np.ndarray, "n attributes"]  # in the order of `ATTRIBUTES`


class Oracle:
    """A judge for `workbench.evaluate`; deterministic, on the CPU or wherever `net` is."""

    name = "toy-oracle"
    concepts = KINDS
    validated = "on renders of the toy's world and on its model's pictures (workbench/toy/weights/CARD.md)"

    def __init__(self, net: OracleNet, temperature: Float[Tensor, "factors"], threshold: float, version: str):
        self.net, self.temperature, self.threshold, self.version = net.eval(), temperature, threshold, version

    @classmethod
    def load(cls, folder: Path | str = "") -> "Oracle":
        """Opens an oracle.

        Args:
            folder: One that `workbench toy train` left; the shipped one if left out.

        Returns:
            The oracle, on the CPU.

        Raises:
            WorkbenchError: There is none, or it is damaged.
        """
        folder = Path(folder) if folder else Path(__file__).parent / "weights" / "oracle"
        if not (folder / "oracle.json").exists():
            raise WorkbenchError(
                f"There is no oracle in {folder}.", "Reinstall the package, or run `workbench toy train`."
            )
        facts = read_json(folder / "oracle.json", ["threshold", "version"])
        tensors = read_tensors(folder / "oracle.safetensors")
        net = OracleNet()
        net.load_state_dict({k.removeprefix("net."): v.float() for k, v in tensors.items() if k.startswith("net.")})
        return cls(net, tensors["temperature"].float(), facts["threshold"], facts["version"])

    @cached_property
    def columns(self) -> list[int]:
        """Where each concept of `KINDS` lies among local and overall logits side by side."""
        names = [*LOCAL, *GLOBAL]
        return [names.index(concept) for concept in KINDS]

    @property
    def thresholds(self) -> dict[str, float]:
        """One for all concepts: the probabilities are calibrated."""
        return dict.fromkeys(KINDS, self.threshold)

    def score(self, images: UInt8[np.ndarray, "n h w 3"], prompts: Sequence[str] = ()) -> Scores:
        """The part of it that evaluations need. The prompts do not matter.

        Args:
            images: uint8 `[n, h, w, 3]`.
            prompts: Not read.

        Returns:
            Calibrated probabilities of `KINDS`, whether each picture is whole, and features of unit length.
        """
        judged = self.judge(images)
        return Scores(judged.present, judged.intact >= 0.5, judged.features)

    @torch.no_grad()
    def judge(self, images: UInt8[np.ndarray, "n h w 3"], batch_size: int = 64) -> Judged:
        """Everything the oracle can tell.

        Args:
            images: uint8 `[n, h, w, 3]`, at least one.
            batch_size: Pictures at once.

        Returns:
            Calibrated probabilities in [0, 1], and features of unit length.
        """
        parts = [self._judge(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
        return Judged(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _judge(self, images: np.ndarray) -> Judged:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        logits = self.net(pixels)
        probability = (torch.cat([logits.local, logits.overall], dim=1) / self.temperature).sigmoid().numpy()
        attributes = [len(LOCAL) + GLOBAL.index(a) for a in ATTRIBUTES]
        return Judged(
            present=probability[:, self.columns],
            intact=probability[:, len(LOCAL) + GLOBAL.index("intact")],
            features=F.normalize(logits.features, dim=1).numpy(),
            colour=logits.colours.softmax(-1).numpy(),
            attributes=probability[:, attributes],
        )
