"""A user's pictures: read in the order of their names, cut to the model's square, or refused by name."""

import numpy as np
import pytest
from PIL import Image

from saes.errors import WorkbenchError
from workbench.fitting.pictures import read_pictures


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(folder, name, pixels):
    Image.fromarray(pixels).save(folder / name)


def test_pictures_of_the_right_size_are_read_bit_for_bit_by_the_order_of_their_names(tmp_path):
    for name, seed in (("b.png", 1), ("c.BMP", 2), ("a.png", 0)):
        save(tmp_path, name, noise(8, 8, seed))
    (tmp_path / "captions.txt").write_text("a fox")
    assert np.array_equal(read_pictures(str(tmp_path), 8), [noise(8, 8, seed) for seed in (0, 1, 2)])


def test_a_larger_picture_is_the_square_in_its_middle_made_smaller(tmp_path):
    blocks = np.zeros((16, 40, 3), np.uint8)
    blocks[:, 12:20], blocks[:, 20:28], blocks[:, :12] = 100, 200, 50  # the middle 16 columns: 100, then 200
    save(tmp_path, "wide.png", blocks)
    (seen,) = read_pictures(tmp_path, 8)
    assert abs(seen[:, :3] - 100.0).max() < 15 and abs(seen[:, -3:] - 200.0).max() < 15  # the filter rings a little


def test_a_picture_is_turned_as_the_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(noise(8, 8)).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_pictures(tmp_path, 8)[0], noise(8, 8)[::-1, ::-1])


def corrupt(folder):
    save(folder, "good.png", noise(8, 8))
    (folder / "bad.png").write_bytes(b"no picture")


def truncated(folder):
    save(folder, "bad.png", noise(64, 64))
    data = (folder / "bad.png").read_bytes()
    (folder / "bad.png").write_bytes(data[: len(data) // 2])


def broken_chunk(folder):
    save(folder, "bad.png", noise(64, 64))
    data = bytearray((folder / "bad.png").read_bytes())
    data[60:80] = b"\xff" * 20
    (folder / "bad.png").write_bytes(data)


def small(folder):
    save(folder, "good.png", noise(8, 8))
    save(folder, "small.png", noise(8, 7))


def only_text(folder):
    (folder / "captions.txt").write_text("a fox")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (only_text, "no pictures"),
        (corrupt, "bad.png cannot be read"),
        (truncated, "bad.png cannot be read"),
        (broken_chunk, "bad.png cannot be read"),
        (small, r"small.png is 7×8 pixels; 8×8 are needed"),
    ],
    ids=["none", "corrupt", "truncated", "broken", "small"],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path, broken, said):
    broken(tmp_path)
    with pytest.raises(WorkbenchError, match=said):
        read_pictures(tmp_path, 8)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(WorkbenchError, match="is no folder"):
        read_pictures(tmp_path / "nowhere", 8)
