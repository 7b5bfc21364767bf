"""What no edit may hold: numbers that are not numbers, tensors of nothing, settings that JSON cannot say."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from saes.errors import WorkbenchError


def check_tensors(tensors: Mapping[str, Tensor], whose: str) -> None:
    """Refuses tensors that no edit may hold.

    Args:
        tensors: By name.
        whose: The edit, as the subject of the sentence.

    Raises:
        WorkbenchError: One is empty, or holds NaN or infinity; the first is named.
    """
    for name, tensor in tensors.items():
        if not tensor.numel():
            raise WorkbenchError(f"{whose} has an empty tensor {name!r}.", "Leave out what changes nothing.")
        if not _is_finite(tensor):
            raise WorkbenchError(
                f"{whose} holds numbers that are not finite, in its tensor {name!r}.",
                "Fit it again; a training that diverged needs a lower learning rate.",
            )


def check_settings(settings: Any, whose: str) -> None:
    """Refuses settings that JSON has no word for.

    Args:
        settings: By name.
        whose: The edit, as the subject of the sentence.

    Raises:
        WorkbenchError: They are no mapping, or one is NaN, infinite, or of a type that JSON does not know; the first is
            named.
    """
    if not isinstance(settings, Mapping):
        raise WorkbenchError(f"The settings of {whose} are no mapping.", "Give a value for each name.")
    _check_json(settings, (), whose)


def _is_finite(tensor: Tensor) -> bool:
    if tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    return all(math.isfinite(bound) for bound in tensor.detach().aminmax())


def _check_json(value: Any, path: tuple[str, ...], whose: str) -> None:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if not isinstance(key, str):
                raise _unsaid(key, path, whose)
            _check_json(each, (*path, key), whose)
    elif isinstance(value, list | tuple):
        for each in value:
            _check_json(each, path, whose)
    elif not (value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))):
        raise _unsaid(value, path, whose)


def _unsaid(value: Any, path: tuple[str, ...], whose: str) -> WorkbenchError:
    return WorkbenchError(
        f"{whose} has the setting {'.'.join(path)} = {value!r} ({type(value).__name__}), which JSON cannot say.",
        "Give a finite number, text, true or false, nothing, or a list or mapping of these.",
    )
