"""`run_study`: a hypothesis, its controls, its pictures, and the verdict on it.

A study folder is a run folder with `study.json` beside: what was asked, which parts were changed, effects and verdict.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.evaluation.evaluate import evaluate_concepts
from workbench.evaluation.judges import Judge, check_knows
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.models import Model
from workbench.studies.choosing import Chosen, choose, controls, measured, sites_to_watch, words
from workbench.studies.conditions import edits, suite
from workbench.studies.contexts import check_readings, swapped
from workbench.studies.effects import COLUMNS, Outcomes, effect_table
from workbench.studies.hypothesis import Study
from workbench.studies.observing import Observer
from workbench.studies.verdict import Verdict, judge_study

FILE, FORMAT = "study.json", "erasure-workbench study 2"
_FIELDS = ("format", "study", "parts", "effects", "verdict", "judge")


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What a study found: `effects` has the columns of `effects.COLUMNS`, `parts` what was changed, subject first,
    `judge` the name by which the run knows the judge that looked."""

    verdict: Verdict
    effects: pd.DataFrame
    run: Run
    study: Mapping[str, Any]
    parts: list[dict[str, Any]]
    judge: str

    @classmethod
    def open(cls, folder: Path | str) -> "StudyResult":
        """Reads a finished study. Raises `WorkbenchError` if the folder is none, or the study is not finished."""
        path = Path(folder) / FILE
        if not path.is_file():
            raise WorkbenchError(
                f"{folder} holds no finished study.", "Run it again with the same file and folder: it goes on."
            )
        saved = read_json(path, _FIELDS)
        if saved["format"] != FORMAT:
            raise WorkbenchError(f"{path} is of another version ({saved['format']}).", "Run the study again.")
        effects = pd.DataFrame(saved["effects"], columns=list(COLUMNS))
        return cls(
            Verdict.from_json(saved["verdict"]),
            effects,
            Run.open(folder),
            saved["study"],
            saved["parts"],
            saved["judge"],
        )


def run_study(
    model: Model, study: Study, judge: Judge, out_dir: Path | str, *, batch_size: int = 16, progress: Progress = SILENT
) -> StudyResult:
    """Tests a hypothesis: makes the pictures of every condition, and judges them and it.

    Repeated after a kill with the same arguments it goes on where it stopped. Raises `WorkbenchError` before any
    picture is made for what the model or the judge does not know, and where no control is possible.
    """
    check_knows(judge, (study.concept.name, *study.sparing))
    all_words = (study.concept.name, *study.sparing)
    check_readings(model, [[swapped(p, study.concept.name, word) for p in study.prompts] for word in all_words])
    parts = choose(model, study, progress)
    observer = Observer(model, sites_to_watch(model, study, parts), seed=study.seed)
    subject = measured(words(study, parts), parts, study, observer)
    drawn = controls(model, study, subject, observer)
    run = evaluate_concepts(
        model, [(suite(study), edits(model, study, subject, drawn, observer))], judge, out_dir,
        batch_size=batch_size, question=study.question, progress=progress,
    )  # fmt: skip
    return conclude(study, Results.of(run, run.name_of(judge)), [subject, *drawn])


def conclude(study: Study, results: Results, chosen: list[Chosen]) -> StudyResult:
    """The verdict on a finished run, written into its folder; `chosen` is the subject, then each control."""
    run, n_controls = results.run, len(chosen) - 1
    outcomes = Outcomes(study, results.records, results.judge.thresholds)
    verdict, effects = judge_study(outcomes, n_controls, chosen[0].words), effect_table(outcomes, n_controls)
    asked = {**asdict(study), "subject": study.subject.model_dump()}
    parts = [{"words": one.words, "norm": one.norm, "scale": one.scale} for one in chosen]
    saved = (FORMAT, asked, parts, effects.to_dict("records"), verdict.as_json(), results.judge_name)
    write_json(run.dir / FILE, dict(zip(_FIELDS, saved, strict=True)))
    return StudyResult.open(run.dir)
