"""One handle over diffusers pipelines of Stable Diffusion 1, 2, XL, 3 and Flux."""

from workbench.models.encoding import Encoding, TokenRow
from workbench.models.loading import load
from workbench.models.model import Model

__all__ = ["Encoding", "Model", "TokenRow", "load"]
