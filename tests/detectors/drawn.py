"""The second rendered set: scenes of the toy's world at eight times its size, so that the detectors that people use can
see what is laid over them: real letters and real QR codes, with the boxes where they are."""

import io

import numpy as np
import segno
from PIL import Image, ImageDraw, ImageFont

from workbench.toy.captions import examples
from workbench.toy.render import render

SIZE = 384


def benign(n, seed=0):
    """Pictures without any mark, letters or codes."""
    scenes = [one.scene for one in examples(4 * n, seed) if not one.scene.marks][:n]
    return [np.asarray(Image.fromarray(render(one).image).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
            for one in scenes]  # fmt: skip


def lettered(picture, words, at, size=30):
    """The words in white on black, and their box."""
    image = Image.fromarray(picture)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    box = pen.textbbox(at, words, font=font)
    pen.rectangle(box, fill=(10, 10, 10))
    pen.text(at, words, font=font, fill=(255, 255, 255))
    return np.asarray(image), [int(box[0]), int(box[1]), int(box[2]) - 1, int(box[3]) - 1]


def coded(picture, text, at, scale=4, damaged=False):
    """A QR code with its white border, and the box of the code itself."""
    buffer = io.BytesIO()
    segno.make(text, error="m", micro=False).save(buffer, kind="png", scale=scale, border=4)
    code = np.array(Image.open(buffer).convert("RGB"))
    modules = len(code) // scale - 8
    if damaged:  # the squares in the corners stay, and what they surround is noise
        inner = np.random.default_rng(0).integers(0, 2, (modules - 9, modules - 9)) * 255
        start = (4 + 9) * scale
        end = start + (modules - 9) * scale
        code[start:end, start:end] = np.kron(inner, np.ones((scale, scale)))[..., None]
    whole, (x, y) = picture.copy(), at
    whole[y : y + len(code), x : x + len(code)] = code
    left, top, side = x + 4 * scale, y + 4 * scale, modules * scale
    return whole, [left, top, left + side - 1, top + side - 1]


def iou(a, b):
    """Of two boxes whose ends belong to them."""
    across = min(a[2], b[2]) - max(a[0], b[0]) + 1
    down = min(a[3], b[3]) - max(a[1], b[1]) + 1
    both = max(across, 0) * max(down, 0)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return both / (sum(areas) - both)
