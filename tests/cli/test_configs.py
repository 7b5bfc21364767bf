"""Settings are read strictly: an unknown key is an error that names the nearest one, and types are checked."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from saes.errors import WorkbenchError
from workbench.configs import build, read_pairs


@dataclass(frozen=True, kw_only=True)
class Method:
    strength: float = -2.0
    words: tuple[str, ...] = ()
    mode: Literal["hard", "soft"] = "hard"
    paper: ClassVar[str] = "arXiv:0"


class Training(BaseModel):
    model_config = ConfigDict(extra="forbid")
    k: int = Field(gt=0)


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
        (Method, {"mode": "medium"}, "mode: .*'hard' or 'soft'"),
        (Training, {"k": 0}, "k: .*greater than 0"),
        (Training, {}, "k: Field required"),
        (Training, {"kk": 1}, "Did you mean 'k'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(kind, values, says):
    with pytest.raises(WorkbenchError, match=says):
        build(kind, values, "a.yaml")


def test_pairs_are_read_as_yaml_values():
    pairs = ["k=32", "lr=1e-3", "rate=0.5", "on=true", "names=[a, b]", "path=out/a=b", "none=null"]
    read = read_pairs(pairs, "--set")
    assert read["k"] == 32 and read["rate"] == 0.5 and read["on"] is True and read["names"] == ["a", "b"]
    assert read["path"] == "out/a=b" and read["none"] is None
    assert float(read["lr"]) == 1e-3  # YAML 1.1 takes it for text; the field's type makes a number of it
    assert read_pairs(["words=a: b: c"], "--set") == {"words": "a: b: c"}  # no YAML, so the text itself
    with pytest.raises(WorkbenchError, match="'k' has no value"):
        read_pairs(["k"], "--set")
    with pytest.raises(WorkbenchError, match="--set prune has yes without quotes"):
        read_pairs(["prune=yes"], "--set")
