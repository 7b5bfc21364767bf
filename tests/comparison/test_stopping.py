"""Every training is stopped by one rule, at the first length that leaves few enough validation targets."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import pytest
from annotated_types import Ge

from saes.errors import WorkbenchError
from tests.comparison.small import FOX, comparison, suite
from tests.evaluation.small import Brightness
from workbench.comparison.compare import fit_all
from workbench.comparison.fits import Fitter
from workbench.comparison.stopping import Stopping, at_share, stopped
from workbench.comparison.subjects import Subject
from workbench.edits.weight import WeightEdit
from workbench.erasure import METHODS, find_method
from workbench.erasure.method import ErasureMethod, Supports
from workbench.erasure.uce import UCE
from workbench.evaluation.spec import Length
from workbench.knobs import Doc

RULE = Stopping(prompts=1, remaining=0.1)
fitted_at: list[int] = []


@dataclass(frozen=True, kw_only=True)
class Trained(ErasureMethod):
    """A training of so many iterations, whose edit is UCE's, and which says that it was fitted."""

    iterations: Annotated[int, Ge(1), Doc("Training steps.")] = 40
    warmup: Annotated[int, Ge(0), Doc("Not a length.")] = 7
    name: ClassVar[str] = "trained"
    paper = None
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports(frozenset())
    cost: ClassVar[str] = "nothing"
    length: ClassVar[tuple[str, ...]] = ("iterations",)

    def fit(self, model, concepts, *, seed=0, progress=None) -> WeightEdit:
        fitted_at.append(self.iterations)
        edit = UCE().fit(model, concepts)
        return replace(edit, settings={"iterations": self.iterations}, method=self.name)


@dataclass(frozen=True)
class Counting(Brightness):
    """Sees the concept until a training of enough iterations was looked at."""

    enough: int = 20
    name: str = "counting"

    def score(self, images, prompts):
        scores = super().score(images, prompts)
        return scores._replace(present=scores.present * 0 + (fitted_at[-1] < self.enough))

    @property
    def thresholds(self):
        return dict.fromkeys(self.concepts, 0.5)


@pytest.fixture(autouse=True)
def _fresh():
    fitted_at.clear()


def test_the_first_length_that_leaves_few_enough_is_taken_and_nothing_is_done_twice(tiny_sd1, tmp_path):
    fitter = Fitter(tiny_sd1, tmp_path, 0, lambda things, *_: things)
    found = stopped(fitter, Trained(), FOX, RULE, Counting(enough=20), suite("fox", "cat"))
    assert fitted_at == [10, 20] and found.length == Length(share=0.5, left=0, met=True)
    assert found.fitted.edit.settings == {"iterations": 20}
    again = stopped(fitter, Trained(), FOX, RULE, Counting(enough=20), suite("fox", "cat"))
    assert fitted_at == [10, 20] and again.fitted.key == found.fitted.key


def test_where_no_length_is_enough_the_full_one_is_taken(tiny_sd1, tmp_path):
    fitter = Fitter(tiny_sd1, tmp_path, 0, lambda things, *_: things)
    found = stopped(fitter, Trained(), FOX, RULE, Counting(enough=1000), suite("fox", "cat"))
    assert fitted_at == [10, 20, 30, 40] and found.length == Length(share=1, left=1, met=False)


def test_validation_pictures_are_sampled_as_those_of_the_comparison(tiny_sd1, tmp_path, monkeypatch):
    asked, generate = [], tiny_sd1.generate
    monkeypatch.setattr(tiny_sd1, "generate", lambda *a, **more: asked.append(more["steps"]) or generate(*a, **more))
    fitter = Fitter(tiny_sd1, tmp_path, 0, lambda things, *_: things)
    for steps in (1, 1, 2):
        stopped(fitter, Trained(), FOX, RULE, Counting(enough=10), suite("fox", "cat"), steps=steps)
    assert asked == [1, 2], "what was looked at with equal settings is known"


def test_a_comparison_stops_what_trains_and_fits_the_rest_as_told(tiny_sd1, tmp_path):
    subject = Subject(FOX, suite("fox", "cat"), suite("fox", "cat"))
    plan = comparison({"trained": Trained(), "UCE": UCE()}, subjects=[subject], stop=RULE)
    ((_, conditions),) = fit_all(tiny_sd1, plan, tmp_path, judge=Counting(enough=30))
    assert conditions["trained"].settings == {"iterations": 30} and fitted_at == [10, 20, 30]
    assert conditions["UCE"].method == "uce"
    with pytest.raises(WorkbenchError, match="Nobody looks at the validation pictures"):
        fit_all(tiny_sd1, plan, tmp_path / "other")


def test_a_rule_without_validation_prompts_is_refused():
    with pytest.raises(WorkbenchError, match="no validation prompts about 'fox'"):
        comparison({"UCE": UCE()}, subjects=[Subject(FOX, suite("fox", "cat"))], stop=RULE)


@pytest.mark.parametrize("shares", [(0.5, 0.25, 1.0), (0.5,), (0.0, 1.0), (0.5, 0.5, 1.0)])
def test_shares_rise_to_the_whole(shares):
    with pytest.raises(WorkbenchError, match="rise from above 0 to 1"):
        Stopping(shares=shares)


def test_every_method_that_trains_says_how_its_length_is_counted():
    trains = {name for name in METHODS if find_method(name).family == "fine-tuning"}
    assert {name for name in METHODS if find_method(name).length} == trains
    for name in trains:
        method = find_method(name)()
        half = at_share(method, 0.5)
        changed = {knob for knob in vars(method) if getattr(half, knob) != getattr(method, knob)}
        assert changed == set(method.length)


def test_a_part_that_is_left_out_stays_so():
    assert at_share(find_method("co_erasing")(text_iterations=0, iterations=10), 0.25).text_iterations == 0
