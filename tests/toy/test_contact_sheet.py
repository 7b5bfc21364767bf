"""The sheet of a toy's report holds every group, however few pictures some have."""

import numpy as np
from PIL import Image

from workbench.toy.report import contact_sheet


def test_groups_of_different_sizes_share_a_sheet(tmp_path):
    images = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    contact_sheet(images, ["a", "b", "a", "b", "a", "b", "a"], tmp_path / "sheet.png", columns=16)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (8, 12, 3)
    assert sheet[0, ::4, 0].tolist() == [0, 2, 4] and sheet[4, ::4, 0].tolist() == [1, 3, 5]
