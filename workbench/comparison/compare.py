"""`compare`: every method on every concept, beside controls, on the same prompts with the same seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saes.errors import WorkbenchError
from saes.locks import working_in
from saes.progress import SILENT, Progress
from workbench.claims import UNFINISHED, share, sweep_unfinished
from workbench.comparison.attacking import Trials, attacked, check_plan
from workbench.comparison.fits import Fitter
from workbench.comparison.jobs import Conditions, Job, Made, jobs, trials_of
from workbench.comparison.plan import Comparison
from workbench.comparison.stopping import stopped
from workbench.evaluation.evaluate import Lengths, evaluate_concepts
from workbench.evaluation.judges import Judge, check_knows
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import Length
from workbench.evaluation.suites import Suite
from workbench.models import Model
from workbench.settings import settled


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
    """Fits all methods, attacks what the comparison says, then evaluates all edits and controls in one run.

    Repeated after a kill with the same arguments and folder it goes on where it stopped; no edit is fitted and no
    image made twice. `attack_table(run)` has what attacks came to.

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
        WorkbenchError: Before any work, if the judge does not know a concept, a method does not support one, an attack
            does not work on the prompts, or the folder holds something else.
    """
    subjects, plan = comparison.subjects, comparison.attacks
    for subject in subjects:
        check_knows(judge, subject.suite.concepts)
    if plan:
        check_plan(plan, model, subjects, judge)
    known = settled(model.settings, settings)
    with working_in(out_dir, together=True):
        _check_place(out_dir, model, known)
        made = make_fits(model, comparison, out_dir, judge=judge, progress=progress, **known)
        trials: Trials = trials_of(comparison, made)
        if plan:
            told = {"batch_size": batch_size, "progress": progress, **settings}
            trials = attacked(plan, model, subjects, trials, judge, out_dir, **told)
        return evaluate_concepts(
            model, trials, judge, out_dir, batch_size=batch_size, question=comparison.question,
            chosen_on=comparison.chosen_on, lengths=_lengths(made), progress=progress, **settings,
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
    progress: Progress = SILENT, **settings: Any,
) -> list[tuple[Suite, Conditions]]:  # fmt: skip
    """Fits all methods in every way, each fit once however many processes work on it, and makes their controls.

    Controls are an edit that does nothing and, for every method, its own with random features or directions in the
    place of its own, drawn with each of the comparison's seeds.

    Args:
        model: The model, without any edit.
        comparison: Methods, concepts with their suites, and ways.
        out_dir: Folder of the run. What was fitted there before is found again.
        judge: Who looks at validation pictures; needed where the comparison stops trainings.
        progress: Shows the fits.
        **settings: How validation pictures are sampled.

    Returns:
        The suite of each concept, with the edits of all its conditions by name: the methods' first, then the controls.
        What was fitted or drawn with several seeds is a tuple.

    Raises:
        WorkbenchError: Before any fit, if a method does not support the model or a concept, or a judge is missing.
    """
    made = make_fits(model, comparison, out_dir, judge=judge, progress=progress, **settings)
    return trials_of(comparison, made)


def make_fits(
    model: Model, comparison: Comparison, out_dir: Path | str, *, judge: Judge | None = None,
    progress: Progress = SILENT, **settings: Any,
) -> dict[Job, Made]:  # fmt: skip
    """The fits of `fit_all`.

    With `comparison.stop`, the judge's looks at validation pictures decide how long single concepts are trained, each
    fit by itself.

    Args:
        model: The model, without any edit.
        comparison: Methods, concepts with their suites, and ways.
        out_dir: Folder of the run.
        judge: Who looks at validation pictures.
        progress: Shows the fits.
        **settings: How validation pictures are sampled.

    Returns:
        What each job gives, in the order of `jobs`.

    Raises:
        WorkbenchError: As `fit_all` does.
    """
    if comparison.stop and judge is None:
        raise WorkbenchError("Nobody looks at the validation pictures.", "Give a judge, or leave `stop` out.")
    for name, method in comparison.methods.items():
        method.supports.check(name, model, comparison.concepts)
    validation = {concept.name: suite for concept, _, suite in comparison.subjects}

    def made_of(job: Job) -> Made:
        method, fitter = comparison.methods[job.method], Fitter(model, Path(out_dir), job.seed, progress)
        length: tuple[str, ...] = getattr(method, "length", ())  # a stranger's method need not say
        if comparison.stop and job.way == "single" and length:
            (concept,) = job.concepts
            suite = validation[concept.name]
            assert suite is not None and judge is not None  # checked by the comparison, and above
            found = stopped(fitter, method, concept, comparison.stop, judge, suite, progress, **settings)
            return Made(found.fitted.edit, found.length)
        fit = fitter.fit_in_order if job.way == "ordered" else fitter.fit
        return Made(fit(method, job.concepts).edit)

    made = share(jobs(comparison), made_of, progress)
    sweep_unfinished(Path(out_dir) / UNFINISHED)
    return made


def _lengths(made: Mapping[Job, Made]) -> Lengths:
    found: dict[str, dict[str, tuple[Length, ...]]] = {}
    for job, (_, length) in made.items():
        if length is not None:
            (concept,) = job.concepts
            of_condition = found.setdefault(job.condition, {})
            of_condition[concept.name] = (*of_condition.get(concept.name, ()), length)
    return found
