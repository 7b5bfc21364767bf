"""Which positions of an encoded prompt stand for a word."""

from collections.abc import Sequence

from saes.errors import WorkbenchError
from workbench.models import Model


def positions_of(model: Model, prompt: str, word: str) -> list[int]:
    """The rows of an encoded prompt that stand for a word, at all its places and for each of the model's tokenizers.

    Raises `WorkbenchError` if the prompt does not contain it.
    """
    if not word.strip():
        raise WorkbenchError("The word to look for is empty.", "Choose a word that the prompt contains.")
    found = model.architecture.word_positions(prompt, word)
    if not found:
        raise WorkbenchError(f"{word!r} is no word of {prompt!r}.", "Choose a word that the prompt contains.")
    return found


def words_of(words: str | Sequence[str], pictures: int) -> list[str]:
    """A word for each picture. Raises `WorkbenchError` for another number of them."""
    asked = [words] * pictures if isinstance(words, str) else list(words)
    if len(asked) != pictures:
        raise WorkbenchError(f"There are {len(asked)} words for {pictures} pictures.", "Give one, or one for each.")
    return asked
