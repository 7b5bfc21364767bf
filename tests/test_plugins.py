"""What names lead to, and what a file may name."""

import sys

import pytest

from saes.errors import WorkbenchError
from workbench.plugins import Table, declared

TABLE = Table("method", "workbench.methods", {"ours": "saes.errors:WorkbenchError"})


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Two packages on the path: `mine` declares its module `mine.method`, `other` declares nothing."""
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / name / "method.py").write_text("ANSWER = 42\nWORD = 'word'\n")
    (tmp_path / "mine" / "broken.py").write_text("import nowhere_to_be_found\n")
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[workbench.methods]\nmine = mine.method:ANSWER\nbroken = mine.broken:X\nnothing = mine.method:NO\n"
        "ours = mine.method:ANSWER\n[console_scripts]\nother = other.method:ANSWER\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mine", "other")]:
        del sys.modules[name]


def test_a_package_adds_names_and_takes_none_of_ours(installed):
    assert TABLE.find("mine") == 42
    assert TABLE.find("ours") is WorkbenchError
    assert "mine" not in Table("judge", "workbench.judges", {}).names()


@pytest.mark.parametrize(
    ("name", "said"), [("min", "'mine'"), ("broken", "cannot be imported"), ("nothing", "cannot be imported")]
)
def test_a_name_that_leads_nowhere_is_refused(installed, name, said):
    with pytest.raises(WorkbenchError, match=said):
        TABLE.find(name)


def test_a_file_may_name_what_is_ours_and_what_a_package_declares(installed):
    assert declared("mine.method:ANSWER", int, "number") == 42
    assert isinstance(declared("workbench.conditions:CONTROLS", tuple, "tuple"), tuple)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("other.method:ANSWER", "No installed package declares"),
        ("workbench_of_another:ANSWER", "No installed package declares"),
        ("os:system", "No installed package declares"),
        (":ANSWER", "No installed package declares"),
        ("itd", "is not named as module:object"),
        ("mine.method:ANSWERS", "Did you mean 'mine.method:ANSWER'"),
        ("mine.method:WORD", "Unknown number 'mine.method:WORD'"),
        ("workbench.nowhere:X", "cannot be imported"),
    ],
)
def test_a_file_may_name_nothing_else(installed, address, said):
    with pytest.raises(WorkbenchError, match=said):
        declared(address, int, "number")
    assert "other.method" not in sys.modules
