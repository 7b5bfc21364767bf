"""The page of a picture: which features fire on it, and where."""

from typing import Any

import numpy as np
from dash import dcc, html
from dash.development.base_component import Component
from jaxtyping import Float, UInt8
from PIL import Image

from workbench.dashboard.asking import Picture, saes_at
from workbench.dashboard.library import Library
from workbench.dashboard.links import Address
from workbench.dashboard.pages.running import buttons, field, results, running, text
from workbench.dashboard.parts import feature_name
from workbench.figures.pictures import overlay
from workbench.reports.sheets import data_uri

SIDE = 224  # pixels of a map at least, for small pictures


def picture_page(library: Library, address: Address) -> list[Component]:
    """A form for a picture.

    Args:
        library: What the pages read.
        address: May name an SAE.

    Returns:
        Components.
    """
    names = saes_at(library, words=False)
    head = [
        html.H1("Picture"),
        html.P("Give the model a picture, and see which features fire on it, and where.", className="byline"),
    ]
    if not names:
        return [*head, html.P("No autoencoder here is at a site that pictures pass: name one with --sae.")]
    noised = any(library.caches[name].has_steps for name in names)
    attributes: dict[str, Any] = {"hidden": not noised, "className": "pairs"}
    noise = html.Div(
        [
            field("Noised to timestep", dcc.Input(id="picture-timestep", type="number", value=200, min=0, max=999)),
            field("Seed of the noise", text("picture-seed", "0")),
        ],
        **attributes,
    )
    form = [
        field("Autoencoder", dcc.Dropdown(names, address.sae or names[0], id="picture-sae", clearable=False)),
        dcc.Upload(
            html.Div(["Drop a picture here, or choose a file", html.Small(id="picture-name")]), id="picture-file",
            className="upload", accept="image/png,image/jpeg,image/webp", max_size=5_000_000,
        ),
        field("What the model is told of it (may be empty)", text("picture-prompt", "")),
        noise,
        html.P("0 is the picture itself, 999 nearly all noise.", className="hint", hidden=not noised),
        buttons("see", "Show"),
    ]  # fmt: skip
    parts = [html.Section(form, className="form"), html.Section(results())]
    return [*head, html.Div(parts, className="bench"), *running()]


def seen(library: Library, picture: Picture) -> list[Component]:
    """The picture, what the model saw of it, and a map for each feature.

    Args:
        library: Knows what features are called.
        picture: What a job found.

    Returns:
        Components.
    """
    found, cache = picture.found, library.cache(picture.sae)
    saw = "what the model saw" if cache.has_steps else "what its tokens keep"
    given = [
        html.Figure([html.Img(src=data_uri(image), alt=words), html.Figcaption(words)])
        for image, words in ((picture.image, "the picture"), (found.seen, saw))
    ]
    maps = [
        _map(library, picture, feature, score, heat)
        for feature, score, heat in zip(found.features, found.scores, found.maps, strict=True)
    ]
    said = f"The features of {picture.sae} with the largest activation at any place, each map on its own scale."
    if not maps:
        said = f"No feature of {picture.sae} fires on this picture."
    return [
        html.Div(given, className="pictures given"),
        html.P(said, className="hint"),
        html.Div(maps, className="pictures maps"),
    ]


def _map(library: Library, picture: Picture, feature: int, score: float, heat: Float[np.ndarray, "y x"]) -> Component:
    uri = data_uri(overlay(_enlarged(picture.image), heat / (float(heat.max()) or 1.0)))
    name = feature_name(library, picture.sae, feature)
    caption = html.Figcaption([name, html.Span(f"{score:.2f}", className="number")])
    return html.Figure([html.Img(src=uri, alt=f"where feature {feature} fires"), caption])


def _enlarged(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
    side = max(SIDE, len(image))
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST))
