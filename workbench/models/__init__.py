"""Text-to-image models under one handle: pipelines of Stable Diffusion 1, 2, XL, 3 and Flux, and Janus."""

from workbench.models.diffusion.begun import Begun
from workbench.models.diffusion.model import Diffusion
from workbench.models.encoding import Encoding, TokenRow
from workbench.models.janus.continued import Continued
from workbench.models.janus.model import Janus
from workbench.models.loading import load
from workbench.models.model import Model
from workbench.models.prompts import TokenEmbeddings, TokenIds
from workbench.models.quiet import silence_torchvision

__all__ = [
    "Begun",
    "Continued",
    "Diffusion",
    "Encoding",
    "Janus",
    "Model",
    "TokenEmbeddings",
    "TokenIds",
    "TokenRow",
    "load",
]

silence_torchvision()
