"""What a feature fires on, as components: prompts with coloured tokens, or pictures under heat maps."""

from functools import lru_cache

import numpy as np
from dash import html
from dash.development.base_component import Component
from jaxtyping import Float, UInt8
from PIL import Image

from workbench.dashboard.cache import FeatureCache
from workbench.figures.pictures import hard_cells, overlay
from workbench.reports.cards import coloured_tokens
from workbench.reports.evidence import Strip
from workbench.reports.sheets import data_uri

START, END = "⟨start⟩", "⟨end⟩"


def evidence(cache: FeatureCache, feature: int, n: int) -> Component:
    """What a feature fires on, small: prompts with coloured tokens, pictures under heat maps, or both of the same.

    Args:
        cache: Of its SAE.
        feature: Its number.
        n: How many at most, the strongest first.

    Returns:
        A component; prompts are on the scale of the strongest token, pictures on that of the strongest cell.
    """
    if not len(cache.top(feature).prompts):
        return html.P("It fires on none of these prompts.", className="none")
    parts = [strips(cache, feature, n)] if cache.n_tokens else []
    return html.Div([*parts, thumbnails(cache, feature, n)]) if cache.draws else parts[0]


def strips(cache: FeatureCache, feature: int, n: int) -> Component:
    """A line a prompt; the start token is left out where the feature does not fire on it.

    Args:
        cache: Of an SAE at a site that prompts pass.
        feature: A feature that fires.
        n: Prompts at most.

    Returns:
        A component.
    """
    made = [_strip(cache, prompt, values) for prompt, values in _strongest(cache, feature, n)]
    largest = max(max(strip.activations) for strip in made) or 1.0
    return html.Div([_line(strip, largest) for strip in made])


def _strongest(cache: FeatureCache, feature: int, n: int) -> list[tuple[int, Float[np.ndarray, " places"]]]:
    top = cache.top(feature)
    return list(zip(top.prompts[:n].tolist(), top.maps[:n], strict=True))


def _cells(cache: FeatureCache, feature: int, n: int) -> list[tuple[int, Float[np.ndarray, "y x"]]]:
    """The same, only where in the picture."""
    return [(prompt, square(values[cache.n_tokens :])) for prompt, values in _strongest(cache, feature, n)]


def _strip(cache: FeatureCache, prompt: int, values: Float[np.ndarray, " places"]) -> Strip:
    row = cache.prompts.iloc[prompt]
    tokens = (START, *row["tokens"][1:-1], END)
    return Strip(prompt=row["prompt"], tokens=tokens, activations=tuple(values[: len(tokens)].tolist()))


def _line(strip: Strip, largest: float) -> Component:
    tokens = [token for token in coloured_tokens(strip, largest) if not (token.text == START and token.value == "0.00")]
    spans = [
        html.Span(token.text, style={"background": token.colour, "color": token.ink}, title=token.value)
        for token in tokens
    ]
    return html.P(spans, className="strip", title=strip.prompt)


def thumbnails(cache: FeatureCache, feature: int, n: int) -> Component:
    """The pictures under their heat maps, in a row.

    Args:
        cache: Of an SAE at a site that pictures pass.
        feature: Its number.
        n: Pictures at most.

    Returns:
        A component.
    """
    uris = _overlays(cache, feature, n, 80)
    texts = [cache.prompts["prompt"].iloc[prompt] for prompt, _ in _strongest(cache, feature, n)]
    return html.Div(
        [html.Img(src=uri, alt=text, title=text) for uri, text in zip(uris, texts, strict=True)], className="thumbs"
    )


def pictures(cache: FeatureCache, feature: int, n: int) -> Component:
    """Each picture beside its heat map, with its prompt and score.

    Args:
        cache: Of an SAE at a site that pictures pass.
        feature: Its number.
        n: Pictures at most.

    Returns:
        A component.
    """
    top, overlays = cache.top(feature), _overlays(cache, feature, n, 160)
    figures = []
    for place, (prompt, uri) in enumerate(zip(top.prompts[:n].tolist(), overlays, strict=True)):
        text = cache.prompts["prompt"].iloc[prompt]
        pair = [
            html.Img(src=data_uri(cache.picture(prompt)), alt=text),
            html.Img(src=uri, alt=f"where it fires: {text}"),
        ]
        caption = html.Figcaption([text, html.Span(f"{top.scores[place]:.2f}", className="number")])
        figures.append(html.Figure([html.Div(pair, className="pair"), caption]))
    return html.Div(figures, className="pictures")


@lru_cache(maxsize=4096)
def _overlays(cache: FeatureCache, feature: int, n: int, pixels: int) -> tuple[str, ...]:
    """The heat maps of a feature over its pictures as data URIs, all on one scale."""
    found = _cells(cache, feature, n)
    largest = max((float(values.max()) for _, values in found), default=0.0) or 1.0
    return tuple(
        data_uri(overlay(_enlarged(cache.picture(prompt), pixels), _heat(cache, values / largest, pixels)))
        for prompt, values in found
    )


def _heat(cache: FeatureCache, values: Float[np.ndarray, "y x"], pixels: int) -> Float[np.ndarray, "_ _"]:
    """Tokens of a picture are cells with edges; latent pixels are shown as smooth as the picture that they become."""
    return values if cache.has_steps else hard_cells(values, pixels)


def _enlarged(picture: UInt8[np.ndarray, "h w 3"], pixels: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """At a size at which a heat map is smooth; a small picture keeps its hard pixels."""
    how = Image.Resampling.NEAREST if picture.shape[0] < pixels else Image.Resampling.LANCZOS
    return np.array(Image.fromarray(picture).resize((pixels, pixels), how))


def square(values: Float[np.ndarray, " places"]) -> Float[np.ndarray, "y x"]:
    """The places of a picture as the square that they are.

    Args:
        values: `[side²]`, row by row.

    Returns:
        `[side, side]`.
    """
    side = round(len(values) ** 0.5)
    return values.reshape(side, side)
