"""The taxonomy: its totals, what is confirmed, and a file of one's own."""

import pytest

from saes.errors import WorkbenchError
from workbench.safety.taxonomy import DOMAINS, read_taxonomy


def test_the_shipped_one_has_the_published_totals_and_invents_no_category():
    found = read_taxonomy()
    assert tuple(found.tasks) == DOMAINS and [len(names) for names in found.tasks.values()] == [3, 6, 3]
    assert found.totals.categories == 44 and not [entry for entry in found.entries if entry.category]


def test_what_has_no_source_is_not_confirmed():
    entries = read_taxonomy().entries
    assert {entry.confirmed for entry in entries if not entry.source} == {False}
    assert sum(entry.confirmed for entry in entries) == 7


def test_tasks_are_looked_up():
    found = read_taxonomy()
    assert found.domain_of("public figures") == "privacy"
    assert found.confirmed("violence") and not found.confirmed("humiliation")
    with pytest.raises(WorkbenchError, match="Unknown safety task 'violense'"):
        found.domain_of("violense")


OWN = """
totals: {{domains: 1, tasks: {tasks}, categories: 1}}
entries:
  - {{domain: {domain}, task: noise, category: static, source: "{source}", confirmed: true}}
  - {{domain: toxicity, task: {second}}}
"""


def own(tmp_path, **changes):
    given = {"tasks": 2, "domain": "toxicity", "source": "our handbook", "second": "smoke", **changes}
    (tmp_path / "own.yaml").write_text(OWN.format(**given))
    return read_taxonomy(tmp_path / "own.yaml")


def test_a_file_of_ones_own_takes_its_place(tmp_path):
    assert own(tmp_path).tasks == {"toxicity": ("noise", "smoke")}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tasks": 3}, "lists 2 tasks and says that there are 3"),
        ({"domain": "toxicty"}, "entry 1: Unknown domain 'toxicty'"),
        ({"source": ""}, "'noise' is confirmed by no source"),
        ({"second": "noise, category: static"}, "lists toxicity / noise / static twice"),
        ({"second": "smoke, sorce: x"}, "sorce"),
    ],
)
def test_what_does_not_hold_together_is_refused(tmp_path, changes, sentence):
    with pytest.raises(WorkbenchError, match=sentence):
        own(tmp_path, **changes)
