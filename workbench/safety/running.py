"""`safety`: every task's pictures, with and without edits, as runs of `evaluate`, one for each domain.

    safety.json        what was asked: taxonomy, tasks, what was dropped, how much was drawn
    fairness/, …       a run folder of each domain; `workbench judge` adds a judge to it and makes no picture
    safety.html        the page

Everything that can be refused is refused before the first picture. A run that was interrupted goes on where it stopped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from saes.config import StrictConfig
from saes.disk import read_json, write_json
from saes.errors import WorkbenchError, unknown_name
from saes.leftovers import contents
from saes.progress import SILENT, Progress
from workbench.edits import Edit
from workbench.evaluation.evaluate import evaluate_concepts
from workbench.evaluation.judges import Judge
from workbench.evaluation.judging import judge as look
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.models import Model
from workbench.safety.asking import Task
from workbench.safety.taxonomy import DOMAINS, Taxonomy, read_taxonomy
from workbench.settings import settled

FILE = "safety.json"
FORMAT: Literal["erasure-workbench safety 1"] = "erasure-workbench safety 1"


class Asked(StrictConfig):
    """A task as the folder remembers it.

    Args:
        domain: Its domain.
        name: Its name, that of its suite.
        source: Where its prompts are from.
        shows: The concept that should not be shown, "" for fairness.
        classes: Of fairness: attribute → classes.
        listed: Prompts that ask, in the whole list.
        dropped: Where those stand that were left out because they may involve a minor.
    """

    domain: str
    name: str
    source: str
    shows: str
    classes: dict[str, tuple[str, ...]]
    listed: int
    dropped: tuple[str, ...]


class SafetySpec(StrictConfig):
    """The content of safety.json.

    Args:
        taxonomy: Domains and tasks.
        tasks: What was asked.
        elsewhere: Category of a list → how many of its prompts belong to no task.
        prompts: Of each task, at most.
        pictures: Of each prompt of fairness.
        seed: Of the draw and the pictures.
    """

    format: Literal["erasure-workbench safety 1"] = FORMAT
    taxonomy: Taxonomy
    tasks: tuple[Asked, ...]
    elsewhere: dict[str, int]
    prompts: int
    pictures: int
    seed: int

    @property
    def domains(self) -> tuple[str, ...]:
        """Those that were asked, in the order of `DOMAINS`."""
        return tuple(domain for domain in DOMAINS if any(task.domain == domain for task in self.tasks))

    def asked(self, name: str) -> Asked:
        """The task of a suite.

        Args:
            name: The name of both.

        Returns:
            What was asked.
        """
        return next(task for task in self.tasks if task.name == name)


class SafetyRun(NamedTuple):
    """A folder of `safety`, its specification and the finished run of each domain."""

    dir: Path
    spec: SafetySpec
    runs: dict[str, Run]

    @classmethod
    def open(cls, dir: Path | str) -> "SafetyRun":
        """Opens a folder.

        Args:
            dir: One that `safety` filled.

        Returns:
            Its finished domains.

        Raises:
            WorkbenchError: It is none, or holds no finished domain.
        """
        spec = _read(Path(dir) / FILE)
        runs = {name: Run.open(Path(dir) / name) for name in spec.domains if (Path(dir) / name / "run.json").is_file()}
        finished = {name: run for name, run in runs.items() if run.judges}
        if not finished:
            raise WorkbenchError(f"{dir} has no finished domain.", "Run the same command again: it goes on.")
        return cls(Path(dir), spec, finished)

    def results(self, domain: str, judge: str = "") -> Results:
        """The results of a domain.

        Args:
            domain: One of `runs`.
            judge: A name of its judges; the first if left out.

        Returns:
            What that judge sees.
        """
        return Results.of(self.runs[domain], judge)


def safety(
    model: Model,
    edits: Mapping[str, Edit],
    tasks: Sequence[Task],
    judges: Mapping[str, Sequence[Judge]],
    out_dir: Path | str,
    *,
    taxonomy: Taxonomy | None = None,
    elsewhere: Mapping[str, int] | None = None,
    prompts: int = 24,
    pictures: int = 2,
    seed: int = 0,
    batch_size: int = 16,
    progress: Progress = SILENT,
    **settings: Any,
) -> SafetyRun:
    """Makes and judges the pictures of every task, without and with each edit, at equal seeds.

    Args:
        model: The model, without any edit.
        edits: Edits by the names of their conditions; none is enough.
        tasks: What is asked: `sets.read_set`, `lists.read_list`.
        judges: Domain → who looks, the one that is relied on first.
        out_dir: Folder; an unfinished one is continued.
        taxonomy: Which has the tasks; the shipped one if left out.
        elsewhere: Category of a list → prompts of no task, to be reported.
        prompts: Of each task, at most; half as many check the judge.
        pictures: Of each prompt that leaves open who is shown; of the others one.
        seed: Of the draw and the pictures.
        batch_size: Images made at once.
        progress: Shows what is made.
        **settings: How images are sampled.

    Returns:
        The finished runs.

    Raises:
        WorkbenchError: Nothing is asked, a domain has no judge, a judge knows nothing of its domain, or the folder
            holds something else.
    """
    spec = _spec(tasks, taxonomy or read_taxonomy(), dict(elsewhere or {}), prompts, pictures, seed)
    check_judges(tasks, judges)
    known = settled(model.settings, settings)
    for edit in edits.values():
        edit.check(model)
    suites = {task.name: task.suite(prompts, pictures, seed) for task in tasks}
    out_dir = Path(out_dir)
    _begin(out_dir, spec)
    runs = {}
    for domain in spec.domains:
        trials = [(suites[task.name], dict(edits)) for task in tasks if task.domain == domain]
        first, *others = judges[domain]
        run = evaluate_concepts(
            model, trials, first, out_dir / domain, batch_size=batch_size, floor=0.0, progress=progress, **known
        )
        for other in others:
            look(run, other, progress=progress)
        runs[domain] = run
    return SafetyRun(out_dir, spec, runs)


def check_judges(tasks: Sequence[Task], judges: Mapping[str, Sequence[Judge]]) -> None:
    """Whether every domain has judges that know what it asks about.

    Args:
        tasks: What is asked.
        judges: Domain → who looks.

    Raises:
        WorkbenchError: One has none, or one of another domain.
    """
    for domain in judges:
        if domain not in DOMAINS:
            raise unknown_name("domain", domain, DOMAINS)
    for task in tasks:
        if not judges.get(task.domain):
            raise WorkbenchError(
                f"Nobody judges {task.domain}.", f"Name a judge, as in --judge {task.domain}=NAME, or leave it out."
            )
        for one in judges[task.domain]:
            unknown = [concept.name for concept in task.concepts if concept.name not in one.concepts]
            if unknown:
                raise WorkbenchError(
                    f"The judge {one.name} is none of {task.domain}: it does not know {unknown[0]!r} ({task.name}).",
                    f"Name one that does, as in --judge {task.domain}=NAME, or ask what it knows alone.",
                )


def _spec(
    tasks: Sequence[Task], taxonomy: Taxonomy, elsewhere: dict[str, int], prompts: int, pictures: int, seed: int
) -> SafetySpec:
    if not tasks:
        raise WorkbenchError("Nothing is asked.", "Name prompts with --prompts.")
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise WorkbenchError(f"The task {twice!r} is asked twice.", "Put its prompts into one list.")
    asked = [
        Asked(domain=task.domain, name=task.name, source=task.source, shows=task.shows, classes=dict(task.classes),
              listed=len(task.asks), dropped=task.dropped)
        for task in tasks
    ]  # fmt: skip
    return SafetySpec(
        taxonomy=taxonomy, tasks=tuple(asked), elsewhere=elsewhere, prompts=prompts, pictures=pictures, seed=seed
    )


def _begin(dir: Path, spec: SafetySpec) -> None:
    """Writes safety.json, or sees that the folder asks for the same."""
    path = dir / FILE
    if path.is_file():
        if _read(path) != spec:
            raise WorkbenchError(
                f"{dir} holds other tasks, prompts or seeds.", "Choose another folder, or repeat what it was asked."
            )
    elif contents(dir):
        raise WorkbenchError(f"{dir} holds other files.", "Choose a new or an empty folder.")
    else:
        write_json(path, spec.model_dump(mode="json"))


def _read(path: Path) -> SafetySpec:
    if not path.is_file():
        raise WorkbenchError(f"{path.parent} is no folder of `workbench safety`.", "Give one that has safety.json.")
    try:
        return SafetySpec.model_validate(read_json(path, SafetySpec.model_fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise WorkbenchError(f"{path}: {where}: {first['msg']}.", "Choose another folder.") from None
