"""A discriminator of patches (PatchGAN; Isola et al. 2017, arXiv:1611.07004) that looks at latents.

With D's logits, one a patch, and label 1 for what is made up:
    (1)  L_D = BCE(D(made up), 1) + BCE(D(real), 0)
    (2)  L_G = BCE(D(made up), 0)                       to be taken for real
Each of the three passes through D has batch statistics of its own.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.models.diffusion.architecture import Latents

WIDTH, HALVINGS, SMALLEST = 64, 4, 3  # channels of the first layer; layers at most; the side that is not halved again
Logits = Float[Tensor, "rows 1 patches_down patches_across"]


class Discriminator(nn.Module):
    """Convolutions 4 × 4 that halve the side and double the channels, then one that gives a logit for each patch.

    As DoCo has it, four of them for latents 64 wide, which leave 3 × 3 logits; for narrower ones fewer, so that a side
    of 3 or more is left. It knows neither prompt nor timestep.

    Args:
        channels: Of the latents.
        side: Of the latents, 6 or more.
        seed: Draws its weights.
    """

    def __init__(self, channels: int, side: int, seed: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels
        with torch.random.fork_rng():  # layers draw from torch's own generator
            torch.manual_seed(seed)
            for number in range(halvings(side)):
                wider = WIDTH * 2**number
                layers.append(nn.Conv2d(width, wider, 4, stride=2, padding=1))
                if number:
                    layers.append(nn.BatchNorm2d(wider, track_running_stats=False))
                layers.append(nn.LeakyReLU(0.2))
                width = wider
            layers.append(nn.Conv2d(width, 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Latents) -> Logits:
        """Above 0: made up, more likely than not.

        Args:
            latents: At least one row.

        Returns:
            A logit for each patch.
        """
        return self.layers(latents)


def halvings(side: int) -> int:
    """How often a side is halved.

    Args:
        side: Of latents, 6 or more.

    Returns:
        1 to 4.
    """
    return max(number for number in range(1, HALVINGS + 1) if number == 1 or side >> number >= SMALLEST)


def discriminating(made_up: Logits, real: Logits) -> Float[Tensor, ""]:
    """(1): what a discriminator learns by.

    Args:
        made_up: Its logits for what is made up.
        real: For what is real.

    Returns:
        2 ln 2 for a discriminator that knows nothing.
    """
    return labelled(made_up, 1.0) + labelled(real, 0.0)  # (1)


def fooling(made_up: Logits) -> Float[Tensor, ""]:
    """(2): what is made up is taken for real.

    Args:
        made_up: The discriminator's logits for it.

    Returns:
        ln 2 for a discriminator that knows nothing.
    """
    return labelled(made_up, 0.0)  # (2)


def labelled(logits: Logits, label: float) -> Float[Tensor, ""]:
    """Binary cross-entropy, the mean over patches.

    Args:
        logits: Of the label 1.
        label: 0 or 1, the same for all.

    Returns:
        A scalar.
    """
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
