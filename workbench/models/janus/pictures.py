"""Pictures as tokens of the codebook, and back."""

import numpy as np
import torch

from saes.errors import WorkbenchError
from workbench.models.images import Images, to_uint8
from workbench.models.janus.lines import Codes
from workbench.models.janus.parts import Parts

AT_ONCE = 8  # pictures that go through the autoencoder together


@torch.no_grad()
def encoded(parts: Parts, images: Images) -> Codes:
    """The code of each cell of each image. Raises `WorkbenchError` for images of another size than the model's."""
    check_size(parts, images)
    return torch.cat([_encoded(parts, images[at : at + AT_ONCE]) for at in range(0, len(images), AT_ONCE)])


@torch.no_grad()
def decoded(parts: Parts, codes: Codes) -> Images:
    """The image of each row of codes. Raises `WorkbenchError` for another number of them, and for what is no code."""
    known = parts.vqmodel.config.num_embeddings
    if codes.shape[1] != parts.cells:
        raise WorkbenchError(f"A picture has {parts.cells} tokens; {codes.shape[1]} were given.", "Give all of them.")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < known:
        raise WorkbenchError(f"The codebook has the codes 0 to {known - 1}.", "Choose among these.")
    return np.concatenate([_decoded(parts, some) for some in codes.split(AT_ONCE)])


def check_size(parts: Parts, images: Images) -> None:
    """Raises `WorkbenchError` for no images, and images of another size than the model's."""
    side = parts.image_size
    if not len(images):
        raise WorkbenchError("There are no images.", "Give at least one.")
    if images.shape[1:3] != (side, side):
        raise WorkbenchError(
            f"Images of {images.shape[2]} × {images.shape[1]} pixels were given, and the model knows {side} × {side}.",
            "Resize them first.",
        )


def _encoded(parts: Parts, images: Images) -> Codes:
    vq = parts.vqmodel
    pixels = torch.from_numpy(images).to(vq.device, vq.dtype).permute(0, 3, 1, 2) / 127.5 - 1
    return vq.encode(pixels).image_tokens.reshape(len(images), -1)


def _decoded(parts: Parts, codes: Codes) -> Images:
    pixels = parts.whole.decode_image_tokens(codes.to(parts.vqmodel.device))  # channels last, about −1 … 1
    return to_uint8(((pixels + 1) / 2).clamp(0, 1).float().cpu().numpy(), parts.vqmodel.dtype)
