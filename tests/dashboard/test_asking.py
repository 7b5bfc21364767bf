"""The forms of a prompt, of a picture and of two edits: what they answer, and what they refuse before any work."""

import base64
import io
import time
from html import unescape

import dash
import numpy as np
import pytest
from PIL import Image

from saes.errors import WorkbenchError
from tests.dashboard.test_pages import shown as page_of
from workbench.dashboard.asking import edits_asked, picture_asked, saes_at, words_asked
from workbench.dashboard.bench import BEFORE, Bench
from workbench.dashboard.known_edits import known_edits
from workbench.dashboard.markup import markup
from workbench.dashboard.starting import seen, shown, started
from workbench.dashboard.uploads import read_picture
from workbench.edits.interventions import ablation


@pytest.fixture(scope="module")
def bench(library, tiny_sd1):
    return Bench(library, lambda: tiny_sd1)


@pytest.fixture(scope="module")
def saved(library, tiny_sd1):
    """An edit that was saved from the bench, beside the run's own."""
    path = library.run.dir / "dashboard" / "edits" / "a-second"
    if not path.exists():
        ablation(tiny_sd1, library.cache("words").source.folder, [3, 4]).save(path)
    return "saved: a-second"


def silent(items, label="", total=None):
    yield from items


def sent(size=(40, 20), format="PNG", colour=(200, 30, 30)):
    """A file as a browser sends it."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, format=format)
    return f"data:image/{format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def html(bench, result):
    return markup(shown(bench.library, result), lambda href: href)


def test_a_prompt_gives_a_table_of_its_words_and_named_features(bench):
    result = words_asked(bench, "words", " a red fox ")(silent)
    text = html(bench, result)
    assert result.prompt == "a red fox" and text.count("<tr>") == len(result.found.features) + 1
    for word in bench.model.tokens("a red fox")[0].words[1:-1]:
        assert f">{word}</th>" in text
    assert "⟨end⟩" in text and "⟨start⟩" not in text, "what is equal in every prompt is left out"
    for feature in result.found.features:
        assert f'href="/sae/words/feature/{feature}"' in text
    assert f">{result.found.values.max():.2f}</td>" in text and "rgb(143,29,29)" in text  # the largest is the darkest


def test_a_picture_gives_a_map_for_each_feature_beside_what_the_model_saw(bench):
    result = picture_asked(bench, "pixels", sent(), 200, "", "0")(silent)
    text = html(bench, result)
    assert text.count("data:image") == 2 + len(result.found.features) and "what the model saw" in text
    noisy = picture_asked(bench, "pixels", sent(), 900, "", "0")(silent)
    assert result.image.shape == (bench.model.image_size,) * 2 + (3,)
    assert not np.array_equal(result.found.seen, noisy.found.seen)


def test_two_edits_are_made_at_equal_prompts_and_seeds(bench, saved):
    names = list(known_edits(bench.library.run))
    assert names[0] == "ablation" and saved in names
    result = edits_asked(bench, "ablation", saved, "a red fox\na cat", "0-1")(silent)
    assert list(result.pictures) == [BEFORE, "ablation", saved]
    assert [len(own) for own in result.pictures.values()] == [4, 4, 4]
    from workbench.edits import load_edit

    with bench.model.edited(load_edit(known_edits(bench.library.run)[saved])):
        again = bench.model.generate("a cat", [1], **bench.library.run.spec.settings)
    assert np.array_equal(result.pictures[saved][3], again[0])
    text = html(bench, result)
    assert text.count("<img") == 12 and text.count("moved by") == 2 and "seed 1" in text


def test_a_form_starts_a_job_and_its_result_is_shown(bench):
    job, *_ = started(bench, lambda: words_asked(bench, "words", "a fox"))
    while not bench.jobs.look(job).is_over:
        time.sleep(0.01)
    status, result, clock_off, _ = seen(bench, job)
    assert status == [] and clock_off and "strongest features of words" in markup(result, str)


@pytest.mark.parametrize(
    ("asked", "form", "said"),
    [
        (words_asked, ("words", " "), "no prompt"),
        (words_asked, ("wrds", "a fox"), "Did you mean 'words'"),
        (words_asked, ("pixels", "a fox"), "No prompt passes"),
        (picture_asked, ("words", sent(), 200, "", "0"), "No picture passes"),
        (picture_asked, ("pixels", None, 200, "", "0"), "no picture"),
        (picture_asked, ("pixels", "data:image/png;base64,AAAA", 200, "", "0"), "can be read"),
        (picture_asked, ("pixels", "data:image/png;base64,%%%", 200, "", "0"), "can be read"),
        (picture_asked, ("pixels", sent(format="GIF"), 200, "", "0"), "can be read"),
        (picture_asked, ("pixels", sent(), None, "", "0"), "no timestep"),
        (picture_asked, ("pixels", sent(), 200, "", "0-3"), "4 seeds"),
        (edits_asked, ("ablation", "ablation", "a fox", "0"), "both sides"),
        (edits_asked, ("ablation", None, "a fox", "0"), "edit"),
        (edits_asked, ("ablation", "saved: a-second", "", "0"), "no prompt"),
        (edits_asked, ("ablation", "saved: a-second", "a fox", "0-999"), "1000 pictures are too many"),
    ],
)
def test_a_wrong_form_is_refused_before_any_work(library, saved, asked, form, said):
    def never():
        raise AssertionError("no model is loaded")

    job, text, *_ = started(Bench(library, never), lambda: asked(Bench(library, never), *form))
    assert job is dash.no_update and said in unescape(markup(text, str))


def test_the_middle_square_of_a_picture_is_taken_at_the_models_size():
    file = io.BytesIO()
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(file, format="PNG")
    found = read_picture(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", 20)
    assert found.shape == (20, 20, 3) and found[:, 2:-2].min() > 240
    with pytest.raises(WorkbenchError, match="Make it smaller"):
        read_picture(sent((8000, 6000)), 8)


def test_the_pages_offer_what_there_is(library, saved):
    assert saes_at(library, words=True) == ["words"] and saes_at(library, words=False) == ["pixels"]
    for link, title in (("/words", "Words"), ("/picture", "Picture"), ("/edits", "Edits")):
        assert f"<h1>{title}</h1>" in page_of(library, link)
    assert "a red cat" in page_of(library, "/words?prompt=a+red+cat")
