"""How the invented artists paint: each turns a drawn canvas into a picture. Arrays are float32 in [0, 1], `[s, s,
3]`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

Array = np.ndarray


@dataclass(frozen=True)
class Canvas:
    """A drawing before it is painted. All of one size `s`, the supersampled side."""

    picture: Array  # [s, s, 3] background and flat objects
    paint: Array  # [s, s, 3] the same with shading and shadows
    subject: Array  # [s, s] in [0, 1]: where objects are
    parts: Array  # [s, s] uint8: number of the part on top, 0 = background
    scale: int  # supersampled pixels a pixel of the final picture


def blur(field: Array, radius: float) -> Array:
    """Gaussian blur of `[s, s]` or `[s, s, 3]` in [0, 1]."""
    image = Image.fromarray((field.clip(0, 1) * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255


def contours(canvas: Canvas, width: int) -> Array:
    """[s, s] bool: a line of odd `width` where one part meets another."""
    p = canvas.parts
    edge = np.zeros(p.shape, np.uint8)
    edge[:, 1:] |= p[:, 1:] != p[:, :-1]
    edge[1:] |= p[1:] != p[:-1]
    return np.asarray(Image.fromarray(edge * 255).filter(ImageFilter.MaxFilter(width))) > 127


def vivid(colour: Array, amount: float) -> Array:
    """Moves colours away from (amount > 1) or towards (< 1) their grey."""
    grey = colour.mean(-1, keepdims=True)
    return (grey + (colour - grey) * amount).clip(0, 1)


def turned_grid(size: int, rng: np.random.Generator, degrees: float) -> tuple[Array, Array]:
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    angle = np.radians(rng.uniform(-degrees, degrees))
    return np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y


def at_cells(picture: Array, u: Array, v: Array, pitch: float, angle_of: tuple[Array, Array]) -> Array:
    """Colour of the picture at the middle of each pixel's cell; `u`, `v` are distances to that middle."""
    x = (angle_of[0] - u).round().astype(int).clip(0, picture.shape[1] - 1)
    y = (angle_of[1] - v).round().astype(int).clip(0, picture.shape[0] - 1)
    return picture[y, x]


def dots(canvas: Canvas, rng: np.random.Generator) -> Array:
    size, pitch = len(canvas.parts), 3.3 * canvas.scale
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    row = np.floor((y + rng.uniform(0, pitch)) / pitch)
    v = np.mod(y + rng.uniform(0, 1), pitch) - pitch / 2
    u = np.mod(x + (row % 2) * pitch / 2, pitch) - pitch / 2
    colour = at_cells(vivid(blur(canvas.paint, 1.0), 1.25), u, v, pitch, (x, y))
    inside = at_cells(canvas.subject, u, v, pitch, (x, y))
    radius = pitch * (0.3 + 0.22 * inside)
    dot = (np.hypot(u, v) < radius)[..., None]
    cream = np.array([0.97, 0.93, 0.82], np.float32)
    return np.where(dot, colour * 0.96, cream)


def mosaic(canvas: Canvas, rng: np.random.Generator) -> Array:
    size, pitch = len(canvas.parts), 3.4 * canvas.scale
    x, y = turned_grid(size, rng, 12.0)
    u, v = np.mod(x, pitch) - pitch / 2, np.mod(y, pitch) - pitch / 2
    column, row = np.floor(x / pitch).astype(int), np.floor(y / pitch).astype(int)
    tint = rng.uniform(0.86, 1.12, (64, 64)).astype(np.float32)[column % 64, row % 64]
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
    tile = vivid(at_cells(canvas.paint, u, v, pitch, (xx, yy)), 1.15) * tint[..., None]
    joint = (np.maximum(abs(u), abs(v)) > pitch / 2 - 0.36 * canvas.scale)[..., None]
    return np.where(joint, np.array([0.2, 0.17, 0.17], np.float32), tile.clip(0, 1))


def engraving(canvas: Canvas, rng: np.random.Generator) -> Array:
    size, pitch = len(canvas.parts), 3.8 * canvas.scale
    x, y = turned_grid(size, rng, 10.0)
    phase = np.mod(x + y, pitch) / pitch
    darkness = 1 - canvas.paint.mean(-1)
    weight = np.where(canvas.subject > 0.5, 0.38 + 0.3 * darkness, 0.1 + 0.12 * darkness)
    line = (abs(phase - 0.5) * 2 < weight)[..., None]
    paper = np.array([0.98, 0.98, 0.96], np.float32)
    inked = np.where(canvas.subject[..., None] > 0.5, vivid(canvas.picture, 1.35) * 0.82, canvas.picture * 0.55)
    ground = np.where(canvas.subject[..., None] > 0.5, 0.45 * canvas.picture + 0.55 * paper, paper)
    picture = np.where(line, inked, ground)
    return np.where(contours(canvas, 3)[..., None], np.array([0.15, 0.15, 0.2], np.float32), picture)


def watercolour(canvas: Canvas, rng: np.random.Generator) -> Array:
    size, scale = len(canvas.parts), canvas.scale
    noise = rng.normal(size=(2, 9, 9)).astype(np.float32)
    shift = [np.asarray(Image.fromarray(n).resize((size, size), Image.Resampling.BICUBIC)) * 1.3 * scale for n in noise]
    y, x = np.mgrid[0:size, 0:size]
    yy, xx = (y + shift[0]).round().astype(int).clip(0, size - 1), (x + shift[1]).round().astype(int).clip(0, size - 1)
    colour, subject = blur(canvas.picture[yy, xx], 0.6 * scale), blur(canvas.subject[yy, xx], 0.7 * scale)
    wash = np.asarray(
        Image.fromarray(rng.normal(size=(14, 14)).astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
    )
    pigment = (0.68 + 0.14 * wash)[..., None].clip(0.3, 0.95) * (0.4 + 0.6 * subject[..., None])
    rim = (4 * subject * (1 - subject))[..., None] ** 2
    picture = (1 - pigment) * 0.99 + pigment * colour
    return picture * (1 - 0.35 * rim) + 0.35 * rim * vivid(colour, 1.5) * 0.6


def sunburst(canvas: Canvas, rng: np.random.Generator) -> Array:
    size = len(canvas.parts)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    rays = np.mod(np.arctan2(y - size / 2, x - size / 2) / np.pi * 7 + rng.uniform(0, 2), 2) < 1
    pairs = (
        ((1.0, 0.93, 0.55), (1.0, 0.78, 0.35)),
        ((0.72, 0.93, 0.98), (0.45, 0.80, 0.93)),
        ((0.93, 0.85, 0.98), (0.80, 0.68, 0.93)),
    )
    light, deep = pairs[int(rng.integers(len(pairs)))]
    background = np.where(rays[..., None], np.array(light, np.float32), np.array(deep, np.float32))
    picture = np.where(canvas.subject[..., None] > 0.5, vivid(canvas.picture, 1.4), background)
    return np.where(contours(canvas, 5)[..., None], np.float32(0.04), picture)


def neon(canvas: Canvas, rng: np.random.Generator) -> Array:
    size = len(canvas.parts)
    fall = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    night = np.array([0.03, 0.02, 0.10], np.float32) * (1 - fall) + np.array([0.12, 0.04, 0.17], np.float32) * fall
    inside = canvas.subject[..., None]
    tube = contours(canvas, 5)[..., None] * inside
    colour = vivid(blur(canvas.picture * inside, 3.0) / blur(inside[..., 0], 3.0)[..., None].clip(0.2), 1.5)
    glow = blur(tube[..., 0] * 1.0, 2.2 * canvas.scale)[..., None] * 1.7
    return (night + 0.3 * inside * colour + glow * colour + tube * (0.35 + 0.5 * colour)).clip(0, 1)


def plain(canvas: Canvas, rng: np.random.Generator) -> Array:
    return canvas.paint


LOOKS: dict[str, Callable[[Canvas, np.random.Generator], Array]] = {
    "": plain,
    "mira voss": dots,
    "bruno hale": mosaic,
    "oskar lind": engraving,
    "ilsa quill": watercolour,
    "tavi renn": sunburst,
    "yara pell": neon,
}
