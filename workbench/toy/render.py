"""Scene → picture. Deterministic: equal scenes give equal pixels. About 3 ms a picture on one core."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from workbench.toy.marks import DRAW_MARK, slime
from workbench.toy.people import portrait
from workbench.toy.scenes import Scene
from workbench.toy.shapes import DRAWINGS, Part, unknown
from workbench.toy.styles import LOOKS, Canvas, blur
from workbench.toy.world import COLOURS, HAIR_COLOURS, IMAGE_SIZE, SKINS, Person

SCALE = 3  # supersampling: drawn at three times the side, then averaged
SIDE = IMAGE_SIZE * SCALE

FIXED = {
    "ink": (0.10, 0.09, 0.12), "white": (0.98, 0.98, 0.98), "wood": (0.45, 0.29, 0.18), "leaf": (0.25, 0.52, 0.20),
    "glass": (0.72, 0.90, 0.97), "steel": (0.80, 0.82, 0.85), "cream": (0.95, 0.90, 0.78), "water": (0.55, 0.80, 0.95),
    "lips": (0.75, 0.25, 0.28), "hat": (0.20, 0.25, 0.42), "hat_band": (0.85, 0.85, 0.88), "straw": (0.90, 0.76, 0.45),
}  # fmt: skip


class Picture(NamedTuple):
    image: np.ndarray  # [48, 48, 3] uint8
    masks: tuple[np.ndarray, ...]  # one [48, 48] bool a object or person, in the scene's order


def tones(colour: str, person: Person | None = None) -> dict[str, tuple[float, ...]]:
    """RGB of each tone for something of this colour; people bring skin and hair."""
    base = np.array(COLOURS[colour])
    made = {"body": base, "dark": base * 0.62, "light": base * 0.45 + 0.55}
    if person is not None:
        skin, hair = np.array(SKINS[person.skin]), np.array(HAIR_COLOURS[person.hair_colour])
        made |= {"skin": skin, "skin_dark": skin * 0.8, "hair": hair, "brow": hair * 0.7}
    return {**FIXED, **{name: tuple(float(c) for c in rgb) for name, rgb in made.items()}}


def posed(
    parts: list[Part], centre: tuple[float, float], half: float, rng: np.random.Generator, calm: bool
) -> list[Part]:
    """Places a drawing on the canvas with a random turn, lean, bend and, unless calm, flip. `half`: half its side in
    pixels."""
    turn = np.radians(rng.normal(0, 3 if calm else 7))
    lean, bend, phase = rng.normal(0, 0.06), rng.normal(0, 0.04), rng.uniform(0, 2 * np.pi)
    stretch = np.array([rng.uniform(0.9, 1.1), rng.uniform(0.92, 1.08)])
    flip = -1 if not calm and rng.random() < 0.5 else 1
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])

    def place(p: np.ndarray) -> np.ndarray:
        p = p * stretch * (flip, 1)
        p = p + np.stack(
            [lean * p[:, 1] + bend * np.sin(2.5 * p[:, 1] + phase), bend * np.sin(2.5 * p[:, 0] + phase)], 1
        )
        return p @ rotation.T * half + centre

    return [Part(place(part.polygon), part.tone) for part in parts]


def backdrop(rng: np.random.Generator) -> np.ndarray:
    """[s, s, 3]: a pale sky over a pale ground, or a plain wall; sometimes hills."""
    sky, ground = (0.78 + 0.2 * rng.random(3) for _ in range(2))
    ground = ground * rng.uniform(0.8, 0.95)
    y = np.linspace(0, 1, SIDE)[:, None, None]
    picture = np.broadcast_to(sky * (1 - 0.12 * y) + 0.06 * y, (SIDE, SIDE, 3)).copy()
    x = np.linspace(0, 1, SIDE)
    hills = rng.uniform(0, 0.05) * np.sin(2 * np.pi * (x * rng.uniform(0.5, 2) + rng.random()))
    horizon = rng.uniform(0.55, 0.8) + hills
    below = y[..., 0] > horizon[None]
    picture[below] = np.broadcast_to(ground * (1 - 0.1 * y), picture.shape)[below]
    return picture.astype(np.float32)


def placements(scene: Scene, rng: np.random.Generator) -> list[tuple[list[Part], dict]]:
    """The posed parts of everything in the scene with their tones, back to front."""
    if scene.person is not None:
        centre = (SIDE * rng.uniform(0.44, 0.56), SIDE * rng.uniform(0.47, 0.53))
        return [
            (
                posed(portrait(scene.person), centre, SIDE * rng.uniform(0.35, 0.42), rng, True),
                tones(scene.shirt, scene.person),
            )
        ]
    placed = []
    for number, item in enumerate(scene.objects):
        if len(scene.objects) == 1:  # anywhere in the picture, so that a place says nothing about a thing
            half = rng.uniform(0.27, 0.35)
            x, y = rng.uniform(half, 1 - half, 2)
        else:
            half = rng.uniform(0.21, 0.25)
            x, y = 0.27 + 0.46 * number + rng.uniform(-0.03, 0.03), rng.uniform(0.34, 0.66)
        parts = DRAWINGS[item.thing]() if item.thing else unknown(rng)
        placed.append((posed(parts, (SIDE * x, SIDE * y), SIDE * half, rng, False), tones(item.colour)))
    return placed


def drawn(scene: Scene, rng: np.random.Generator) -> tuple[Canvas, list[np.ndarray]]:
    """The canvas before painting, and the supersampled mask of each thing on it."""
    background = backdrop(rng)
    image = Image.fromarray((background * 255).astype(np.uint8))
    numbers = Image.new("L", (SIDE, SIDE))
    pen, count, number = ImageDraw.Draw(image), ImageDraw.Draw(numbers), 0
    masks = []
    for parts, palette in placements(scene, rng):
        first = number
        for part in parts:
            number += 1
            points = [(float(x), float(y)) for x, y in part.polygon]
            pen.polygon(points, fill=tuple(int(255 * c) for c in palette[part.tone]))
            count.polygon(points, fill=number)
        masks.append(np.asarray(numbers) > first)
    picture, ids = np.asarray(image, np.float32) / 255, np.asarray(numbers).copy()
    if scene.slime:
        for mask in masks:
            picture, ids = slime(picture, ids, mask, rng)
    subject = (ids > 0).astype(np.float32)
    return Canvas(picture, shaded(picture, subject, scene.person is None), subject, ids, SCALE), masks


def shaded(picture: np.ndarray, subject: np.ndarray, on_ground: bool) -> np.ndarray:
    """Light from the upper left on the subject, and its soft shadow on the ground."""
    soft = blur(subject, 7.0)
    light = (soft - np.roll(soft, (6, 6), (0, 1)))[..., None]
    paint = picture * (1 + 0.55 * light * subject[..., None]).clip(0.6, 1.5)
    if on_ground:
        shadow = blur(np.roll(subject, (8, 10), (0, 1)), 5.0)[..., None] * (1 - subject[..., None])
        paint = paint * (1 - 0.28 * shadow)
    return paint.clip(0, 1).astype(np.float32)


def render(scene: Scene) -> Picture:
    """Draws a scene. Pose, background and texture come from `scene.seed` alone.

    Args:
        scene: The scene.

    Returns:
        The picture, and the mask of each object.
    """
    rng = np.random.default_rng(scene.seed)
    canvas, masks = drawn(scene, rng)
    painted = Image.fromarray((LOOKS[scene.artist](canvas, rng).clip(0, 1) * 255).astype(np.uint8))
    for mark in scene.marks:
        painted = DRAW_MARK[mark](painted, rng)
    image = np.asarray(painted.reduce(SCALE))
    small = [np.asarray(Image.fromarray(m.astype(np.uint8) * 255).reduce(SCALE)) > 127 for m in masks]
    return Picture(image, tuple(small))
