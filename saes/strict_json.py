"""JSON as the standard has it: finite numbers, whole characters, each key once."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from saes.errors import WorkbenchError


def to_json(value: Any, path: Path | str) -> str:
    """Indented JSON that ends with a line end.

    Args:
        value: mappings with text keys, lists, texts, finite numbers, booleans and None.
        path: the file that the error is about.

    Returns:
        The text; characters outside ASCII are left as they are.

    Raises:
        WorkbenchError: `value` holds NaN, infinity, or half a character.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError as error:
        raise half_character(path, error) from None
    except ValueError as error:
        if "JSON compliant" not in str(error):
            raise
        raise WorkbenchError(
            f"{path} would hold a number that is not finite.", "Look for NaN or infinity in what led to it."
        ) from None
    return f"{text}\n"


def from_json(text: str, path: Path | str) -> Any:
    """The value of a JSON text.

    Args:
        text: the content of a file.
        path: the file that the error is about.

    Returns:
        Mappings, lists, texts, finite numbers, booleans and None.

    Raises:
        WorkbenchError: `text` is no JSON, gives a key twice, or holds NaN, infinity or half a character.
    """
    try:
        value = json.loads(text, parse_constant=_refused, parse_float=_finite, object_pairs_hook=_without_repeats)
        if "\\u" in text:  # only an escape can be half a character: the file itself is UTF-8
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise half_character(path, error) from None
    except (ValueError, RecursionError) as error:
        raise WorkbenchError(f"{path} is not valid JSON ({error}).", "Make it again, or restore a copy.") from None
    return value


def half_character(where: Path | str, error: UnicodeEncodeError) -> WorkbenchError:
    """The error for a text with a lone surrogate, which no file can hold.

    Args:
        where: the file or the thing that holds the text.
        error: what `str.encode` raised.

    Returns:
        The error, for the caller to raise.
    """
    half = f"U+{ord(error.object[error.start]):04X}"
    return WorkbenchError(f"{where}: a text holds half a character ({half}).", "Take it out of the text.")


def _refused(number: str) -> NoReturn:
    raise ValueError(f"{number} is no finite number")


def _finite(number: str) -> float:
    return float(number) if math.isfinite(float(number)) else _refused(number)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
    return value
