"""What is not its authors' method is marked wherever it is named, by one property of the method."""

import re
from pathlib import Path

import pytest

from workbench.conditions import RECONSTRUCTED, marked
from workbench.erasure import METHODS, find_method, named_in, reconstruction, shown

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def spellings(name):
    """Of a method in a table: its name in METHODS, its class, and the class in words."""
    written = find_method(name).__name__
    return {name, written.casefold(), re.sub(r"(?<=[a-z])(?=[A-Z])", " ", written).casefold(), name.replace("_", "-")}


def test_those_without_public_code_or_settings_say_so():
    assert {name for name in METHODS if reconstruction(name)} == {"realera", "all_but_one", "geom_erasing"}
    for name in ("realera", "all_but_one", "geom_erasing"):
        assert "no code is public" in reconstruction(name)
        assert f"A reconstruction: {reconstruction(name)}." in find_method(name).__doc__
    assert reconstruction("uce") == "" and "A reconstruction" not in find_method("uce").__doc__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_of_a_documents_table_is_marked_as_the_method_is(page):
    for line in page.read_text(encoding="utf-8").splitlines():
        first = re.sub(r"[`*]|\(.*?\)", "", line.split("|")[1]).strip().casefold() if line.startswith("|") else ""
        for name in METHODS:
            if first in spellings(name):
                assert ("(reconstructed" in line) == bool(reconstruction(name)), line


def test_the_mark_stands_once_and_before_a_strength():
    assert marked("RealEra") == marked(marked("RealEra")) == f"RealEra {RECONSTRUCTED}"
    assert marked("all-but-one @ 30") == f"all-but-one {RECONSTRUCTED} @ 30"


def test_what_edits_call_their_methods_is_marked_part_by_part():
    assert shown("realera") == f"realera {RECONSTRUCTED}" and shown("uce") == "uce"
    assert shown("uce + all_but_one") == f"uce + all_but_one {RECONSTRUCTED}"
    assert shown("random directions like realera") == "random directions like realera"
    assert named_in(["uce + itd", "uce", "no-op"]) == ["uce", "itd"]
