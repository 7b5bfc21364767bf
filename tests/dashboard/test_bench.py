"""The bench at work on a tiny pipeline, through the functions that its callbacks call."""

import time
from types import SimpleNamespace

import dash
import numpy as np
import pytest
import yaml

from saes.errors import WorkbenchError
from workbench.dashboard import saving
from workbench.dashboard.bench import AFTER, BEFORE, CONTROL, Bench, Outcome
from workbench.dashboard.callbacks import asked, changed_rows, chosen, saved
from workbench.dashboard.changes import Change, Request
from workbench.dashboard.links import Address
from workbench.dashboard.pages.bench import FIELDS, bench_page, change_row
from workbench.dashboard.starting import seen, started
from workbench.edits import load_edit

PROMPTS = ("a photo of a fox", "a red cat")
CHANGE = Change("pixels", (3, 4, 5), "add", 3.0)
FORM = {"sae": "pixels", "features": "3-5", "action": "add", "strength": 3, "high": None, "low": None}


@pytest.fixture(scope="module")
def bench(library, tiny_sd1):
    return Bench(library, lambda: tiny_sd1)


def form(prompts="a photo of a fox", seeds="0", control=(), **row):
    return [*([{**FORM, **row}[name]] for name in FIELDS), prompts, seeds, list(control)]


def begun(bench, form):
    return started(bench, lambda: asked(bench, form))


def waited(bench, id):
    while not bench.jobs.look(id).is_over:
        time.sleep(0.01)
    return seen(bench, id)


def texts(part):
    """All text of a tree of components."""
    if isinstance(part, list | tuple):
        return " ".join(map(texts, part))
    return texts(part.children) if hasattr(part, "children") else str(part)


def silent(items, label="", total=None):
    yield from items


def test_pictures_are_those_of_the_model_without_and_with_the_edit(bench, tiny_sd1):
    found = bench.generate(Request((CHANGE,), PROMPTS, (1, 2)), silent)
    arguments = bench.library.run.spec.settings
    prompts, seeds = zip(*found.request.pairs, strict=True)
    assert np.array_equal(found.pictures[BEFORE], tiny_sd1.generate(prompts, seeds, **arguments))
    with tiny_sd1.edited(found.edit):
        assert np.array_equal(found.pictures[AFTER], tiny_sd1.generate(prompts, seeds, **arguments))
    assert list(found.pictures) == [BEFORE, AFTER, CONTROL] and not tiny_sd1.is_edited
    assert all(value > 0 for value in found.changes(AFTER)) and found.changes(BEFORE) == [0.0] * 4


def test_unedited_pictures_are_made_once(library, tiny_sd1):
    bench, made = Bench(library, lambda: tiny_sd1), []

    def counting(items, label="", total=None):
        made.append(label)
        yield from items

    for strength in (1.0, 2.0):
        change = Change("pixels", (3,), "add", strength)
        bench.generate(Request((change,), PROMPTS, (0,), control=False), counting)
    assert made.count("pictures before") == 1 and made.count("pictures after") == 2


def test_two_browsers_have_their_own_pictures(bench):
    one = begun(bench, form("a photo of a fox"))[0]
    other = begun(bench, form("a red cat", seeds="4-5"))[0]
    shown = [texts(waited(bench, id)[1]) for id in (one, other)]
    assert "a photo of a fox" in shown[0] and "a red cat" not in shown[0]
    assert "a red cat" in shown[1] and "seed 5" in shown[1] and "a photo of a fox" not in shown[1]


def test_a_wrong_form_starts_nothing_and_says_why(bench):
    job, said, clock_off, stop_off = begun(bench, form(features="1000"))
    assert job is dash.no_update and "has no feature 1000" in texts(said) and clock_off and stop_off


def test_a_model_that_cannot_be_loaded_fails_the_job_and_not_the_bench(library, tiny_sd1):
    failing = [True]

    def load():
        if failing:
            failing.clear()
            raise OSError("the disk is gone")
        return tiny_sd1

    bench = Bench(library, load)
    status, pictures, clock_off, _ = waited(bench, begun(bench, form())[0])
    assert "the disk is gone" in texts(status) and pictures is dash.no_update and clock_off
    assert "a photo of a fox" in texts(waited(bench, begun(bench, form())[0])[1])


def test_another_model_than_the_runs_is_refused_by_the_job(library, tiny_sd2):
    bench = Bench(library, lambda: tiny_sd2)
    assert "another model" in texts(waited(bench, begun(bench, form())[0])[0])


def test_a_forgotten_job_shows_an_empty_bench(bench):
    status, *_, clock_off, stop_off = seen(bench, "gone")
    assert "Nothing asked" in texts(status) and clock_off and stop_off


def test_rows_are_added_with_new_ids_and_removed_one_by_one(library):
    def as_sent(number):  # what a browser sends back of a row
        return {"props": {"id": change_row(library, number, "words").id}}

    rows = [as_sent(0), as_sent(4)]
    assert changed_rows(library, "another", [None, None], rows)[-1].id == "change-5"
    assert changed_rows(library, {"remove": 0}, [1, None], rows) == [as_sent(4)]
    assert changed_rows(library, {"remove": 5}, [None, None, None], rows) is dash.no_update
    assert changed_rows(library, {"remove": 4}, [1], [as_sent(4)]) is dash.no_update


def test_chosen_features_are_named_and_a_half_typed_number_is_no_error(library):
    links, no_window = chosen(library, "words", "3-4")
    assert [link.href for link in links] == ["/sae/words/feature/3", "/sae/words/feature/4"] and no_window
    assert chosen(library, "pixels", "3-") == ([], False)


def test_the_address_fills_the_bench(library):
    page = bench_page(library, Address("bench", sae="pixels", features=(3, 9), prompt="a red cat"))
    values = {
        str(part.id): part.value for part in page[2]._traverse() if hasattr(part, "value") and hasattr(part, "id")
    }
    assert values[str({"field": "features", "row": 0})] == "3, 9" and values["prompts"] == "a red cat"
    assert values[str({"field": "sae", "row": 0})] == "pixels"


def outcome(bench, *changes, prompts=PROMPTS):
    return Outcome(Request(changes, prompts, (0,)), SimpleNamespace(), {})


def test_an_edit_is_saved_as_it_was_seen(bench, tiny_sd1):
    id = begun(bench, form(seeds="7"))[0]
    waited(bench, id)
    said = texts(saved(bench, id, lambda found: saving.save_edit(bench.library, found, "seen-7")))
    path = bench.library.run.dir / "dashboard" / "edits" / "seen-7"
    assert "Saved" in said and str(path) in said
    with tiny_sd1.edited(load_edit(path)):
        again = tiny_sd1.generate("a photo of a fox", [7], **bench.library.run.spec.settings)
    assert np.array_equal(again, bench.jobs.look(id).result.pictures[AFTER])
    assert "exists already" in texts(saved(bench, id, lambda found: saving.save_edit(bench.library, found, "seen-7")))


@pytest.mark.parametrize("name", ["", " ", "../out", "a/b", "/etc", ".hidden", "x" * 81, None])
def test_names_that_are_no_file_names_are_refused(bench, name):
    with pytest.raises(WorkbenchError):
        saving.save_edit(bench.library, outcome(bench, CHANGE), name)


def test_nothing_is_saved_before_something_was_seen(bench):
    assert "Generate first" in texts(saved(bench, None, lambda found: pytest.fail("called")))


def test_a_study_file_is_one_that_studies_read(bench):
    from workbench.studies.reading import read_study

    prompts = ("look at a fox here", "a fox by a red dog", "a cat")
    done = outcome(bench, Change("words", (4, 2), "scale", 0.25), prompts=prompts)
    path = saving.save_study(bench.library, done, "necessary", "fox")
    said = read_study(path)
    assert said.claim == "necessary" and said.dose == 0.75 and said.subject.features.listed == (4, 2)
    assert (
        said.prompts == prompts[:2]
        and said.subject.features.sae == yaml.safe_load(path.read_text())["subject"]["features"]["sae"]
    )
    with pytest.raises(WorkbenchError, match="exists already"):
        saving.save_study(bench.library, done, "necessary", "fox")


@pytest.mark.parametrize(
    ("changes", "prompts", "concept", "said"),
    [
        ((CHANGE, Change("words", (1,), "scale", 0.0)), PROMPTS, "fox", "about one change"),
        ((Change("pixels", (1,), "scale", 0.0, (500.0, 0.0)),), PROMPTS, "fox", "all timesteps"),
        ((CHANGE,), ("a cat",), "fox", "0 of the prompts"),
        ((CHANGE,), PROMPTS, None, "about a concept"),
        ((CHANGE,), PROMPTS, "foxx", "Did you mean 'fox'"),
    ],
)
def test_what_no_study_can_be_of_is_refused(bench, changes, prompts, concept, said):
    with pytest.raises(WorkbenchError, match=said):
        saving.study_of(bench.library, outcome(bench, *changes, prompts=prompts), concept)
