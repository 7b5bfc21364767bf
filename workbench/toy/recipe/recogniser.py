"""A classifier that the denoiser and the image encoder are aligned with, so that the judge is not: another
architecture (transformers' ResNet), other renders, and no part in any figure."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ResNetConfig, ResNetModel

from saes.progress import SILENT, Progress
from workbench.toy.oracle import GLOBAL, LOCAL
from workbench.toy.recipe import judging
from workbench.toy.recipe.autoencoder import pixels
from workbench.toy.recipe.loop import Schedule, averaged, fit

BATCH = 64
FIRST_SEED = 300  # of its renders; the judge learns from chunks 0 to 47 and is tested on 900 and more
WIDTHS = (64, 128)


class Recogniser(nn.Module):
    """Pixels in [−1, 1] to a logit for each thing and factor, read off the mean of a map of `WIDTHS[-1]` channels."""

    def __init__(self) -> None:
        super().__init__()
        config = ResNetConfig(embedding_size=32, hidden_sizes=list(WIDTHS), depths=[2, 2], layer_type="basic")
        self.trunk = ResNetModel(config)
        self.head = nn.Linear(2 * WIDTHS[-1], len(LOCAL) + len(GLOBAL))

    def seen(self, pixels: Tensor) -> Tensor:
        """`[n, 128, 6, 6]`."""
        return self.trunk(pixels).last_hidden_state

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.seen(pixels)
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))


def train(folder: Path, schedule: Schedule, n: int, progress: Progress = SILENT) -> Recogniser:
    """Learns what n fresh renders show."""
    data = judging.labelled(n, FIRST_SEED, progress=progress)
    truth = torch.cat([data.local, data.overall], dim=1).float()

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(n, (BATCH,), generator=generator)
        logits = module(pixels(data.images[index].numpy()))
        return {"factors": 8 * F.binary_cross_entropy_with_logits(logits.float(), truth[index])}

    torch.manual_seed(0)
    return fit(Recogniser(), loss, folder, schedule, progress)  # type: ignore[return-value]


def trained(folder: Path) -> Recogniser:
    """What `train` left in the folder, its weights frozen."""
    net = Recogniser()
    net.load_state_dict(averaged(folder))
    return net.eval().requires_grad_(False)


@torch.no_grad()
def seen(net: Recogniser, images: np.ndarray) -> Tensor:
    """Its last map of features, `[n, 128, 6, 6]`, centred over the batch."""
    features = net.seen(pixels(images))
    return features - features.mean((0, 2, 3), keepdim=True)


def maps(net: Recogniser, pixels: Tensor) -> list[Tensor]:
    """All its maps of features, `[n, 32, 12, 12]` to `[n, 128, 6, 6]`, of pixels in [−1, 1]."""
    return list(net.trunk(pixels, output_hidden_states=True).hidden_states)
