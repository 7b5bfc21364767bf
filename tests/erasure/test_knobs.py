"""The settings of methods, explained where people choose them."""

import re
from dataclasses import dataclass, field
from typing import Literal

import pytest

from workbench.erasure import METHODS, find_method
from workbench.erasure.knobs import Knob, knobs
from workbench.erasure.uce import UCE


@dataclass(frozen=True, kw_only=True)
class Example:
    """A class whose docstring says: lr: float = 9.0  # not this one."""

    lr: float = 1e-5  # how fast; the paper's 1e-5
    rank: int | None = None  # None: the width
    mode: Literal["a", "b"] = "a"  # which # of both
    words: tuple[str, ...] = ("woman", "man")  # all of them
    start: UCE = field(default_factory=UCE)  # where it begins
    folder: str = ""  # of pictures
    fast: bool = False
    # said above
    above: float = 1.0


def test_a_setting_has_its_type_its_default_in_yaml_and_the_comment_beside_it():
    assert knobs(Example) == [
        Knob("lr", "float", "1e-05", "how fast; the paper's 1e-5"),
        Knob("rank", "int | null", "null", "None: the width"),
        Knob("mode", "a | b", "a", "which # of both"),
        Knob("words", "list of text", "[woman, man]", "all of them"),
        Knob("start", "UCE", "its own", "where it begins"),
        Knob("folder", "text", '""', "of pictures"),
        Knob("fast", "true | false", "false", ""),
        Knob("above", "float", "1.0", "said above"),
    ]


def explains(line):
    """Whether there is a word beside a paper's letters."""
    return re.search(r"[^\W\d_]{3}", line) is not None


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_every_method_has_a_line_that_explains_it(method):
    assert [knob.setting for knob in knobs(find_method(method)) if not explains(knob.what)] == []


def test_a_letter_or_nothing_explains_nothing():
    assert not any(map(explains, ("", "λ", "s_e", "(1) | (2)", "κ > 0")))
    assert explains("λ: damping")
