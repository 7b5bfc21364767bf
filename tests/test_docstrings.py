"""Whoever asks `help()` of a public name reads what goes in, what comes out and what is refused."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = [
    "saes",
    "probes",
    *(
        f"workbench/{name}"
        for name in ("comparison", "dashboard", "detectors", "edits", "figures", "fitting", "reports", "safety")
    ),
]
TOY = (
    "__init__",
    "checks",
    "onlooker",
    "oracle",
    "relatives",
    "segmentation",
    "suites",
    "transfer",
    "vocabulary",
    "voting",
)
FILES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
FILES += [ROOT / f"workbench/toy/{name}.py" for name in TOY]  # of the others: how things are drawn, and the recipe
Function = ast.FunctionDef


def public(body: list[ast.stmt]) -> list[ast.stmt]:
    return [node for node in body if not getattr(node, "name", "_").startswith("_")]


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """All public functions, and the public methods of public classes, by their names."""
    for node in public(tree.body):
        if isinstance(node, Function):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", each) for name, each in methods(node).items())


def methods(kind: ast.ClassDef) -> dict[str, Function]:
    return {each.name: each for each in public(kind.body) if isinstance(each, Function)}


@cache
def promised(package: Path) -> dict[str, set[str]]:
    """Method → the protocols and abstract bases of a package that say all about it. Whoever keeps the promise says what
    is particular to it, in a sentence."""
    found: dict[str, set[str]] = {}
    for tree in (ast.parse(path.read_text()) for path in package.rglob("*.py")):
        for kind in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            if {"Protocol", "ABC"} & {ast.unparse(base).partition("[")[0] for base in kind.bases}:
                for name in (name for name, method in methods(kind).items() if not lacking(method)):
                    found.setdefault(name, set()).add(kind.name)
    return found


def is_promised(path: Path, name: str) -> bool:
    kind, _, method = name.rpartition(".")
    return bool(kind) and bool(promised(path.parent).get(method, set()) - {kind})


def section(doc: str, *heads: str) -> str:
    """What stands below one of the headings, up to the next one; "" if none is there."""
    lines = doc.splitlines()
    starts = [number for number, line in enumerate(lines) if line.strip() in heads]
    if not starts:
        return ""
    rest = lines[starts[0] + 1 :]
    stop = next((number for number, line in enumerate(rest) if line and not line.startswith(" ")), len(rest))
    return "\n".join(rest[:stop])


def lacking(function: Function, *, bare: bool = False) -> list[str]:
    """What the docstring of a function does not say. A property says in a sentence what it is, an overload nothing;
    `bare` asks for a sentence alone."""
    doc = ast.get_docstring(function) or ""
    kinds = {getattr(each, "id", getattr(each, "attr", "")) for each in function.decorator_list}
    if "overload" in kinds:
        return []
    if not doc:
        return ["a docstring"]
    if bare or kinds & {"property", "cached_property"}:
        return []
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    extra = [each for each in (function.args.vararg, function.args.kwarg) if each]
    names = [each.arg for each in (*every, *extra) if each.arg not in ("self", "cls", "ctx")]
    args = section(doc, "Args:")
    lacks = [f"Args: {name}" for name in names if f"{name}:" not in args]
    returns = ast.unparse(function.returns) if function.returns else "None"
    if returns not in ("None", "NoReturn", "Iterator[None]") and not section(doc, "Returns:", "Yields:"):
        lacks.append("Returns")
    if "raise " in ast.unparse(function) and not section(doc, "Raises:"):
        lacks.append("Raises")
    return lacks


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT).with_suffix("")))
def test_every_public_function_says_what_it_takes_gives_and_refuses(path):
    lacks = {
        name: missing
        for name, node in functions(ast.parse(path.read_text()))
        if (missing := lacking(node, bare=is_promised(path, name)))
    }
    assert not lacks, "\n".join(f"{name}: {', '.join(missing)}" for name, missing in lacks.items())


def test_who_keeps_a_promise_says_only_what_is_particular():
    edits = ROOT / "workbench/edits/weight.py"
    assert is_promised(edits, "WeightEdit.no_op") and not is_promised(edits, "WeightEdit.scaled")
    assert not is_promised(edits.with_name("edit.py"), "Edit.no_op"), "the promise itself is told in full"


def test_what_is_missing_is_found():
    def of(text):
        return lacking(ast.parse(text).body[0])

    assert of("def f(): ...") == ["a docstring"]
    assert of('def f(a, *, b):\n    """Does.\n\n    Args:\n        a: one."""') == ["Args: b"]
    assert of('def f() -> int:\n    """Does."""') == ["Returns"]
    assert of('def f():\n    """Does."""\n    raise error') == ["Raises"]
    assert of('def f(a) -> int:\n    """Does.\n\n    Args:\n        a: one.\n\n    Returns:\n        Two."""') == []
