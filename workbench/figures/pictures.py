"""Figures made of pictures: contact sheets, and heat maps laid over images."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, UInt8
from PIL import Image

from workbench.figures.template import HEAT, QUIET, figure

GAP = 3  # white pixels between pictures, before enlargement


def contact_sheet(
    images: UInt8[np.ndarray, "rows columns h w 3"], row_labels: Sequence[str], column_labels: Sequence[str] = ()
) -> go.Figure:
    """A grid of pictures: a row a condition, a column a prompt and seed, so that a column shows before and after.

    Args:
        images: uint8 `[rows, columns, h, w, 3]`.
        row_labels: One for each row.
        column_labels: One for each column, or none at all.

    Returns:
        The figure.
    """
    sheet = tile(images)
    h, w = images.shape[2] + GAP, images.shape[3] + GAP
    plot = figure(height=40 + 104 * len(images) + 60 * bool(column_labels))
    plot.add_image(z=sheet, hoverinfo="skip")
    middle = {"showgrid": False, "showline": False, "ticks": "", "zeroline": False}
    rows = [row * h + (h - GAP) / 2 for row in range(images.shape[0])]
    columns = [column * w + (w - GAP) / 2 for column in range(images.shape[1])]
    plot.update_yaxes(**middle, tickvals=rows, ticktext=list(row_labels))
    plot.update_xaxes(
        **middle, tickvals=columns[: len(column_labels)], ticktext=list(column_labels), side="top",
        showticklabels=bool(column_labels), tickfont={"size": 11, "color": QUIET},
    )  # fmt: skip
    return plot.update_layout(margin={"l": 8, "r": 8, "t": 8 + 60 * bool(column_labels), "b": 8})


def tile(images: UInt8[np.ndarray, "rows columns h w 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """One picture of all pictures, with white gaps between them.

    Args:
        images: uint8 `[rows, columns, h, w, 3]`.

    Returns:
        uint8 `[height, width, 3]`.
    """
    rows, columns, h, w, _ = images.shape
    padded = np.full((rows, columns, h + GAP, w + GAP, 3), 255, np.uint8)
    padded[:, :, :h, :w] = images
    return padded.transpose(0, 2, 1, 3, 4).reshape(rows * (h + GAP), columns * (w + GAP), 3)[:-GAP, :-GAP]


def overlay(image: UInt8[np.ndarray, "h w 3"], heat: Float[np.ndarray, "y x"]) -> UInt8[np.ndarray, "h w 3"]:
    """A heat map over an image in grey: where it is 0 only the grey image is seen.

    Args:
        image: uint8 `[h, w, 3]`.
        heat: `[y, x]` in [0, 1], of any size; it is enlarged to the image's.

    Returns:
        uint8 `[h, w, 3]`.
    """
    h, w, _ = image.shape
    enlarged = np.asarray(Image.fromarray(heat.astype(np.float32)).resize((w, h), Image.Resampling.BILINEAR))
    strength = np.clip(enlarged, 0, 1)[..., None]
    grey = 255 - (255 - image.mean(axis=-1, keepdims=True)) * 0.6  # lightened, for the heat to be the darkest thing
    opacity = 0.85 * np.sqrt(strength)  # a weak map stays visible; the colour alone carries the value
    return np.rint(grey * (1 - opacity) + heat_colours(strength[..., 0]) * opacity).astype(np.uint8)


def hard_cells(heat: Float[np.ndarray, "y x"], pixels: int) -> Float[np.ndarray, "_ _"]:
    """A heat map enlarged with hard edges, for values that belong to cells and not to points.

    Args:
        heat: `[y, x]`.
        pixels: Height and width of the result.

    Returns:
        `[pixels, pixels]`.
    """
    return np.asarray(Image.fromarray(heat.astype(np.float32)).resize((pixels, pixels), Image.Resampling.NEAREST))


def heat_colours(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 3"]:
    """The colours of values on the scale of all heat maps.

    Args:
        values: In [0, 1], of any shape.

    Returns:
        `[…, 3]` in [0, 255].
    """
    stops = [stop for stop, _ in HEAT]
    colours = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for _, colour in HEAT])
    return np.stack([np.interp(values, stops, colours[:, channel]) for channel in range(3)], axis=-1)


def attention_overlays(
    images: UInt8[np.ndarray, "rows columns h w 3"],
    maps: Float[np.ndarray, "rows columns y x"],
    row_labels: Sequence[str],
    column_labels: Sequence[str] = (),
) -> go.Figure:
    """Attention maps over their images, as a contact sheet.

    Args:
        images: uint8 `[rows, columns, h, w, 3]`.
        maps: `[rows, columns, y, x]` in [0, 1]; scale all together to compare them.
        row_labels: One for each row.
        column_labels: One for each column, or none at all.

    Returns:
        The figure.
    """
    rows, columns = images.shape[:2]
    blended = [[overlay(images[row, column], maps[row, column]) for column in range(columns)] for row in range(rows)]
    return contact_sheet(np.array(blended), row_labels, column_labels)
