"""Words are found whole, in every script and in both ways of writing an accent."""

from unicodedata import normalize

import pytest

from workbench.words import occurrences

HERE = [
    ("a photo of a fox", "fox"),
    ("A FOX, red", "fox"),
    ("a fox's den", "fox"),
    ("a painting by Vincent  van\tGogh.", "van gogh"),
    ("by Émile Zola", "émile zola"),
    ("by ANTONÍN DVOŘÁK, 1901", "Dvořák"),
    ("R2-D2 at sea", "r2-d2"),
    ("in the style of St. John", "St. John"),
    ("葛飾北斎の絵", "葛飾北斎"),
    ("고양이는 잔다", "고양이"),
    ("a <style> fox", "<style>"),
    ("絵はfoxです", "fox"),
]
ABSENT = [
    ("a foxglove", "fox"),
    ("firefox", "fox"),
    ("a catnap, concatenated", "cat"),
    ("a café", "caf"),
    (normalize("NFD", "a café"), "cafe"),
    ("fox2", "fox"),
    ("a f ox", "fox"),
    ("a fox", ""),
    ("a fox", " "),
]


@pytest.mark.parametrize(("text", "words"), HERE, ids=[words for _, words in HERE])
def test_a_word_is_found_at_its_characters(text: str, words: str) -> None:
    for form in ("NFC", "NFD"):
        for other in ("NFC", "NFD"):
            written = normalize(form, text)
            ((start, end),) = occurrences(written, normalize(other, words))
            assert normalize("NFC", " ".join(written[start:end].split())).lower() == normalize("NFC", words).lower()


@pytest.mark.parametrize(("text", "words"), ABSENT, ids=range(len(ABSENT)))
def test_a_part_of_a_word_is_none(text: str, words: str) -> None:
    assert occurrences(text, words) == []


def test_every_place_counts() -> None:
    assert occurrences("fox, foxes and Fox", "fox") == [(0, 3), (15, 18)]
