"""Judges a run: each image is scored once, and what one judge says lies beside what others said."""

from saes.locks import working_in
from saes.progress import SILENT, Progress
from workbench.evaluation.judged import add_judge, judges_of, read_looks, write_looks
from workbench.evaluation.judges import Judge, check_knows
from workbench.evaluation.runs import Run
from workbench.evaluation.scoring import Look, Scored


def judge(run: Run, judge: Judge, *, progress: Progress = SILENT) -> Run:
    """Adds what a judge says of a run's images. Nothing that others said is changed, and no image is made.

    Args:
        run: A run whose images are all there.
        judge: It must know every concept of the run's suites. One that looked at the run before is not asked again.
        progress: Shows the images.

    Returns:
        The run.

    Raises:
        WorkbenchError: The judge does not know a concept, or an image is missing or damaged.
    """
    for trial in run.spec.trials:
        check_knows(judge, [trial.concept, trial.anchor, *(row.expected for row in trial.rows)])
    with working_in(run.dir, together=True):
        scored = seen_before(run, judge)
        scored.read(run.spec.cells(), progress)
        keep(scored)
    return run


def seen_before(run: Run, judge: Judge) -> Scored:
    """What the folder of the run already knows of its images, and what this judge said of them if it did."""
    scored = Scored(run, judge)
    for row in read_looks(run.dir).itertuples():
        scored.looks[row.image] = Look(row.seconds, row.bytes, row.pixel_drift)
    for known in judges_of(run.dir).values():
        if known.spec.key == scored.spec.key:
            images, scores = known.by_image()
            scored.know(images, scores)
    return scored


def keep(scored: Scored) -> None:
    """Writes what is known of all images of a run into its folder."""
    run, cells = scored.run, scored.run.spec.cells()
    looks = [{"image": one.key, "edit": one.edit, **vars(scored.looks[one.key])} for one in cells]
    write_looks(run.dir, looks)
    keys = [one.key for one in cells]
    add_judge(run.dir, scored.spec, keys, scored.of(keys))
