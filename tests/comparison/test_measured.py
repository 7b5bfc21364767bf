"""What `workbench methods` says of each method: from a run."""

import pytest

from tests.comparison.small import comparison, two_methods
from tests.evaluation.small import Brightness
from workbench.comparison.compare import compare
from workbench.comparison.measured import FIELDS, measured, read_measured, write_measured
from workbench.comparison.plan import ComparisonFile, MethodEntry, read_comparison
from workbench.conditions import RECONSTRUCTED
from workbench.erasure import METHODS
from workbench.evaluation.tables import pooled_metrics
from workbench.toy import all_methods, path

OF = {"ItD": "itd", "UCE": "uce"}


@pytest.fixture(scope="module")
def run(tiny_sd1, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    plan = comparison(two_methods(tiny_sd1, folder / "sae"))
    return compare(tiny_sd1, plan, Brightness(0.4), folder / "run", steps=2)


def test_rates_are_those_over_all_concepts(run):
    rows = {row["condition"]: row for row in measured(run, OF)}
    table = pooled_metrics(run).set_index(["condition", "metric"])
    assert rows["UCE"]["method"] == "uce" and rows["unedited"]["method"] == rows["no-op"]["method"] == ""
    assert rows["UCE"]["efficacy"] == table.loc[("UCE", "efficacy"), ["value", "low", "high", "n"]].to_dict()
    assert rows["UCE"]["implied_efficacy"] is None, "no prompt implies anything here"


def test_the_file_comes_back_and_names_its_model(run, tiny_sd1, tmp_path):
    entries = {name: MethodEntry(method=method) for name, method in OF.items()}
    plan = ComparisonFile(question="", model="toy", concepts=("fox", "cat"), methods=entries)
    write_measured(run, plan, tmp_path / "methods.json")
    found = read_measured(tmp_path)
    assert set(found) == set(FIELDS) and found["fingerprint"] == tiny_sd1.fingerprint
    assert found["rows"] == measured(run, OF) and found["concepts"] == ["fox", "cat"]
    assert read_measured(tmp_path / "none")["rows"] == []


def test_the_shipped_comparison_has_every_method_that_erases_what_prompts_ask_for():
    plan = read_comparison(all_methods())
    assert {entry.method for entry in plan.methods.values()} == set(METHODS) - {"uce_debias", "geom_erasing", "ear"}


def test_figures_that_are_shipped_are_of_the_shipped_model_and_comparison():
    """There are none while the table is not made again on new weights: figures of other weights are never shown."""
    found, plan = read_measured(path().parent), read_comparison(all_methods())
    import workbench as wb

    assert found["fingerprint"] == (wb.load("toy").fingerprint if found["rows"] else "")
    shown = {row["condition"].replace(f" {RECONSTRUCTED}", "") for row in found["rows"]}
    assert not found["rows"] or set(plan.methods) <= shown
