"""Pixels become grey levels, and what is no number becomes an error."""

import warnings

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from workbench.hooks import SiteEdit
from workbench.models.images import to_uint8


def test_values_between_0_and_1_are_rounded_to_grey_levels():
    pixels = np.array([0, 0.5 / 255 + 1e-4, 0.5, 1], np.float32).reshape(1, 2, 2, 1).repeat(3, axis=3)
    assert to_uint8(pixels, torch.float32)[0, :, :, 0].tolist() == [[0, 1], [128, 255]]


@pytest.mark.parametrize(("dtype", "remedy"), [(torch.float16, "in float32"), (torch.float32, "Weaken")])
def test_one_pixel_that_is_no_number_is_told_with_what_helps(dtype, remedy):
    pixels = np.zeros((3, 2, 2, 3), np.float32)
    pixels[1, 0, 1, 2] = np.nan
    with warnings.catch_warnings(), pytest.raises(WorkbenchError, match=f"1 of 3 pictures are not .*{remedy}"):
        warnings.simplefilter("error")
        to_uint8(pixels, dtype)


def test_no_picture_of_nan_leaves_the_model_as_a_black_one(tiny_sd1):
    black = np.zeros((1, 32, 32, 3), np.uint8)
    assert tiny_sd1.images(tiny_sd1.latents(black)).shape == black.shape, "a black picture is one"
    with pytest.raises(WorkbenchError, match="1 of 1 pictures"):
        tiny_sd1.images(torch.full((1, 4, 16, 16), torch.nan))
    edit = SiteEdit(tiny_sd1.site("unet.mid"), lambda activation, clock: activation / 0)
    with tiny_sd1.session(edits=[edit]), pytest.raises(WorkbenchError, match="2 of 2 pictures"):
        tiny_sd1.generate("a fox", [0, 1], steps=1)
