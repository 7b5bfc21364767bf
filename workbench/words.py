"""Words in texts: the one way in which they are found, for methods, maps, judges and displays alike.

A word is found where it is no part of a longer one: "cat" is not in "catnap", nor "caf" in "café" in whatever way the
accent is written. Scripts that put no spaces between words, as Japanese, Thai and Korean particles, have no such ends.
"""

import re
from unicodedata import combining, normalize

_UNSPACED = (
    "\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc"
    "\U00020000-\U0003ffff"
)
_IN_WORD = rf"[^\W{_UNSPACED}]"  # what continues a word
_ACCENT = r"[\u0300-\u036f]"  # which Python does not count to words


def pattern(words: str) -> str:
    """A regular expression that finds words where they are whole, with any space between them.

    Args:
        words: One word, or several.

    Returns:
        A pattern without groups, for `re.IGNORECASE`, which takes accents in both ways of writing them. It finds
        nothing for no words.
    """
    forms = dict.fromkeys((words, normalize("NFC", words), normalize("NFD", words)))
    return f"(?:{'|'.join(_whole(form.split()) for form in forms)})" if words.strip() else r"(?!)"


def occurrences(text: str, words: str) -> list[tuple[int, int]]:
    """Where words stand in a text.

    Args:
        text: The text.
        words: One word, or several. Case does not count.

    Returns:
        The first character of each place, and the one after the last.
    """
    return [found.span() for found in re.finditer(pattern(words), text, re.IGNORECASE)]


def _whole(parts: list[str]) -> str:
    first, last = parts[0][0], parts[-1][-1]
    before = rf"(?<!{_IN_WORD})(?<!{_ACCENT})" if _ends_at_spaces(first) else ""
    after = rf"(?!{_IN_WORD}|{_ACCENT})" if _ends_at_spaces(last) else ""
    return before + r"\s+".join(map(re.escape, parts)) + after


def _ends_at_spaces(character: str) -> bool:
    return bool(combining(character) or re.match(_IN_WORD, character))
