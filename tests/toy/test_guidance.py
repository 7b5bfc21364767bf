"""The curve of guidance: every cell asks for what it says it asks for, and counts what the judge sees."""

from types import SimpleNamespace

import numpy as np
import pytest

from workbench.figures.guidance import guidance_figure
from workbench.models import Diffusion
from workbench.toy.guidance import KIND_OF, concept_of, guidance_curve
from workbench.toy.oracle import KINDS, Oracle
from workbench.toy.report import questions

N = 6


class Painter(Diffusion):
    """Stands for a model: its picture is the number of the concept that the prompt asks for, unless guidance is weak or
    the concept is the negative prompt."""

    def __init__(self) -> None:
        self.concepts = {(one.prompt, seed): concept_of(one) for seed, one in enumerate(of_each_kind())}
        self.asked: list[tuple[float, str, int]] = []

    def generate(self, prompts, seeds, *, guidance_scale, negative_prompt):
        self.asked.append((guidance_scale, negative_prompt, len(prompts)))
        names = [next(name for (text, _), name in self.concepts.items() if text == prompt) for prompt in prompts]
        shown = [list(KINDS).index(n) if guidance_scale > 1 and n != negative_prompt else -1 for n in names]
        return np.array(shown)


class Reader(Oracle):
    """Stands for the judge: reads the number."""

    def __init__(self) -> None:
        self.threshold = 0.5

    def judge(self, images):
        present = np.zeros((len(images), len(KINDS)))
        for row, number in enumerate(images):
            if number >= 0:
                present[row, number] = 1
        return SimpleNamespace(present=present, intact=np.where(images >= 0, 1.0, 0.0))


def of_each_kind():
    return [one for group in KIND_OF for one in questions(N) if one.group == group]


@pytest.fixture(scope="module")
def painted():
    painter = Painter()
    return painter, guidance_curve(painter, Reader(), scales=(1.0, 4.0), n=N)


def test_the_curve_tells_guidance_from_none_and_a_negative_prompt_from_an_empty_one(painted):
    _, curve = painted
    rows = {(one.guidance_scale, one.negative, one.value, one.intact) for one in curve.itertuples()}
    assert rows == {(1.0, False, 0.0, 0.0), (4.0, False, 1.0, 1.0), (4.0, True, 0.0, 0.0)}
    assert set(curve["kind"]) == {"object", "style", "character"} and (curve["n"] == N).all()
    assert (curve["low"] <= curve["value"]).all() and (curve["value"] <= curve["high"]).all()


def test_each_negative_prompt_is_the_concept_of_the_pictures_that_it_is_given_to(painted):
    painter, _ = painted
    names = {one for _, one, _ in painter.asked if one}
    assert names == {concept_of(one) for one in of_each_kind()}
    assert sum(n for scale, one, n in painter.asked if one) == 3 * N


def test_the_figure_has_a_line_for_each_kind_with_and_without_the_negative_prompt(painted):
    lines = guidance_figure(painted[1]).data
    assert [line.name for line in lines[:2]] == ["object", "object, as negative prompt too"]
    assert len(lines) == 6 and list(lines[0].x) == [1.0, 4.0] and list(lines[1].x) == [4.0]
