"""Methods that draw at random are fitted with several seeds, which share the prompts; the others are fitted once."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import pytest
from annotated_types import Ge

from saes.errors import WorkbenchError
from tests.comparison.small import CAT, FOX, comparison
from tests.evaluation.small import Brightness
from workbench.comparison.compare import compare, fit_all
from workbench.comparison.jobs import jobs
from workbench.comparison.plan import Comparison
from workbench.comparison.stopping import Stopping
from workbench.comparison.subjects import Subject
from workbench.conditions import UNEDITED
from workbench.edits.weight import WeightEdit
from workbench.erasure.method import ErasureMethod, Supports
from workbench.erasure.trce import TRCE
from workbench.erasure.uce import UCE
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import Length
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.evaluation.tables import choices
from workbench.knobs import Doc
from workbench.reports.costs import length

COLOURS = ("red", "blue", "green")


@dataclass(frozen=True, kw_only=True)
class Drawn(ErasureMethod):
    """UCE's edit, weaker or stronger by the seed."""

    iterations: Annotated[int, Ge(1), Doc("Training steps.")] = 40
    name: ClassVar[str] = "drawn"
    paper = None
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports(frozenset())
    cost: ClassVar[str] = "nothing"
    length: ClassVar[tuple[str, ...]] = ("iterations",)

    def fit(self, model, concepts, *, seed=0, progress=None) -> WeightEdit:
        edit = UCE(damping=1.0 + seed).fit(model, concepts)
        return replace(edit, settings={"iterations": self.iterations}, method=self.name, seed=seed)


LOOKS: list[int] = []


@dataclass(frozen=True)
class Patient(Brightness):
    """Does not find the concept at its second and third look: the first fit needs two lengths, the next one."""

    name: str = "patient"
    threshold: float = 0.5

    def score(self, images, prompts):
        LOOKS.append(len(images))
        scores = super().score(images, prompts)
        return scores._replace(present=scores.present * 0 + (len(LOOKS) not in (2, 3)))


def suite(target: str, neighbour: str, seed: int = 1) -> Suite:
    rows = [
        SuiteRow(f"a photo of a {colour} {what}", role, what, seed)
        for role, what in (("target", target), ("neighbour", neighbour))
        for colour in COLOURS
    ]
    return Suite(target, tuple(rows))


SUBJECTS = (
    Subject(FOX, suite("fox", "cat"), suite("fox", "cat", 2)),
    Subject(CAT, suite("cat", "fox"), suite("cat", "fox", 2)),
)


def plan(methods=None, **more) -> Comparison:
    methods = methods or {"drawn": Drawn(), "UCE": UCE()}
    return comparison(methods, **{"subjects": SUBJECTS, "fit_seeds": 3, "seed": 5, **more})


@pytest.fixture(scope="module")
def run(tiny_sd1, tmp_path_factory):
    return compare(tiny_sd1, plan(), Brightness(), tmp_path_factory.mktemp("seeds") / "run", steps=1)


def test_only_what_draws_is_fitted_with_every_seed():
    methods = {"drawn": Drawn(), "UCE": UCE(), "stage 1": TRCE(stages="1"), "TRCE": TRCE()}
    made = jobs(plan(methods=methods))
    seeds = {name: [job.seed for job in made if job.method == name and job.concepts == (FOX,)] for name in methods}
    assert seeds == {"drawn": [5, 6, 7], "UCE": [5], "stage 1": [5], "TRCE": [5, 6, 7]}


def test_fits_and_random_controls_come_with_every_seed(tiny_sd1, tmp_path):
    (_, conditions), _ = fit_all(tiny_sd1, plan(ways=["single", "joint"]), tmp_path)
    seeds = {
        name: [one.seed for one in given] if isinstance(given, tuple) else given.seed
        for name, given in conditions.items()
        if name != "no-op"
    }
    every = [5, 6, 7]
    assert seeds == {
        "drawn": every, "UCE": 5, "drawn, jointly": every, "UCE, jointly": 5,
        "random directions of drawn": every, "random directions of UCE": every,
        "random directions of drawn, jointly": every, "random directions of UCE, jointly": every,
    }  # fmt: skip
    sizes = [
        [edit.delta(edit.names[0]).norm().item() for edit in conditions[name]]
        for name in ("drawn", "random directions of drawn")
    ]
    assert sizes[0] == pytest.approx(sizes[1]) and len(set(sizes[0])) == 3, "a control is as large as its own fit"


def test_three_fits_take_no_more_pictures_than_one(run, tiny_sd1, tmp_path):
    trial = run.spec.trials[0]
    assert {name: len(trial.fits(name)) for name in trial.conditions} == {
        UNEDITED: 0, "drawn": 3, "UCE": 1, "no-op": 1, "random directions of drawn": 3, "random directions of UCE": 3,
    }  # fmt: skip
    records = run.records().query("suite == 'fox'")
    assert (records.groupby("condition").size() == 6).all()
    drawn = records[records["condition"] == "drawn"]
    assert drawn.groupby(["role", "edit"]).size().tolist() == [1] * 6
    one = run.spec.trials[0].model_copy(update={"refits": {}})
    alone = run.spec.model_copy(update={"trials": (one, *run.spec.trials[1:])})
    assert len(alone.cells()) == len(run.spec.cells())


def test_pictures_keep_their_seeds_whichever_fit_makes_them(run):
    asked = {
        name: sorted(zip(own["prompt"], own["seed"], strict=True)) for name, own in run.records().groupby("condition")
    }
    assert all(own == asked[UNEDITED] for own in asked.values())


def test_each_fit_is_stopped_by_itself_and_the_run_says_when(tiny_sd1, tmp_path):
    LOOKS.clear()
    rule = Stopping(prompts=3, shares=(0.25, 0.5, 1.0))
    asked = plan(stop=rule, subjects=SUBJECTS[:1], fit_seeds=2, chosen_on={"drawn": "car"})
    made = compare(tiny_sd1, asked, Patient(), tmp_path / "run", steps=1)
    assert LOOKS[:3] == [3, 3, 3]
    assert Run.open(made.dir).spec.lengths == {
        "drawn": {"fox": (Length(share=0.5, left=0, met=True), Length(share=0.25, left=0, met=True))}
    }
    assert [fit.settings["iterations"] for fit in made.spec.trials[0].fits("drawn")] == [20, 10]
    drawn, uce = choices(made).to_dict("records")
    assert drawn == {
        "suite": "fox", "concept": "fox", "condition": "drawn", "chosen_on": "car", "length": 0.375,
        "length_low": 0.25, "length_high": 0.5, "stopped": 2, "unmet": 0,
    }  # fmt: skip
    assert uce["stopped"] == 0 and uce["chosen_on"] == "" and uce["length"] != uce["length"]
    assert length(choices(made).iloc[0]).replace("\u202f", "") == "38% (25–50%)" and length(choices(made).iloc[1]) == ""


def test_fewer_prompts_than_fits_are_refused():
    with pytest.raises(WorkbenchError, match="3 target prompts for 4 fits to share"):
        plan(fit_seeds=4)
    with pytest.raises(WorkbenchError, match="no seed"):
        plan(fit_seeds=0)
