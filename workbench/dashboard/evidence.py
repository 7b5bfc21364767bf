"""What a feature fires on, as components: prompts with coloured tokens, or pictures under heat maps."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from dash import html
from dash.development.base_component import Component
from jaxtyping import Float, UInt8
from PIL import Image

from workbench.dashboard.cache import FeatureCache
from workbench.dashboard.parts import percent
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
    return html.Div([_line(strip, _loudest(made)) for strip in made])


def spread_strips(cache: FeatureCache, feature: int) -> Component:
    """Prompts from strong to weak, each at its quantile among all that a feature fires on, coloured as in `strips`.

    Args:
        cache: Of an SAE at a site that prompts pass.
        feature: A feature that fires.

    Returns:
        A component; empty where the strongest prompts are all there are.
    """
    spread = cache.spread(feature)
    largest = _loudest([_strip(cache, *pair) for pair in _strongest(cache, feature, 1)])
    lines = [
        html.Div([_quantile(share), _line(_strip(cache, prompt, values), largest)], className="ranked")
        for prompt, values, share in zip(spread.prompts.tolist(), spread.maps, spread.quantiles, strict=True)
    ]
    return html.Div(lines)


def _loudest(made: Sequence[Strip]) -> float:
    return max(max(strip.activations) for strip in made) or 1.0


def _quantile(share: float) -> Component:
    return html.Span(percent(share), className="number")


def _strongest(cache: FeatureCache, feature: int, n: int) -> list[tuple[int, Float[np.ndarray, " places"]]]:
    top = cache.top(feature)
    return list(zip(top.prompts[:n].tolist(), top.maps[:n], strict=True))


def _square(cache: FeatureCache, values: Float[np.ndarray, " places"]) -> Float[np.ndarray, "y x"]:
    """The same, only where in the picture."""
    return square(values[cache.n_tokens :])


def _strip(cache: FeatureCache, prompt: int, values: Float[np.ndarray, " places"]) -> Strip:
    row = cache.prompts.iloc[prompt]
    tokens = framed(list(row["tokens"]), cache.about["begins"])
    return Strip(prompt=row["prompt"], tokens=tokens, activations=tuple(values[: len(tokens)].tolist()))


def framed(words: Sequence[str], begins: bool) -> tuple[str, ...]:
    """The tokens of a prompt as they are shown.

    Args:
        words: From the first to the end token.
        begins: Whether the first is a begin token.

    Returns:
        The same, with names for the begin and the end token.
    """
    return (*((START,) if begins else ()), *words[int(begins) : -1], END)


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
    top = cache.top(feature)
    prompts, notes = top.prompts[:n].tolist(), [f"{score:.2f}" for score in top.scores[:n]]
    return _figures(cache, prompts, _overlays(cache, feature, n, 160), notes)


def spread_pictures(cache: FeatureCache, feature: int) -> Component:
    """Pictures from strong to weak, each with its quantile, on the scale of `pictures`.

    Args:
        cache: Of an SAE at a site that pictures pass.
        feature: Its number.

    Returns:
        A component; empty where the strongest pictures are all there are.
    """
    spread = cache.spread(feature)
    found = [(prompt, _square(cache, values)) for prompt, values in zip(spread.prompts, spread.maps, strict=True)]
    overlays = [_overlay(cache, int(prompt), values, _largest(cache, feature), 160) for prompt, values in found]
    return _figures(cache, spread.prompts.tolist(), overlays, [percent(share) for share in spread.quantiles])


def _figures(cache: FeatureCache, prompts: Sequence[int], overlays: Sequence[str], notes: Sequence[str]) -> Component:
    figures = []
    for prompt, uri, note in zip(prompts, overlays, notes, strict=True):
        text = cache.prompts["prompt"].iloc[prompt]
        pair = [
            html.Img(src=data_uri(cache.picture(prompt)), alt=text),
            html.Img(src=uri, alt=f"where it fires: {text}"),
        ]
        caption = html.Figcaption([text, html.Span(note, className="number")])
        figures.append(html.Figure([html.Div(pair, className="pair"), caption]))
    return html.Div(figures, className="pictures")


@lru_cache(maxsize=4096)
def _overlays(cache: FeatureCache, feature: int, n: int, pixels: int) -> tuple[str, ...]:
    """The heat maps of a feature over its strongest pictures as data URIs, all on one scale."""
    found = [(prompt, _square(cache, values)) for prompt, values in _strongest(cache, feature, n)]
    largest = max((float(values.max()) for _, values in found), default=0.0) or 1.0
    return tuple(_overlay(cache, prompt, values, largest, pixels) for prompt, values in found)


def _largest(cache: FeatureCache, feature: int) -> float:
    """The largest cell of the strongest pictures."""
    return max(float(values[cache.n_tokens :].max()) for values in cache.top(feature).maps) or 1.0


def _overlay(cache: FeatureCache, prompt: int, values: Float[np.ndarray, "y x"], largest: float, pixels: int) -> str:
    heat = _heat(cache, (values / largest).clip(max=1.0), pixels)
    return data_uri(overlay(_enlarged(cache.picture(prompt), pixels), heat))


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
