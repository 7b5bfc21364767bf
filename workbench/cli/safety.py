"""`workbench safety`: fairness, toxicity and privacy of a model, before and after edits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saes.errors import WorkbenchError, unknown_name
from workbench.cli.lookup import YAML
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Dtype, Json, ModelName, Seed, check_writable
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.evaluation.judges import Judge
    from workbench.safety.asking import Task
    from workbench.safety.sets import PromptSet
    from workbench.safety.taxonomy import Taxonomy

TOY, EVERYDAY = "toy", "everyday"
TOYS_JUDGE = "toy-safety"


@loads_a_model
def safety(
    model: ModelName,
    out: Annotated[Path, typer.Option(help="Folder; an unfinished one is continued.")],
    edit: Annotated[list[Path] | None, typer.Option(help="Folder of an edit; repeat to compare several.")] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            help="What is asked: everyday, toy, a YAML set, or your copy of a list (T2ISafety's .json, I2P's .csv, "
            "TASK=FILE for prompts alone). Repeatable: later ones take the place of earlier tasks of the same name."
        ),
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            help="DOMAIN=JUDGE, or a judge of all domains: toy-safety, vlm:FOLDER, classifier:FOLDER, clip:FOLDER, "
            "nudenet … Repeatable: the first of a domain is relied on.",
        ),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Ask this domain or task alone; repeatable.")] = None,
    taxonomy: Annotated[Path | None, typer.Option(help="YAML file in the place of T2ISafety's taxonomy.")] = None,
    clip: Annotated[
        str | None,
        typer.Option(help="Folder or hub id of a CLIP or SigLIP: adds how well pictures of benign prompts show them."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV file with image and unsafe (yes or no): adds F1 of each judge.")
    ] = None,
    per_task: Annotated[int, typer.Option(help="Prompts of each task, at most.", min=2)] = 24,
    pictures: Annotated[int, typer.Option(help="Pictures of each prompt of fairness.", min=1)] = 2,
    batch_size: Annotated[int, typer.Option(help="Images made at once.", min=1)] = 16,
    seed: Seed = 0,
    device: Device = None,
    dtype: Dtype = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Measure fairness, toxicity and privacy as judges see them, and what edits change in all of them.

    Example:  workbench safety toy --edit edits/slime-itd --out out/safety
    """
    check_writable(out)
    from workbench.cli.evaluate import edits_of
    from workbench.cli.safety_tables import show_safety
    from workbench.evaluation.encoders import Encoder
    from workbench.safety.labels import read_labels
    from workbench.safety.page import write_safety
    from workbench.safety.quality import quality_table
    from workbench.safety.running import check_judges, safety
    from workbench.safety.taxonomy import FILE, read_taxonomy
    from workbench.shipped import CLIP

    said = read_labels(labels) if labels else {}
    encoder = Encoder.open(clip or CLIP) if clip or model == "toy" else None
    known = read_taxonomy(taxonomy or FILE)
    own = TOY if model == "toy" else EVERYDAY
    tasks, elsewhere = _asked(prompts or [own], own, known, only)
    judges = _judges(judge or ([TOYS_JUDGE] if model == "toy" else []), tasks)
    check_judges(tasks, judges)
    edits = {name: one for name, one in edits_of(edit or []).items() if one is not None}
    handle = opened(model, device=device, dtype=dtype)
    with progress_bars() as progress:
        run = safety(
            handle, edits, tasks, judges, out, taxonomy=known, elsewhere=elsewhere, prompts=per_task,
            pictures=pictures, seed=seed, batch_size=batch_size, progress=progress,
        )  # fmt: skip
    quality = quality_table(run, encoder) if encoder else None
    page = write_safety(run, out / "safety.html", quality)
    show_safety(run, quality, said, json=json)
    typer.echo(f"Saved {out}. Look at {page}", err=True)


def _asked(
    words: Sequence[str], own: str, taxonomy: "Taxonomy", only: Sequence[str] | None
) -> "tuple[list[Task], dict[str, int]]":
    """The tasks of all sets and lists, some alone if they or their domains are named.

    Lists take benign prompts and classes from the first set among the words, or else from the model's `own`.
    """
    from workbench.safety.asking import PEOPLE

    known = [*taxonomy.tasks, PEOPLE, *(task for tasks in taxonomy.tasks.values() for task in tasks)]
    for name in only or ():
        if name not in known:
            raise unknown_name("domain or task", name, known)
    found: dict[str, Task] = {}
    elsewhere: dict[str, int] = {}
    base = _set(next((word for word in words if _is_set(word)), own), taxonomy)
    for word in words:
        tasks, others = (_set(word, taxonomy).tasks, {}) if _is_set(word) else _list(word, taxonomy, base)
        found |= {task.name: task for task in tasks}
        elsewhere |= others
    kept = [task for task in found.values() if not only or task.domain in only or task.name in only]
    if not kept:
        raise WorkbenchError(
            f"No prompt asks about {' or '.join(only or ())} (asked: {', '.join(words)}).",
            "Give a list of your own with --prompts; none of toxicity comes with the workbench.",
        )
    return kept, elsewhere


def _is_set(word: str) -> bool:
    return word in (TOY, EVERYDAY) or ("=" not in word and word.endswith(YAML))


def _set(word: str, taxonomy: "Taxonomy") -> "PromptSet":
    from workbench import toy
    from workbench.safety import sets

    path = {TOY: toy.safety_set(), EVERYDAY: sets.EVERYDAY}.get(word, Path(word))
    return sets.read_set(path, taxonomy)


def _list(word: str, taxonomy: "Taxonomy", base: "PromptSet") -> "tuple[Sequence[Task], Mapping[str, int]]":
    """A list's tasks; benign prompts, and the classes of fairness, are the set's."""
    from workbench.safety.asking import PEOPLE
    from workbench.safety.lists import read_list

    task, path = word.split("=", 1) if "=" in word else ("", word)
    people = next((one for one in base.tasks if one.name == PEOPLE), None)
    return read_list(path, taxonomy, task=task, benign=base.benign, people=people)


def _judges(words: Sequence[str], tasks: "Sequence[Task]") -> "dict[str, list[Judge]]":
    """Domain → its judges, each told of what its domain asks about."""
    from workbench.judges import find_judge
    from workbench.safety.taxonomy import DOMAINS

    asked = dict.fromkeys(task.domain for task in tasks)
    found: dict[str, list[Judge]] = {}
    for word in words:
        domain, equals, name = word.partition("=")
        if equals and domain not in DOMAINS:
            raise unknown_name("domain", domain, DOMAINS)
        for one in [domain] if equals else asked:
            told = [concept for task in tasks if task.domain == one for concept in task.concepts]
            if one in asked:
                found.setdefault(one, []).append(find_judge(name if equals else word, told))
    return found
