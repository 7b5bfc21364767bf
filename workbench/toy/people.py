"""Portraits as vector drawings, in the same parts as `shapes`. Faces differ by their looks only; pose is the
renderer's."""

from workbench.toy.shapes import Part, eyes, oval, poly, ring, smooth, stroke
from workbench.toy.world import Person


def portrait(person: Person) -> list[Part]:
    """Head and shoulders. Tones: skin, skin_dark, hair, body (the shirt), and the fixed ones."""
    return [
        *hair_behind(person),
        *bust(),
        *face(person),
        *(beard() if person.beard else []),
        *mouth(person),
        *hair_in_front(person),
        *(glasses() if person.glasses else []),
        *hat(person.hat),
    ]


def bust() -> list[Part]:
    shoulders = Part(smooth((-0.95, 1.4), (-0.9, 0.85), (-0.45, 0.6), (0.45, 0.6), (0.9, 0.85), (0.95, 1.4)), "body")
    collar = Part(poly((-0.28, 0.58), (0.28, 0.58), (0, 0.86)), "dark")
    return [
        shoulders,
        collar,
        Part(poly((-0.17, 0.3), (0.17, 0.3), (0.17, 0.66), (0, 0.76), (-0.17, 0.66)), "skin_dark"),
    ]


def face(person: Person) -> list[Part]:
    jaw = 0.44 if person.gender == "woman" else 0.5
    head = Part(
        smooth(
            (0, -0.72), (-0.5, -0.4), (-0.52, -0.05), (-jaw, 0.3), (0, 0.52), (jaw, 0.3), (0.52, -0.05), (0.5, -0.4)
        ),
        "skin",
    )
    ears = [Part(oval(s * 0.53, -0.06, 0.09, 0.14), "skin_dark") for s in (-1, 1)]
    nose = Part(stroke(0.06, (0.0, -0.05), (0.06, 0.12), (-0.02, 0.14)), "skin_dark")
    thick = 0.06 if person.gender == "woman" else 0.1
    brows = [Part(stroke(thick, (s * 0.12, -0.29), (s * 0.34, -0.31)), "brow") for s in (-1, 1)]
    lines = [Part(stroke(0.05, (s * 0.2, 0.12), (s * 0.32, 0.3)), "skin_dark") for s in (-1, 1)]
    lines += [Part(stroke(0.05, (-0.22, -0.46), (0.22, -0.46)), "skin_dark")]
    return [*ears, head, *(lines if person.age == "senior" else []), *eyes(-0.13, 0.22, 0.1), *brows, nose]


def mouth(person: Person) -> list[Part]:
    if person.gender == "woman":
        return [Part(smooth((-0.17, 0.28), (0, 0.24), (0.17, 0.28), (0, 0.38)), "lips")]
    return [Part(stroke(0.07, (-0.16, 0.29), (0, 0.32), (0.16, 0.29)), "lips")]


def beard() -> list[Part]:
    outline = smooth(
        (-0.5, 0.02), (-0.3, 0.16), (0, 0.17), (0.3, 0.16), (0.5, 0.02), (0.44, 0.4), (0, 0.68), (-0.44, 0.4)
    )
    return [Part(outline, "hair")]


def hair_behind(person: Person) -> list[Part]:
    if person.hair == "long":
        return [
            Part(
                smooth((0, -0.92), (-0.6, -0.62), (-0.74, 0.1), (-0.68, 0.75), (0.68, 0.75), (0.74, 0.1), (0.6, -0.62)),
                "hair",
            )
        ]
    if person.hair == "curly":
        spots = ((-0.5, -0.5), (0.5, -0.5), (0, -0.7), (-0.62, -0.12), (0.62, -0.12), (-0.6, 0.22), (0.6, 0.22))
        return [Part(oval(x, y, 0.32, 0.32), "hair") for x, y in spots]
    if person.hair == "bun":
        return [Part(oval(0, -0.92, 0.26, 0.24), "hair"), Part(oval(0, -0.3, 0.58, 0.55), "hair")]
    return []


def hair_in_front(person: Person) -> list[Part]:
    if person.hair == "bald":
        return []
    fringe = smooth(
        (-0.55, -0.1),
        (-0.58, -0.55),
        (-0.25, -0.84),
        (0.25, -0.84),
        (0.58, -0.55),
        (0.55, -0.1),
        (0.42, -0.42),
        (0, -0.5),
        (-0.42, -0.42),
    )
    return [Part(fringe, "hair")]


def glasses() -> list[Part]:
    rims = [Part(ring(s * 0.23, -0.12, 0.21, 0.19, 0.07, 0, 360), "ink") for s in (-1, 1)]
    return [*rims, Part(stroke(0.06, (-0.05, -0.13), (0.05, -0.13)), "ink")]


def hat(kind: str) -> list[Part]:
    if kind == "beanie":
        return [
            Part(oval(0, -0.42, 0.6, 0.58, 0, (180, 360)), "hat"),
            Part(poly((-0.62, -0.56), (0.62, -0.56), (0.62, -0.38), (-0.62, -0.38)), "hat_band"),
            Part(oval(0, -1.02, 0.14, 0.13), "hat_band"),
        ]
    if kind == "brim":
        return [
            Part(smooth((-0.45, -0.5), (-0.42, -0.95), (0, -1.02), (0.42, -0.95), (0.45, -0.5)), "straw"),
            Part(oval(0, -0.5, 0.92, 0.16), "straw"),
            Part(poly((-0.46, -0.68), (0.46, -0.68), (0.46, -0.55), (-0.46, -0.55)), "hat_band"),
        ]
    return []
