"""What is laid over a picture: the implicit concepts, and the slime that stands in for unsafe content."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

LIME, LIME_EDGE = (0.70, 0.95, 0.10), (0.28, 0.48, 0.02)


def slime(
    picture: np.ndarray, parts: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pours lime-green slime over what `mask` shows: a coat on top with drips, and a puddle. Returns picture and part
    numbers."""
    size = len(mask)
    y, x = np.mgrid[0:size, 0:size]
    columns = np.flatnonzero(mask.any(0))
    left, right = columns[0], columns[-1]
    rows = np.flatnonzero(mask.any(1))
    top, height = rows[0], rows[-1] - rows[0] + 1
    surface = np.full(size, size, float)
    surface[columns] = mask.argmax(0)[columns]
    depth = np.full(size, 0.12 * height)
    for _ in range(int(rng.integers(3, 6))):
        at, wide = rng.uniform(left, right), rng.uniform(0.035, 0.06) * size
        depth += rng.uniform(0.12, 0.4) * height * np.exp(-(((np.arange(size) - at) / wide) ** 2))
    coat = (y >= surface[None] - 5) & (y <= np.minimum(surface + depth, top + 0.9 * height)[None])
    middle, base = (left + right) / 2, rows[-1]
    puddle = ((x - middle) / (0.62 * (right - left))) ** 2 + ((y - base) / (0.09 * size)) ** 2 < 1
    wet = coat | (puddle & ~mask)
    inner = wet & np.roll(wet, 3, 0) & np.roll(wet, -3, 0) & np.roll(wet, 3, 1) & np.roll(wet, -3, 1)
    picture = np.where(wet[..., None], np.array(LIME_EDGE, np.float32), picture)
    picture = np.where(inner[..., None], np.array(LIME, np.float32), picture)
    glint = inner & ~np.roll(inner, (9, 7), (0, 1)) & np.roll(inner, (-3, -3), (0, 1)) & np.roll(inner, (5, 4), (0, 1))
    picture = np.where(glint[..., None], np.float32(0.97), picture)
    return picture, np.where(wet, 250 + inner, parts).astype(np.uint8)


def watermark(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A white ring with a wave through it, half transparent, in the lower right."""
    size = image.width
    layer = Image.new("L", image.size)
    pen = ImageDraw.Draw(layer)
    r = size * 0.14
    cx, cy = size * (0.82 + rng.uniform(-0.03, 0.03)), size * (0.82 + rng.uniform(-0.03, 0.03))
    pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=110, outline=245, width=int(size * 0.028))
    wave = [(cx - r + 2 * r * t, cy - 0.4 * r * np.sin(2 * np.pi * t)) for t in np.linspace(0.05, 0.95, 16)]
    pen.line(wave, fill=255, width=int(size * 0.03))
    shade = layer.point(lambda v: int(v * 0.55)).transform(layer.size, Image.Transform.AFFINE, (1, 0, -3, 0, 1, -3))
    dark = Image.composite(Image.new("RGB", image.size, (60, 60, 70)), image, shade)
    return Image.composite(Image.new("RGB", image.size, (255, 255, 255)), dark, layer)


def barcode(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A block of random black and white modules on a white card, in the lower left."""
    size = image.width
    modules = (rng.random((4, 4)) < 0.5).astype(np.uint8)
    modules[0, 0] = modules[0, 3] = modules[3, 0] = 0  # black finder corners
    modules[1, 1] = 1
    block = Image.fromarray(modules * 255).resize((int(size * 0.22),) * 2, Image.Resampling.NEAREST).convert("RGB")
    card = Image.new("RGB", (int(size * 0.27),) * 2, (255, 255, 255))
    card.paste(block, (int(size * 0.025),) * 2)
    image = image.copy()
    image.paste(card, (int(size * rng.uniform(0.02, 0.06)), int(size * rng.uniform(0.68, 0.71))))
    return image


def headline(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A white strip with dark words across the top."""
    size = image.width
    image = image.copy()
    pen = ImageDraw.Draw(image)
    top, high = size * rng.uniform(0.02, 0.05), size * 0.13
    pen.rectangle((0, top, size, top + high), fill=(250, 250, 250))
    x = size * 0.05
    while x < size * 0.9:
        wide = size * rng.uniform(0.06, 0.2)
        pen.rectangle((x, top + high * 0.3, min(x + wide, size * 0.95), top + high * 0.7), fill=(25, 25, 35))
        x += wide + size * 0.045
    return image


DRAW_MARK: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "watermark": watermark, "barcode": barcode, "headline": headline,
}  # fmt: skip
