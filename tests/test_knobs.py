"""Knobs are said once and shown wherever people choose them."""

import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.settings import build
from workbench.erasure import METHODS, find_method
from workbench.erasure.uce import UCE
from workbench.knobs import Knob, Knobs, Opens, knobs


def beside(value: str) -> list[Path]:
    return [Path(value), Path(value).with_suffix(".txt")]


@dataclass(frozen=True, kw_only=True)
class Example(Knobs):
    """What it is."""

    lr: Annotated[float, Gt(0), Doc("How fast.")] = 1e-5
    rank: Annotated[int | None, Ge(1), Doc("None: the width.")] = None
    share: Annotated[float, Ge(0), Lt(1), Doc("Of all")] = 0.5
    top: Annotated[float, Le(2), Doc("At most.")] = 1.0
    mode: Annotated[Literal["a", "b"], Doc("Which of both.")] = "a"
    words: Annotated[tuple[str, ...], Doc("All of them.")] = ("woman", "man")
    start: Annotated[UCE, Doc("Where it begins.")] = field(default_factory=UCE)
    picture: Annotated[str, Opens(beside), Doc("A file.")] = ""
    fast: Annotated[bool, Doc("Or not.")] = False
    needed: Annotated[int, Doc("Nothing is usual.")]

    kind: ClassVar[str] = "example"


KNOBS = [
    Knob("lr", "float > 0", "1e-05", "How fast."),
    Knob("rank", "int ≥ 1 | null", "null", "None: the width."),
    Knob("share", "float in [0, 1)", "0.5", "Of all"),
    Knob("top", "float ≤ 2", "1.0", "At most."),
    Knob("mode", "a | b", "a", "Which of both."),
    Knob("words", "list of text", "[woman, man]", "All of them."),
    Knob("start", "UCE", "its own", "Where it begins."),
    Knob("picture", "text", '""', "A file."),
    Knob("fast", "true | false", "false", "Or not."),
    Knob("needed", "int", "needed", "Nothing is usual."),
]


def test_a_setting_has_its_type_its_range_its_default_in_yaml_and_what_it_does():
    assert knobs(Example) == KNOBS


def test_the_docstring_lists_the_settings_and_the_signature_is_plain():
    summary, _, listed = (Example.__doc__ or "").partition("\n\nArgs:\n")
    assert summary == "What it is." and len(listed.splitlines()) == len(KNOBS)
    assert "    rank (int ≥ 1 | null): None: the width. Default: null." in listed
    assert "    share (float in [0, 1)): Of all. Default: 0.5." in listed
    assert listed.endswith("    needed (int): Nothing is usual.")
    shown = str(inspect.signature(Example))
    assert "Annotated" not in shown and "rank: int | None = None" in shown and "needed: int" in shown


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lr": 0.0}, "lr is 0.0. Choose: float > 0."),
        ({"lr": float("nan")}, "lr is nan. Choose: float > 0."),
        ({"lr": float("inf")}, "lr is inf. Choose: float > 0."),
        ({"lr": "fast"}, "lr is 'fast'. Choose: float > 0."),
        ({"rank": 0}, "rank is 0. Choose: int ≥ 1 | null."),
        ({"rank": True}, "rank is True. Choose: int ≥ 1 | null."),
        ({"share": 1}, r"share is 1. Choose: float in [0, 1)."),
        ({"top": 2.5}, "top is 2.5. Choose: float ≤ 2."),
        ({"mode": "c"}, "mode is 'c'. Choose: a | b."),
        ({"words": "woman"}, "words is 'woman'. Choose: list of text."),
        ({"start": {}}, "start is {}. Choose: UCE."),
        ({"picture": 3}, "picture is 3. Choose: text."),
        ({"fast": 1}, "fast is 1. Choose: true | false."),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(wrong, said):
    with pytest.raises(WorkbenchError, match=re.escape(said)):
        Example(needed=1, **wrong)


def test_lists_paths_and_whole_numbers_are_taken_as_what_they_stand_for():
    made = Example(needed=1, words=["a"], picture=Path("x.png"), share=0)  # type: ignore[arg-type]
    assert made.words == ("a",) and made.picture == "x.png" and isinstance(made.share, float)
    assert build(Example, {"needed": 1, "words": ["a"]}, "here").words == ("a",)
    with pytest.raises(WorkbenchError, match="greater than 0"):
        build(Example, {"needed": 1, "lr": 0}, "here")


def test_inputs_are_the_files_of_all_knobs_that_name_some():
    assert Example(needed=1, picture="x.png").inputs() == (Path("x.png"), Path("x.txt"))
    assert Example(needed=1).inputs() == ()


def explains(line):
    """Whether there is a word beside a paper's letters."""
    return re.search(r"[^\W\d_]{3}", line) is not None


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_every_method_is_explained_where_help_shows_it(method):
    kind = find_method(method)
    assert [knob.setting for knob in knobs(kind) if not explains(knob.what)] == []
    listed = (kind.__doc__ or "").partition("\n\nArgs:\n")[2]
    assert len(listed.splitlines()) == len(knobs(kind)) > 0


@pytest.mark.parametrize("method", METHODS)
def test_every_fit_says_what_it_takes_gives_and_refuses(method):
    said = inspect.getdoc(find_method(method).fit) or ""
    assert all(f"\n{head}:\n" in said for head in ("Args", "Returns", "Raises"))
    listed = said.partition("Args:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^    (\w+):", listed, flags=re.M) == ["model", "concepts", "seed", "progress"]


@pytest.mark.parametrize("method", METHODS)
def test_the_head_of_a_method_has_the_title_of_its_paper_and_no_foreign_document(method):
    kind = find_method(method)
    head = " ".join((inspect.getmodule(kind).__doc__ or "").split())
    if kind.paper is not None:
        title = kind.paper.title.removeprefix(f"{kind.__name__}: ")
        assert title.casefold() in head.casefold() and f"arXiv:{kind.paper.arxiv}" in head
    assert "sheet" not in head


def test_a_letter_or_nothing_explains_nothing():
    assert not any(map(explains, ("", "λ", "s_e", "(1) | (2)", "κ > 0")))
    assert explains("λ: damping")
