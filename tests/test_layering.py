"""The shape of the code base: who imports whom, what stays light, how long files are, and what is never used.

The order inside `workbench` is read from docs/design/contracts.md, so that the page and the code cannot part.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("saes", "probes", "workbench")
HEAVY = {"torch", "diffusers", "transformers", "sae_lens", "pandas", "plotly", "sklearn"}
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
assert len(FILES) > 200, "the packages are where they are looked for"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(source: str) -> set[str]:
    """The full names of all that is imported anywhere in a file: `from a.b import c` gives a.b and a.b.c."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def layers() -> dict[str, int]:
    """Name → place in the order that contracts.md gives for `workbench`; names between two dots share a place."""
    text = (ROOT / "docs/design/contracts.md").read_text()
    line = re.search(r"inside `workbench` in the order\n(.+)\.\n", text)
    assert line, "contracts.md gives the order"
    return {name: place for place, group in enumerate(line[1].split("·")) for name in group.split()}


def offences(module: str, source: str, order: dict[str, int]) -> list[str]:
    """What a module imports and should not."""
    forbidden = {"saes": ("probes", "workbench", "diffusers"), "probes": ("workbench", "diffusers"), "workbench": ()}
    package, *below = module.split(".")
    found = [name for name in imports(source) if name.split(".")[0] in forbidden[package]]
    if package == "workbench" and below and below[0] != "__main__":
        named = [name.split(".")[1] for name in imports(source) if name.startswith("workbench.")]
        found += [name for name in named if order.get(name, -1) > order[below[0]]]
    return found


WORLDLY = ("workbench.toy", "workbench.demo", "workbench.cli")  # what may know the toy


def test_nothing_generic_imports_the_toy():
    """Whatever works on any model finds the toy's judge and voter by their names, as it finds those of others."""
    modules = {module_of(path): imports(path.read_text()) for path in FILES}
    knowing = [name for name, found in modules.items() if any(each.startswith("workbench.toy") for each in found)]
    assert len(knowing) > 10
    assert not [name for name in knowing if not name.startswith(WORLDLY)]


def test_imports_go_one_way():
    order = layers()
    found = {module_of(path): offences(module_of(path), path.read_text(), order) for path in FILES}
    assert not {module: names for module, names in found.items() if names}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("saes.store", "import diffusers"),
        ("saes.store", "def f():\n    from workbench.models import load"),
        ("probes.linear", "from workbench import models"),
        ("workbench.hooks.site", "from workbench.models import load"),
        ("workbench.edits.files", "import workbench.cli.main"),
    ],
)
def test_an_import_the_wrong_way_would_be_found(module, source):
    assert offences(module, source, layers())
    assert not offences(module, "import torch\nfrom saes.disk import read_json", layers())


def loaded_by(statement: str) -> set[str]:
    """The heavy packages that a fresh Python has loaded after the statement."""
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint('|', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.rpartition("|")[2].split())


@pytest.mark.parametrize(
    "statement",
    [
        "import workbench, saes, probes",
        "from workbench.cli.main import app; app(['--help'])",
        "from workbench.cli.main import app; app(['erase', '--help'])",
        "from workbench.erasure import METHODS",
    ],
)
def test_names_and_help_are_light(statement):
    assert loaded_by(statement) == set()


def test_the_light_import_test_can_fail():
    assert "torch" in loaded_by("import workbench; workbench.Site")


def test_the_table_of_methods_names_every_file_and_class():
    from importlib import import_module

    from workbench.erasure import METHODS

    homes = {name: home.split(":") for name, home in METHODS.items()}
    assert {home for home, _ in homes.values()} == {
        module_of(path)
        for path in (ROOT / "workbench/erasure").glob("*.py")
        if "\n    paper: ClassVar[" in path.read_text() and path.stem != "method"
    }
    for name, (home, kind) in homes.items():
        assert home.endswith(f".{name}") and getattr(import_module(home), kind).name == name


def test_no_file_is_too_long_to_read():
    lengths = {module_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert not {module: lines for module, lines in lengths.items() if lines > 400}


DANGEROUS = {
    "torch.load": r"\btorch\.load\(",
    "pickle": r"^\s*(import|from) (pickle|dill|cloudpickle|joblib)\b",
    "trust_remote_code": r"trust_remote_code\s*=\s*True",
    "annotations as text": r"^from __future__ import annotations",
    "unfinished": r"\bTODO\b|\bFIXME\b|NotImplementedError",
}


def dangers(source: str) -> list[str]:
    return [name for name, pattern in DANGEROUS.items() if re.search(pattern, source, re.MULTILINE)]


def test_nothing_dangerous_or_unfinished_is_used():
    found = {module_of(path): dangers(path.read_text()) for path in FILES}
    assert not {module: names for module, names in found.items() if names}


def test_the_patterns_find_what_they_are_for():
    for line in ("x = torch.load(path)", "import pickle", "f(trust_remote_code=True)", "    # TODO later"):
        assert dangers(line)
