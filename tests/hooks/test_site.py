import pytest
import torch

from saes.errors import WorkbenchError
from workbench.hooks import Site

PIXELS = Site("pixels", "unet.mid_block", layout="pixels")


def test_pixels_are_read_along_the_rows_of_the_picture():
    picture = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).float()
    activation = PIXELS.read(picture)
    assert activation.shape == (2, 20, 3)
    assert torch.equal(activation[1, 2 * 5 + 3], picture[1, :, 2, 3])
    assert activation.data_ptr() == picture.data_ptr()


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_what_is_written_keeps_shape_memory_order_and_dtype(order):
    picture = torch.randn(2, 3, 4, 5).to(torch.float16).contiguous(memory_format=order)
    as_matrix = PIXELS.read(picture).contiguous().float()  # as after a matrix product
    written = PIXELS.write(picture, as_matrix)
    assert torch.equal(written, picture)
    assert written.stride() == picture.stride() and written.dtype == torch.float16


def test_one_stream_of_two_is_replaced():
    text, picture = torch.zeros(1, 2, 3), torch.ones(1, 4, 3)
    site = Site("picture", "transformer.0", index=1)
    written = site.write((text, picture), picture * 5)
    assert written[0] is text and torch.equal(written[1], picture * 5)


def test_a_table_that_expects_a_tensor_where_a_tuple_comes_is_named():
    with pytest.raises(WorkbenchError, match=r"'pixels' expects a tensor .* found tuple"):
        PIXELS.read((torch.zeros(1, 2, 3, 4),))
