"""A dashboard that opens at once: what is not there comes behind, by itself where that is quick."""

import shutil

import numpy as np
import pytest

from tests.dashboard.conftest import SITES
from workbench.concepts import Concept
from workbench.dashboard import filling, opening
from workbench.dashboard.arriving import chosen, looked, said
from workbench.dashboard.bench import Bench
from workbench.dashboard.filling import Choice, Filling, Look
from workbench.dashboard.links import Address
from workbench.dashboard.opening import lacking, open_library, stages, whole_library
from workbench.dashboard.pages import page
from workbench.dashboard.prompts import Shown, spread

CONCEPTS = [Concept("fox", synonyms=["vixen"]), Concept("bear")]


@pytest.fixture
def new(root, tmp_path):
    """A run that no dashboard has seen, and the folders of its SAEs."""
    shutil.copytree(root / "run", tmp_path / "run", ignore=shutil.ignore_patterns("dashboard"))
    return tmp_path / "run", [str(root / name) for name in SITES], CONCEPTS


@pytest.fixture
def small_stages(monkeypatch):
    monkeypatch.setattr(opening, "FIRST", 3)


def never():
    raise AssertionError("the model is not needed")


def text_of(components):
    from workbench.dashboard.markup import markup

    return markup(components, lambda href: href)


def test_it_opens_without_a_model_and_says_what_comes(new):
    library = open_library(*new)
    assert not library.caches and [source.name for source in lacking(library)] == ["words", "pixels"]
    for kind in ("browse", "bench", "words", "concepts"):
        assert "appear here by themselves" in text_of(page(library, Address(kind)))


def test_words_come_first_and_pictures_in_stages_until_all_is_as_if_built_at_once(new, library, tiny_sd1, small_stages):
    growing = open_library(*new)
    work, seen = Filling(growing, lambda: tiny_sd1), []
    while work.step():
        known = {name: cache.about["n_prompts"] for name, cache in growing.caches.items()}
        if not seen or seen[-1] != known:
            seen.append(known)
    n = len(growing.prompts)
    assert work.look == Look() and n > 12
    words, *_ = [each for each in seen if each]
    assert words == {"words": n}
    assert [each["pixels"] for each in seen if "pixels" in each][:2] == [3, 12] and stages(n)[:2] == (3, 12)
    for name, cache in growing.caches.items():
        whole = library.cache(name)
        assert cache.folder.name == whole.folder.name, "the same key"
        columns = ["density", "largest", "fires_on"]
        np.testing.assert_allclose(cache.features[columns], whole.features[columns], rtol=1e-4)


def test_what_was_seen_before_a_kill_is_shown_and_the_rest_made(new, tiny_sd1, small_stages):
    growing = open_library(*new)
    work = Filling(growing, lambda: tiny_sd1)
    while "pixels" not in growing.caches:
        work.step()
    again = open_library(*new)
    assert again.caches["pixels"].about["n_prompts"] == 3 and again.caches["words"].about["n_prompts"] > 3
    assert "looked at on 3 of" in text_of(page(again, Address("feature", sae="pixels", feature=1)))
    assert [source.name for source in lacking(again)] == ["pixels"]
    whole_library(*new, model=lambda: tiny_sd1)
    assert not lacking(open_library(*new))


def test_where_pictures_take_long_it_asks_and_draws_as_many_as_are_chosen(new, tiny_sd1, small_stages, monkeypatch):
    monkeypatch.setattr(filling, "PATIENCE", 0.0)
    bench = Bench(open_library(*new), lambda: tiny_sd1)
    work = bench.filling
    while work.step():
        pass
    assert isinstance(work.look.choice, Choice) and list(bench.library.caches) == ["words"]
    choice = work.look.choice
    numbers = stages(len(bench.library.prompts))
    assert choice.saes == ("pixels",) and choice.each > 0 and tuple(choice.seconds) == numbers
    assert choice.seconds[3] == pytest.approx(3 * choice.each)
    asked = text_of(said(work.look))
    assert "To see what the features of pixels fire on" in asked and "3 (" in asked and "kB" not in asked
    assert looked(bench, bench.library.version)[1], "the clock stands until somebody chooses"
    monkeypatch.setattr(bench, "fill", lambda: None)
    assert chosen(bench, {"choose": 3}, [1, None])[1] is False
    while work.step():
        pass
    assert bench.library.caches["pixels"].about["n_prompts"] == 3
    more = work.look.choice
    assert (
        more.done == 3 and tuple(more.seconds) == numbers[1:] and "looked at on 3 pictures" in text_of(said(work.look))
    )
    work.choose(numbers[-1])
    while work.step():
        pass
    assert bench.library.caches["pixels"].about["n_prompts"] == numbers[-1] and work.look == Look()


def test_opened_again_it_offers_more_than_there_is(new, tiny_sd1, small_stages, monkeypatch):
    monkeypatch.setattr(filling, "PATIENCE", 0.0)
    whole_library(*new, model=lambda: tiny_sd1, pictures=3)
    work = Filling(open_library(*new), lambda: tiny_sd1)
    while work.step():
        pass
    choice = work.look.choice
    assert choice.done == 3 and min(choice.seconds) == 12
    assert choice.seconds[12] == pytest.approx(12 * choice.each), "those that were drawn before are drawn again"


def test_a_number_given_beforehand_is_drawn_without_asking_and_opens_again(new, tiny_sd1, monkeypatch):
    monkeypatch.setattr(filling, "PATIENCE", 0.0)
    library = whole_library(*new, model=lambda: tiny_sd1, pictures=5)
    assert {name: cache.about["n_prompts"] for name, cache in library.caches.items()}["pixels"] == 5
    assert not lacking(whole_library(*new, model=never, pictures=5), 5)
    none = whole_library(new[0], [new[1][1]], [Concept("wolf")], model=lambda: tiny_sd1, pictures=0)
    assert not none.caches


def test_what_goes_wrong_is_said_on_the_page_and_ends_the_looking(new, tiny_sd2):
    work = Filling(open_library(*new), lambda: tiny_sd2)
    assert work.step() is False and "another model" in text_of(said(work.look)) and work.look.is_over
    broken = Filling(open_library(*new), lambda: 1 / 0)
    assert broken.step() is False and "ZeroDivisionError" in broken.look.problem


def test_the_first_prompts_are_about_everything():
    prompts = [Shown(f"{concept} {n}", n, concept) for concept in ("fox", "bear", "") for n in range(3)]
    assert [shown.expected for shown in spread(prompts)] == ["fox", "bear", ""] * 3
    assert [shown.seed for shown in spread(prompts)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
