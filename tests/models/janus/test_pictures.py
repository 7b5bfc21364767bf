"""Tokens become pictures and pictures tokens, as transformers' own decoder and encoder have them."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_janus import CELLS, CODES, PIXELS


def test_pictures_are_decoded_clamped_and_rounded(tiny_janus):
    codes = torch.randint(CODES, (9, CELLS), generator=torch.Generator().manual_seed(0))
    raw = tiny_janus.pipe.whole.decode_image_tokens(codes).detach().numpy()
    assert raw.max() > 1.01 and raw.min() < -1.01, "there is something to clamp"
    expected = (np.clip((raw + 1) / 2, 0, 1) * 255).round()
    images = tiny_janus.pictures(codes)
    assert images.dtype == np.uint8 and images.shape == (9, PIXELS, PIXELS, 3)
    assert np.abs(images - expected).max() <= 1  # more than go through at once: other last bits


def test_pictures_become_the_tokens_of_the_nearest_codes(tiny_janus):
    images = np.random.default_rng(0).integers(0, 256, (9, PIXELS, PIXELS, 3), np.uint8)
    codes, vq = tiny_janus.codes(images), tiny_janus.pipe.vqmodel
    with torch.no_grad():
        latents = vq.quant_conv(vq.encoder(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1))
    nearest = torch.cdist(latents.flatten(2).mT, vq.quantize.embedding.weight[None]).argmin(dim=-1)
    assert torch.equal(codes, nearest) and codes.dtype == torch.int64 and codes.shape == (9, CELLS)


def test_what_is_no_picture_is_refused(tiny_janus):
    with pytest.raises(WorkbenchError, match="A picture has 16 tokens; 15 were given"):
        tiny_janus.pictures(torch.zeros(1, CELLS - 1, dtype=torch.int64))
    with pytest.raises(WorkbenchError, match="has the codes 0 to 63"):
        tiny_janus.pictures(torch.full((1, CELLS), CODES))
    with pytest.raises(WorkbenchError, match="16 × 8 pixels were given, and the model knows 8 × 8"):
        tiny_janus.codes(np.zeros((1, 8, 16, 3), np.uint8))
