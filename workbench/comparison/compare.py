"""`compare`: every method on every concept, beside controls, on the same prompts with the same seeds."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from saes.errors import WorkbenchError
from saes.locks import working_in
from saes.progress import SILENT, Progress
from workbench.comparison.claims import share, sweep_unfinished
from workbench.comparison.fits import Fitter
from workbench.comparison.plan import Comparison, Way
from workbench.comparison.stopping import stopped
from workbench.concepts import Concept
from workbench.edits import Edit
from workbench.evaluation.evaluate import evaluate_concepts
from workbench.evaluation.judges import Judge, check_knows
from workbench.evaluation.runs import Run
from workbench.evaluation.suites import Suite
from workbench.models import Model
from workbench.settings import settled

Conditions = dict[str, Edit | None]
JOINTLY = ", jointly"
NAMED = 3  # concepts of an order that its name lists


def compare(
    model: Model,
    comparison: Comparison,
    judge: Judge,
    out_dir: Path | str,
    *,
    batch_size: int = 16,
    progress: Progress = SILENT,
    **settings: Any,
) -> Run:
    """Fits all methods, then evaluates all edits and controls in one run.

    Repeated after a kill with the same arguments and folder it goes on where it stopped; no edit is fitted and no
    image made twice.

    Args:
        model: The model, without any edit.
        comparison: Methods, concepts with their suites, and ways.
        judge: Who looks at the images.
        out_dir: Folder of the run. Several processes may fit into it at the same time.
        batch_size: Images made at once.
        progress: Shows fits and images.
        **settings: How images are sampled, as for `evaluate_concepts`.

    Returns:
        The finished run.

    Raises:
        WorkbenchError: Before any work, if the judge does not know a concept, a method does not support one, or the
            folder holds something else.
    """
    for subject in comparison.subjects:
        check_knows(judge, subject.suite.concepts)
    known = settled(model.settings, settings)
    with working_in(out_dir, together=True):
        _check_place(out_dir, model, known)
        trials = fit_all(model, comparison, out_dir, judge=judge, progress=progress)
        return evaluate_concepts(
            model, trials, judge, out_dir, batch_size=batch_size, question=comparison.question,
            chosen_on=comparison.chosen_on, progress=progress, **settings,
        )  # fmt: skip


def _check_place(out_dir: Path | str, model: Model, settings: Mapping[str, Any]) -> None:
    """Raises `WorkbenchError` where `evaluate_concepts` would, as far as that is known before the edits are."""
    run = Run.of_place(out_dir)
    if run is not None:
        run.check_model(model)
        if dict(run.spec.settings) != settings:
            raise WorkbenchError(f"{out_dir} holds another run (settings differ).", "Choose another folder.")


def fit_all(
    model: Model, comparison: Comparison, out_dir: Path | str, *, judge: Judge | None = None,
    progress: Progress = SILENT,
) -> list[tuple[Suite, Conditions]]:  # fmt: skip
    """Fits all methods in every way, each fit once however many processes work on it.

    With `comparison.stop`, the judge's looks at validation pictures decide how long single concepts are trained.

    Controls are an edit that does nothing and, for every method, its own with random features or directions in the
    place of its own.

    Args:
        model: The model, without any edit.
        comparison: Methods, concepts with their suites, and ways.
        out_dir: Folder of the run. What was fitted there before is found again.
        judge: Who looks at validation pictures; needed where the comparison stops trainings.
        progress: Shows the fits.

    Returns:
        The suite of each concept, with the edits of all its conditions by name: the methods' first, then the controls.

    Raises:
        WorkbenchError: Before any fit, if a method does not support the model or a concept, or a judge is missing.
    """
    if comparison.stop and judge is None:
        raise WorkbenchError("Nobody looks at the validation pictures.", "Give a judge, or leave `stop` out.")
    for name, method in comparison.methods.items():
        method.supports.check(name, model, comparison.concepts)
    fitter, folder = Fitter(model, Path(out_dir), comparison.seed, progress), Path(out_dir)

    validation = {concept.name: suite for concept, _, suite in comparison.subjects}

    def edit_of(job: Job) -> Edit:
        method = comparison.methods[job.method]
        length: tuple[str, ...] = getattr(method, "length", ())  # a stranger's method need not say
        if comparison.stop and job.way == "single" and length:
            (concept,) = job.concepts
            suite = validation[concept.name]
            assert suite is not None and judge is not None  # checked by the comparison, and above
            return stopped(fitter, method, concept, comparison.stop, judge, suite, progress).fitted.edit
        fit = fitter.fit_in_order if job.way == "ordered" else fitter.fit
        return fit(method, job.concepts).edit

    found = share(jobs(comparison), edit_of, progress)
    sweep_unfinished(folder / "unfinished")
    return [(suite, _conditions(comparison, concept, found)) for concept, suite, _ in comparison.subjects]


class Job(NamedTuple):
    """One fit: which method erases which concepts in which way."""

    way: Way
    method: str
    concepts: tuple[Concept, ...]

    @property
    def condition(self) -> str:
        """The name of the condition that it gives."""
        if self.way == "single":
            return self.method
        if self.way == "joint":
            return self.method + JOINTLY
        names = [concept.name for concept in self.concepts]
        listed = names if len(names) <= NAMED else [names[0], "…", names[-1]]
        return f"{self.method}: {' then '.join(listed)}"


def jobs(comparison: Comparison) -> list[Job]:
    """All fits of a comparison.

    Args:
        comparison: The comparison.

    Returns:
        Those of single concepts first, then joint ones, then those of the two orders.
    """
    concepts = comparison.concepts
    groups: dict[Way, list[tuple[Concept, ...]]] = {
        "single": [(concept,) for concept in concepts],
        "joint": [concepts],
        "ordered": [concepts, concepts[::-1]],
    }
    return [
        Job(way, name, group)
        for way in groups
        if way in comparison.ways
        for name in comparison.methods
        for group in groups[way]
    ]


def _conditions(comparison: Comparison, concept: Concept, found: dict[Job, Edit]) -> Conditions:
    own = {job: edit for job, edit in found.items() if concept in job.concepts}
    return {**{job.condition: edit for job, edit in own.items()}, **dict(_controls(own, comparison.seed))}


def _controls(own: dict[Job, Edit], seed: int) -> Iterator[tuple[str, Edit]]:
    """One edit that does nothing, and for each method its own size at random: an edit whose features or directions
    are drawn, and that changes as much. For single and joint edits; for edits in an order only where there are no
    others."""
    yield "no-op", next(iter(own.values())).no_op()
    ways = [way for way in ("single", "joint") if any(job.way == way for job in own)] or ["ordered"]
    for job, edit in own.items():
        if job.way in ways:
            yield f"{edit.summary().control} of {job.condition}", edit.random(seed)
