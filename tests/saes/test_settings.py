"""Configurations are read strictly: an unknown key is an error that names the nearest one, and types are checked."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
from pydantic import Field

from saes.config import StrictConfig
from saes.errors import WorkbenchError
from saes.settings import build


@dataclass(frozen=True, kw_only=True)
class Method:
    strength: float = -2.0
    words: tuple[str, ...] = ()
    mode: Literal["hard", "soft"] = "hard"
    paper: ClassVar[str] = "arXiv:0"


class Training(StrictConfig):
    k: int = Field(gt=0)
    lr: float = 1.0
    inner: "Training | None" = None


def test_values_become_the_types_of_the_fields():
    made = build(Method, {"strength": "-3", "words": ["a", "b"]}, "a.yaml")
    assert made == Method(strength=-3.0, words=("a", "b"))
    assert build(Training, {"k": 4}, "a.yaml").k == 4


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (Method, {"strenght": 1}, r"a\.yaml: Unknown key 'strenght'. Did you mean 'strength'\?"),
        (Method, {"paper": "x"}, "Unknown key 'paper'"),  # a class variable is no setting
        (Method, {"strength": "much"}, r"a\.yaml: strength: .*number"),
        (Method, {"strength": float("nan")}, r"a\.yaml: strength is not finite"),
        (Method, {"strength": "inf"}, "strength is not finite"),
        (Method, {"mode": "medium"}, "mode: .*'hard' or 'soft'"),
        (Training, {"k": 0}, "k: .*greater than 0"),
        (Training, {"k": 1, "lr": float("inf")}, "lr: .*finite number"),
        (Training, {"k": 1, "inner": {"kk": 1}}, r"a\.yaml: inner\.kk: there is no such key"),
        (Training, {"k": 1, "inner": {"k": 0}}, r"a\.yaml: inner\.k: .*greater than 0\. It is 0; correct it"),
        (Training, {}, "k: is missing"),
        (Training, [1], r"a\.yaml should hold a mapping"),
        (Training, {"kk": 1}, "Did you mean 'k'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(kind, values, says):
    with pytest.raises(WorkbenchError, match=says):
        build(kind, values, "a.yaml")


def test_in_python_the_same_is_refused_without_a_file_to_blame():
    with pytest.raises(WorkbenchError, match=r"^Unknown key 'kk'\. Did you mean 'k'"):
        Training(kk=1)
    with pytest.raises(WorkbenchError, match=r"^k: Input should be greater than 0\. It is 0; correct it"):
        Training(k=0)
    with pytest.raises(WorkbenchError, match="Use this one"):
        build(Training, {"k": 0}, "run.json", "Use this one.")
