"""What is put into pictures to make an implicit-concept set: a watermark, a QR code, a line of text.

Each is drawn somewhere inside the picture, at a size that suits it. The paper (Geom-Erasing, Liu et al. 2024,
arXiv:2310.05873) names the three and not how they look: that is our choice.
"""

import io
from collections.abc import Callable
from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from saes.errors import WorkbenchError, unknown_name
from workbench.detectors.detector import needed

LEAST = 96  # pixels of the shorter side, in which letters and codes can still be read
WORDS = ("stock", "image", "sample", "preview", "agency", "archive", "studio", "gallery", "market", "season", "harvest")
WHITE, DARK = (255, 255, 255), (20, 20, 25)
COLOURS = (WHITE, DARK, (250, 210, 40), (200, 30, 40), (30, 60, 170))
Stamp = Callable[[Image.Image, np.random.Generator], Image.Image]


def watermark(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A word within a ring, white and half transparent.

    Args:
        image: In colours.
        rng: Draws word, size, place and transparency.

    Returns:
        A picture of the same size.
    """
    side = int(min(image.size) * rng.uniform(0.25, 0.4))
    left, top = _place(image, (side, side), rng)
    layer = Image.new("L", image.size)
    pen, shade, width = ImageDraw.Draw(layer), int(255 * rng.uniform(0.45, 0.7)), max(2, side // 20)
    pen.ellipse((left, top, left + side - 1, top + side - 1), outline=shade, width=width)
    word, font = str(rng.choice(WORDS)), _font(side * 0.22)
    pen.text((left + side / 2, top + side / 2), word, fill=shade, font=font, anchor="mm")
    return Image.composite(Image.new("RGB", image.size, WHITE), image, layer)


def code(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A QR code of random letters with its white border.

    Args:
        image: In colours.
        rng: Draws letters, size and place.

    Returns:
        A picture of the same size.

    Raises:
        WorkbenchError: segno is not installed.
    """
    segno, buffer = needed("segno", "code", "A set with QR codes"), io.BytesIO()
    text = "".join(rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 12))
    drawn = segno.make(text, error="m", micro=False)
    modules = drawn.symbol_size(border=2)[0]
    scale = max(2, int(min(image.size) * rng.uniform(0.25, 0.4)) // modules)
    drawn.save(buffer, kind="png", scale=scale, border=2)
    card = Image.open(buffer).convert("RGB")
    image = image.copy()
    image.paste(card, _place(image, card.size, rng))
    return image


def text(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A line of two or three words, light with a dark edge or dark with a light one.

    Args:
        image: In colours.
        rng: Draws words, colours, size and place.

    Returns:
        A picture of the same size.
    """
    line = " ".join(rng.choice(WORDS, int(rng.integers(2, 4)), replace=False))
    size = min(image.size) * rng.uniform(0.07, 0.11)
    fill = COLOURS[int(rng.integers(len(COLOURS)))]
    edge = DARK if sum(fill) > sum(WHITE) / 2 else WHITE
    stroke = max(1, int(size / 12))
    while True:
        font = _font(size)
        box = font.getbbox(line, stroke_width=stroke)
        across, down = ceil(box[2] - box[0]), ceil(box[3] - box[1])
        if across < image.width:
            break
        size *= 0.8
    left, top = _place(image, (across, down), rng)
    image = image.copy()
    ImageDraw.Draw(image).text(
        (left - box[0], top - box[1]), line, fill=fill, font=font, stroke_width=stroke, stroke_fill=edge
    )
    return image


STAMPS: dict[str, Stamp] = {"watermark": watermark, "code": code, "text": text}


def find_stamp(name: str) -> Stamp:
    """The stamp of that name.

    Args:
        name: A name of `STAMPS`.

    Returns:
        It.

    Raises:
        WorkbenchError: There is none; the nearest is told.
    """
    if name not in STAMPS:
        raise unknown_name("concept to put into pictures", name, STAMPS)
    return STAMPS[name]


def stamped(
    image: Image.Image, stamp: Stamp, rng: np.random.Generator
) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """A picture with a stamp, and where that is.

    Args:
        image: In colours, at least `LEAST` pixels on each side.
        stamp: What is drawn.
        rng: Draws how.

    Returns:
        The picture, and the box around all pixels that changed.

    Raises:
        WorkbenchError: The picture is too small.
    """
    if min(image.size) < LEAST:
        shown = "×".join(map(str, image.size))
        raise WorkbenchError(f"A picture of {shown} pixels is too small.", f"Give pictures of {LEAST} or more.")
    made = stamp(image, rng)
    there = (np.asarray(made) != np.asarray(image)).any(-1)
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    return made, (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))


def _font(size: float) -> ImageFont.FreeTypeFont:
    """The one that comes with Pillow, the same on every machine."""
    font = ImageFont.load_default(max(size, 8))
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built with FreeType"
    return font


def _place(image: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Where something of this size lies wholly inside."""
    room = (image.width - size[0], image.height - size[1])
    return int(rng.integers(max(room[0], 0) + 1)), int(rng.integers(max(room[1], 0) + 1))
