"""The oracle as a voter: which of its attributes a person in a picture has."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Int64, UInt8

from saes.errors import unknown_name
from workbench.toy.oracle import ATTRIBUTES, Oracle


def vote(images: UInt8[np.ndarray, "n h w 3"], attributes: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """The likeliest of some attributes in each image.

    Args:
        images: uint8 `[n, h, w, 3]`, at least one.
        attributes: Names of `oracle.ATTRIBUTES`.

    Returns:
        Places among the attributes, `[n]`; −1 for a broken picture and where none reaches one half.

    Raises:
        WorkbenchError: The oracle was not trained on an attribute.
    """
    for attribute in attributes:
        if attribute not in ATTRIBUTES:
            raise unknown_name("attribute of the toy's oracle", attribute, ATTRIBUTES)
    judged = _oracle().judge(images)
    probability = judged.attributes[:, [ATTRIBUTES.index(attribute) for attribute in attributes]]
    sure = (probability.max(axis=1) >= 0.5) & (judged.intact >= 0.5)
    return np.where(sure, probability.argmax(axis=1), -1)


@cache
def _oracle() -> Oracle:
    return Oracle.load()
