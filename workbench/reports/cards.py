"""Feature cards and attention maps of a report: evidence as the page shows it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from workbench.figures.pictures import hard_cells, heat_colours, overlay
from workbench.reports.evidence import AttentionPair, AttentionText, FeatureCard, PictureCard, PictureText, Strip
from workbench.reports.sheets import data_uri


class Token(NamedTuple):
    """A token on its colour; `ink` is the colour of the letters that can be read on it."""

    text: str
    colour: str
    ink: str
    value: str


class Bar(NamedTuple):
    """A word with its mean activation, as a share of the largest for the length of its bar."""

    word: str
    value: str
    share: float


class CardView(NamedTuple):
    """A card with its strips and bars ready to print."""

    card: FeatureCard
    strips: list[list[Token]]
    bars: list[Bar]


class PictureView(NamedTuple):
    """A card with pictures: each picture and its heat map as data URIs, with its prompt."""

    about: PictureText
    pictures: list[tuple[str, str, str]]


class AttentionView(NamedTuple):
    """Four pictures as data URIs, and the share of attention that the word gets in each map."""

    about: AttentionText
    before: str
    heat_before: str
    after: str
    heat_after: str
    share_before: float
    share_after: float


def concept_cards(cards: Sequence[FeatureCard]) -> dict[str, list[CardView]]:
    """The cards of each concept, as the page shows them.

    Args:
        cards: Of any concepts.

    Returns:
        By concept, in their order.
    """
    return {concept: [_view(card) for card in cards if card.concept == concept] for concept in _concepts(cards)}


def attention_rows(pairs: Sequence[AttentionPair]) -> dict[str, list[AttentionView]]:
    """The attention maps of each concept, laid over their pictures.

    Args:
        pairs: Of any concepts. Each is scaled to its own largest value, the same before and after.

    Returns:
        By concept, in their order.
    """
    names = dict.fromkeys(pair.about.concept for pair in pairs)
    return {name: [_attention(pair) for pair in pairs if pair.about.concept == name] for name in names}


def picture_views(cards: Sequence[PictureCard]) -> dict[str, list[PictureView]]:
    """The cards of each concept with pictures, heat maps laid over them.

    Args:
        cards: Of any concepts. Each is scaled to its own largest value.

    Returns:
        By concept, in their order.
    """
    names = dict.fromkeys(card.about.concept for card in cards)
    return {name: [_drawn(card) for card in cards if card.about.concept == name] for name in names}


def _drawn(card: PictureCard) -> PictureView:
    largest = float(card.maps.max()) or 1.0
    shown = []
    for text, image, heat in zip(card.about.prompts, card.images, card.maps / largest, strict=True):
        where = hard_cells(heat, len(image)) if card.about.cells else heat
        shown.append((data_uri(image), data_uri(overlay(image, where)), text))
    return PictureView(card.about, shown)


def _concepts(cards: Sequence[FeatureCard]) -> dict[str, None]:
    return dict.fromkeys(card.concept for card in cards)


def _view(card: FeatureCard) -> CardView:
    largest = max((max(strip.activations) for strip in card.strips), default=0) or 1
    loudest = max((value for _, value in card.words), default=0) or 1
    bars = [Bar(word, f"{value:.2f}", value / loudest) for word, value in card.words]
    return CardView(card, [coloured_tokens(strip, largest) for strip in card.strips], bars)


def coloured_tokens(strip: Strip, largest: float) -> list[Token]:
    """The tokens of a strip on the colours of heat maps.

    Args:
        strip: One feature on one prompt.
        largest: The activation that is darkest, above 0.

    Returns:
        A token for each of the strip's.
    """
    shares = np.clip(np.array(strip.activations) / largest, 0, 1)
    colours = heat_colours(shares).round().astype(int)
    return [
        Token(text, f"rgb({r},{g},{b})", "#fff" if share > 0.6 else "inherit", f"{value:.2f}")
        for text, value, share, (r, g, b) in zip(strip.tokens, strip.activations, shares, colours, strict=True)
    ]


def _attention(pair: AttentionPair) -> AttentionView:
    largest = max(float(pair.map_before.max()), float(pair.map_after.max())) or 1.0
    heat_before, heat_after = (
        overlay(image, heat / largest) for image, heat in ((pair.before, pair.map_before), (pair.after, pair.map_after))
    )
    return AttentionView(
        about=pair.about,
        before=data_uri(pair.before),
        heat_before=data_uri(heat_before),
        after=data_uri(pair.after),
        heat_after=data_uri(heat_after),
        share_before=float(pair.map_before.mean()),
        share_after=float(pair.map_after.mean()),
    )
