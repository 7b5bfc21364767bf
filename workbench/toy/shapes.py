"""The objects as vector drawings: parts in a unit box, x to the right and y down, each part with a tone.

A part is a closed polygon. Tones name how the object's colour is used: body, dark, light; or are fixed: ink, white,
wood, leaf, glass, skin. Drawing order is painting order.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Polygon = Float[np.ndarray, "points 2"]
Number = int | float  # checkers at run time take no int for a float
Point = tuple[Number, Number]


class Part(NamedTuple):
    polygon: Polygon
    tone: str


def oval(x: Number, y: Number, rx: Number, ry: Number, turn: Number = 0.0, arc: Point = (0, 360)) -> Polygon:
    """An ellipse, turned by `turn` degrees, or the chord of it between two angles (degrees, clockwise from the
    right)."""
    angle = np.radians(np.linspace(*arc, 28))
    px, py = rx * np.cos(angle), ry * np.sin(angle)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return np.stack([x + c * px - s * py, y + s * px + c * py], axis=1)


def poly(*points: Point) -> Polygon:
    return np.array(points, dtype=float)


def smooth(*points: Point) -> Polygon:
    """A closed Catmull-Rom curve through the points."""
    p = np.array(points, dtype=float)
    t = np.linspace(0, 1, 6, endpoint=False)[:, None]
    before, after, last = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    curve = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(before, p, after, last, strict=True)
    ]
    return np.concatenate(curve)


def stroke(width: Number, *points: Point) -> Polygon:
    """An open line of the given width as a polygon."""
    p = np.array(points, dtype=float)
    along = np.gradient(p, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normal *= 0.5 * width / np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-9)
    return np.concatenate([p + normal, (p - normal)[::-1]])


def ring(x: Number, y: Number, rx: Number, ry: Number, width: Number, start: Number, stop: Number) -> Polygon:
    """An arc of an ellipse with a width: handles and rims."""
    angle = np.radians(np.linspace(start, stop, 20))
    outer = np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)
    inner = np.stack([x + (rx - width) * np.cos(angle), y + (ry - width) * np.sin(angle)], axis=1)
    return np.concatenate([outer, inner[::-1]])


def eyes(y: Number, apart: Number, size: Number) -> list[Part]:
    return [
        Part(oval(side * apart, y, grow * size, grow * size * 1.15), tone)
        for side in (-1, 1)
        for grow, tone in ((1.0, "white"), (0.55, "ink"))
    ]


def cat() -> list[Part]:
    ears = [Part(poly((s * 0.75, -0.85), (s * 0.12, -0.42), (s * 0.68, 0.0)), "body") for s in (-1, 1)]
    inner = [Part(poly((s * 0.66, -0.66), (s * 0.32, -0.38), (s * 0.62, -0.18)), "light") for s in (-1, 1)]
    whiskers = [
        Part(stroke(0.05, (s * 0.25, 0.38), (s * 0.95, 0.38 + d)), "dark") for s in (-1, 1) for d in (-0.12, 0.12)
    ]
    head = [Part(oval(0, 0.15, 0.78, 0.68), "body"), Part(oval(0, 0.42, 0.3, 0.22), "light")]
    nose = [Part(poly((-0.11, 0.28), (0.11, 0.28), (0, 0.42)), "ink")]
    return [*ears, *inner, *head, *whiskers, *eyes(0.02, 0.33, 0.15), *nose]


def fox() -> list[Part]:
    ears = [Part(poly((s * 0.82, -0.98), (s * 0.08, -0.4), (s * 0.72, 0.0)), "body") for s in (-1, 1)]
    inner = [Part(poly((s * 0.72, -0.76), (s * 0.34, -0.4), (s * 0.64, -0.22)), "dark") for s in (-1, 1)]
    head = [
        Part(
            smooth((-0.95, 0.12), (-0.5, -0.42), (0.5, -0.42), (0.95, 0.12), (0.3, 0.6), (0, 0.95), (-0.3, 0.6)), "body"
        )
    ]
    cheeks = [
        Part(smooth((s * 0.9, 0.16), (s * 0.3, 0.22), (s * 0.04, 0.85), (s * 0.35, 0.55)), "white") for s in (-1, 1)
    ]
    return [*ears, *inner, *head, *cheeks, *eyes(-0.02, 0.34, 0.13), Part(oval(0, 0.84, 0.14, 0.11), "ink")]


def fish() -> list[Part]:
    tail = Part(smooth((0.4, 0.0), (0.98, -0.5), (0.85, 0.0), (0.98, 0.5)), "dark")
    fins = [
        Part(smooth((-0.2, -0.3), (0.1, -0.72), (0.4, -0.2)), "dark"),
        Part(smooth((-0.1, 0.3), (0.1, 0.6), (0.3, 0.2)), "dark"),
    ]
    body = [Part(oval(-0.15, 0, 0.75, 0.45), "body"), Part(ring(-0.05, 0, 0.28, 0.4, 0.08, -70, 70), "light")]
    stripe = Part(ring(0.22, 0, 0.2, 0.34, 0.07, -65, 65), "light")
    return [
        tail,
        *fins,
        *body,
        stripe,
        Part(oval(-0.58, -0.1, 0.12, 0.12), "white"),
        Part(oval(-0.6, -0.1, 0.06, 0.06), "ink"),
    ]


def whale() -> list[Part]:
    tail = Part(
        smooth((0.45, 0.15), (0.75, -0.25), (0.55, -0.6), (0.85, -0.5), (1.05, -0.7), (0.95, -0.2), (0.7, 0.35)), "body"
    )
    body = Part(
        smooth((-0.95, 0.1), (-0.6, -0.35), (0.0, -0.38), (0.5, -0.05), (0.75, 0.25), (0.3, 0.55), (-0.6, 0.55)), "body"
    )
    belly = Part(smooth((-0.93, 0.22), (-0.4, 0.3), (0.4, 0.32), (0.3, 0.54), (-0.6, 0.54)), "light")
    spout = [Part(stroke(0.1, (-0.35, -0.4), (-0.38, -0.7), (-0.38 + s * 0.22, -0.88)), "water") for s in (-1, 1)]
    fin = Part(smooth((-0.2, 0.3), (0.15, 0.35), (0.05, 0.75)), "dark")
    return [tail, *spout, body, belly, fin, Part(oval(-0.66, 0.06, 0.07, 0.07), "ink")]


def wheels(y: Number, xs: tuple[float, ...], r: Number) -> list[Part]:
    return [Part(oval(x, y, grow * r, grow * r), tone) for x in xs for grow, tone in ((1.0, "ink"), (0.45, "steel"))]


def car() -> list[Part]:
    cabin = Part(smooth((-0.55, -0.05), (-0.42, -0.5), (0.2, -0.52), (0.55, -0.05)), "body")
    panes = [
        Part(poly((-0.4, -0.06), (-0.32, -0.4), (-0.06, -0.41), (-0.06, -0.06)), "glass"),
        Part(poly((0.03, -0.06), (0.03, -0.41), (0.2, -0.39), (0.4, -0.06)), "glass"),
    ]
    body = Part(smooth((-0.98, 0.1), (-0.8, -0.1), (0.6, -0.1), (0.98, 0.08), (0.98, 0.38), (-0.98, 0.38)), "body")
    trim = [
        Part(poly((-0.95, 0.2), (0.95, 0.2), (0.95, 0.28), (-0.95, 0.28)), "dark"),
        Part(oval(0.86, 0.08, 0.1, 0.08), "light"),
    ]
    return [cabin, *panes, body, *trim, *wheels(0.42, (-0.52, 0.52), 0.24)]


def truck() -> list[Part]:
    box = [
        Part(poly((-0.98, -0.65), (0.25, -0.65), (0.25, 0.35), (-0.98, 0.35)), "light"),
        Part(poly((-0.98, -0.65), (0.25, -0.65), (0.25, -0.48), (-0.98, -0.48)), "body"),
        Part(poly((-0.98, -0.1), (0.25, -0.1), (0.25, 0.12), (-0.98, 0.12)), "body"),
    ]
    cab = [
        Part(smooth((0.3, -0.32), (0.7, -0.35), (0.98, 0.02), (0.98, 0.36), (0.3, 0.36)), "body"),
        Part(poly((0.42, -0.24), (0.66, -0.24), (0.82, 0.02), (0.42, 0.02)), "glass"),
    ]
    bed = Part(poly((-0.98, 0.3), (0.98, 0.3), (0.98, 0.42), (-0.98, 0.42)), "dark")
    return [*box, *cab, bed, *wheels(0.46, (-0.62, -0.1, 0.62), 0.22)]


def house() -> list[Part]:
    walls = Part(poly((-0.68, -0.1), (0.68, -0.1), (0.68, 0.82), (-0.68, 0.82)), "body")
    roof = Part(poly((-0.92, -0.05), (0, -0.82), (0.92, -0.05)), "dark")
    chimney = Part(poly((0.4, -0.75), (0.6, -0.75), (0.6, -0.25), (0.4, -0.25)), "wood")
    door = Part(poly((-0.14, 0.3), (0.18, 0.3), (0.18, 0.82), (-0.14, 0.82)), "wood")
    panes = [Part(poly((x, 0.1), (x + 0.26, 0.1), (x + 0.26, 0.38), (x, 0.38)), "glass") for x in (-0.54, 0.3)]
    return [chimney, walls, roof, door, *panes]


def church() -> list[Part]:
    nave = [
        Part(poly((-0.3, 0.1), (0.88, 0.1), (0.88, 0.85), (-0.3, 0.85)), "body"),
        Part(poly((-0.35, 0.14), (0.3, -0.3), (0.98, 0.14)), "dark"),
    ]
    tower = [
        Part(poly((-0.72, -0.3), (-0.2, -0.3), (-0.2, 0.85), (-0.72, 0.85)), "body"),
        Part(poly((-0.8, -0.28), (-0.46, -0.78), (-0.12, -0.28)), "dark"),
    ]
    cross = [
        Part(stroke(0.08, (-0.46, -1.02), (-0.46, -0.72)), "ink"),
        Part(stroke(0.08, (-0.58, -0.92), (-0.34, -0.92)), "ink"),
    ]
    windows = [
        Part(oval(-0.46, 0.0, 0.12, 0.12), "glass"),
        *[Part(oval(x, 0.5, 0.1, 0.2), "glass") for x in (0.12, 0.58)],
    ]
    return [
        *nave,
        *tower,
        *cross,
        *windows,
        Part(poly((-0.58, 0.5), (-0.34, 0.5), (-0.34, 0.85), (-0.58, 0.85)), "wood"),
    ]


def mug() -> list[Part]:
    handle = Part(ring(0.42, 0.1, 0.48, 0.42, 0.15, -85, 85), "dark")
    body = Part(smooth((-0.58, -0.48), (0.48, -0.48), (0.46, 0.4), (0.38, 0.76), (-0.48, 0.76), (-0.56, 0.4)), "body")
    rim = [Part(oval(-0.05, -0.5, 0.56, 0.16), "light"), Part(oval(-0.05, -0.48, 0.46, 0.11), "wood")]
    return [handle, body, *rim, Part(smooth((-0.42, -0.2), (-0.32, -0.2), (-0.32, 0.5), (-0.4, 0.5)), "light")]


def teapot() -> list[Part]:
    handle = Part(ring(-0.5, 0.1, 0.46, 0.42, 0.14, 90, 270), "dark")
    spout = Part(smooth((0.4, 0.35), (0.75, -0.1), (0.98, -0.4), (1.02, -0.2), (0.82, 0.2), (0.5, 0.65)), "dark")
    body = [
        Part(oval(0, 0.2, 0.66, 0.56), "body"),
        Part(smooth((-0.5, 0.1), (-0.3, -0.2), (-0.24, 0.0), (-0.38, 0.3)), "light"),
    ]
    lid = [Part(oval(0, -0.3, 0.36, 0.16), "dark"), Part(oval(0, -0.5, 0.12, 0.12), "body")]
    return [handle, spout, *body, *lid, Part(poly((-0.36, 0.68), (0.36, 0.68), (0.3, 0.82), (-0.3, 0.82)), "dark")]


def fruit_top(y: Number) -> list[Part]:
    return [
        Part(stroke(0.1, (0.0, y + 0.12), (0.03, y - 0.1), (0.1, y - 0.28)), "wood"),
        Part(smooth((0.08, y - 0.1), (0.35, y - 0.34), (0.6, y - 0.2), (0.35, y - 0.02)), "leaf"),
    ]


def apple() -> list[Part]:
    body = Part(
        smooth(
            (0, -0.42),
            (-0.5, -0.58),
            (-0.82, -0.1),
            (-0.6, 0.6),
            (-0.2, 0.78),
            (0, 0.7),
            (0.2, 0.78),
            (0.6, 0.6),
            (0.82, -0.1),
            (0.5, -0.58),
        ),
        "body",
    )
    return [body, Part(oval(-0.42, -0.12, 0.13, 0.26, 20), "light"), *fruit_top(-0.5)]


def pear() -> list[Part]:
    body = Part(
        smooth(
            (0, -0.6),
            (-0.26, -0.5),
            (-0.36, -0.05),
            (-0.68, 0.36),
            (-0.5, 0.78),
            (0, 0.88),
            (0.5, 0.78),
            (0.68, 0.36),
            (0.36, -0.05),
            (0.26, -0.5),
        ),
        "body",
    )
    return [body, Part(oval(-0.34, 0.34, 0.12, 0.24, 15), "light"), *fruit_top(-0.62)]


def tree() -> list[Part]:
    trunk = Part(poly((-0.16, 0.2), (0.16, 0.2), (0.22, 0.92), (-0.22, 0.92)), "wood")
    crown = [
        Part(oval(x, y, r, r), "body")
        for x, y, r in ((-0.45, 0.0, 0.42), (0.45, 0.0, 0.42), (0, -0.42, 0.5), (0, 0.1, 0.45))
    ]
    tufts = [
        Part(oval(x, y, 0.17, 0.12), tone)
        for x, y, tone in ((-0.4, -0.15, "light"), (0.1, -0.6, "light"), (0.4, 0.12, "dark"), (-0.1, 0.2, "dark"))
    ]
    return [trunk, *crown, *tufts]


def mushroom() -> list[Part]:
    stem = Part(smooth((-0.2, 0.0), (0.2, 0.0), (0.24, 0.6), (0.32, 0.9), (-0.32, 0.9), (-0.24, 0.6)), "cream")
    cap = [Part(oval(0, 0.12, 0.9, 0.95, 0, (180, 360)), "body"), Part(oval(0, 0.12, 0.9, 0.14), "dark")]
    spots = [
        Part(oval(x, y, r, r * 0.85), "white")
        for x, y, r in ((-0.42, -0.2, 0.15), (0.08, -0.5, 0.17), (0.5, -0.15, 0.13), (0.02, -0.1, 0.1))
    ]
    return [stem, *cap, *spots]


DRAWINGS = {
    f.__name__: f for f in (cat, fox, fish, whale, car, truck, house, church, mug, teapot, apple, pear, tree, mushroom)
}


def unknown(rng: np.random.Generator) -> list[Part]:
    """A shape that the world has no word for: a random blob or star with a few marks. For the judge's *none of
    these*."""
    n = int(rng.integers(3, 9))
    angle = (
        np.sort(rng.uniform(0, 2 * np.pi, n)) if rng.random() < 0.5 else np.linspace(0, 2 * np.pi, n, endpoint=False)
    )
    radius = rng.uniform(0.45, 0.95, n)
    points = [(float(r * np.cos(a)), float(r * np.sin(a))) for r, a in zip(radius, angle, strict=True)]
    outline = smooth(*points) if rng.random() < 0.6 else poly(*points)
    marks = []
    for _ in range(int(rng.integers(0, 4))):
        x, y, rx, ry = (float(v) for v in (*rng.uniform(-0.35, 0.35, 2), *rng.uniform(0.06, 0.25, 2)))
        tone = str(rng.choice(["dark", "light", "white", "ink", "glass"]))
        marks.append(Part(oval(x, y, rx, ry, float(rng.uniform(0, 180))), tone))
    return [Part(outline, "body"), *marks]
