"""`workbench compare`: several methods on the same concepts, prompts and seeds, beside controls."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from saes.errors import WorkbenchError, unknown_name
from saes.settings import build
from workbench.cli.describing import takes_a_concept
from workbench.cli.judging import judges_of
from workbench.cli.lookup import YAML, concepts_of, suite_of
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Dtype, Json, JudgeNames, check_writable
from workbench.cli.tables import show_comparison, show_published
from workbench.configs import read_pairs
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.comparison.attacking import AttackPlan
    from workbench.comparison.plan import ComparisonFile


@loads_a_model
@takes_a_concept
def compare(
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is continued.")],
    model: Annotated[
        str | None, typer.Argument(help="'toy', a hub id, a diffusers folder; or a comparison file (YAML).")
    ] = None,
    concepts: Annotated[
        list[str] | None, typer.Argument(help="Concept files (YAML), or names of the toy's world.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="An erasure method; repeat to compare several.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting as method.name=value, such as uce.tokens=last.")
    ] = None,
    way: Annotated[
        list[str] | None,
        typer.Option(help="single: an edit a concept; joint: one for all; ordered: one after another. Repeatable."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All methods on the toy, with settings that suit it: hours, resumable.")
    ] = False,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="Prompts about a concept: concept=FILE, or FILE where there is one concept. Repeatable."),
    ] = None,
    per_role: Annotated[int | None, typer.Option(help="Prompts of each role for each concept.", min=1)] = None,
    fit_seeds: Annotated[
        int | None, typer.Option(help="Fits of each method that draws at random; they share the prompts.", min=1)
    ] = None,
    told: Annotated[
        Literal["few", "all"] | None,
        typer.Option(help="How many others of its kind fits of a concept of the toy are told to keep."),
    ] = None,
    attacks: Annotated[
        str | None,
        typer.Option(help="Attack every edit afterwards: a file of attacks, 'toy' or 'toy-janus'."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; the model's own if left out.", min=1)] = None,
    batch_size: Annotated[int, typer.Option(help="Images made at once.", min=1)] = 16,
    seed: Annotated[int | None, typer.Option(help="The seed of everything random.", min=0)] = None,
    judge: JudgeNames = None,
    device: Device = None,
    dtype: Dtype = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Compare erasure methods, and write a report.

    A comparison file says all of this and the question; `--per-role`, `--fit-seeds`, `--told`, `--attacks`, `--seed`
    and `--steps` win over it.

    Example:  workbench compare toy fox church --method itd --method uce --out out/comparison

    Another:  workbench compare studies/comparisons/closed-form.yaml --out out/closed-form

    All of them:  workbench compare --all --out out/all

    The same, told all that can be:  workbench compare --all --told all --out out/all-told

    What is one's own:  workbench compare MODEL lion.yaml --method uce --suite lion.csv --judge clip:CLIP --out out/lion

    The same, attacked:  workbench compare --all --attacks toy --out out/all-attacked

    Two kinds of model:  a run each with the same concepts and --per-role, then workbench report RUN_A RUN_B --out HTML
    """
    check_writable(out)
    said = (concepts, method, settings, way)
    model = _all(model, *said) if everything else _named(model)
    plan = _file(model, *said) or _flags(model, *said)
    changed = {"per_role": per_role, "fit_seeds": fit_seeds, "told": told, "seed": seed, "attacks": _attacks(attacks)}
    plan = plan.model_copy(update={key: value for key, value in changed.items() if value is not None})
    import workbench as wb
    from workbench.attacks.robustness import robustness
    from workbench.attacks.tables import attack_table
    from workbench.comparison.measured import FILE, write_measured
    from workbench.comparison.published import check_published
    from workbench.evaluation.differences import best_methods
    from workbench.evaluation.results import Results
    from workbench.evaluation.tables import choices, metrics_with_all, titled
    from workbench.reports.attacking import without_attacks

    lists = _lists(suite, plan)
    comparison = plan.comparison(
        lambda words: concepts_of(words, plan.told),
        lambda concept, per_role, seed: suite_of(concept, lists.get(concept.name), per_role, seed),
    )
    asked = [name for subject in comparison.subjects for name in subject.suite.concepts]
    looks, *others = judges_of(judge, comparison.concepts, asked)
    handle = opened(plan.model, device=device, dtype=dtype)
    with progress_bars() as progress:
        run = wb.compare(
            handle, comparison, looks, out, batch_size=batch_size, progress=progress,
            **(plan.sampling if steps is None else {**plan.sampling, "steps": steps}),
        )  # fmt: skip
        for other in others:
            wb.judge(run, other, progress=progress)
        wb.explain(run, handle, comparison.concepts[:1], looks, progress=progress)
    whole = Results.of(run, run.name_of(looks))
    results = without_attacks(whole)
    rates, attacked = metrics_with_all(results), attack_table(whole) if plan.attacks else None
    robust = None if attacked is None else robustness(attacked, rates)
    show_comparison(titled(rates), titled(best_methods(results)), titled(choices(results)), robust, json=json)
    if not json:
        show_published(check_published(results))
    if others:
        names = ", ".join(run.name_of(other) for other in others)
        typer.echo(
            f"The table is what {results.judge_name} sees; workbench runs {out} --judge NAME for {names}.", err=True
        )
    if everything and plan.told == "few":
        write_measured(results, plan, out / FILE, attacked)
    path = wb.report(whole, out / "report.html")
    typer.echo(f"The report is at {path.absolute()}", err=True)


def _named(model: str | None) -> str:
    if model is None:
        raise WorkbenchError("There is nothing to compare.", "Name a model, a comparison file, or --all.")
    return model


def _all(*given: str | list[str] | None) -> str:
    """The file that comes with the embedded model."""
    if any(given):
        raise WorkbenchError("--all says which model, concepts and methods to compare.", "Leave them out, or leave it.")
    from workbench.toy import all_methods

    return str(all_methods())


def _attacks(word: str | None) -> "AttackPlan | None":
    """What a file of attacks says, or one of those that come with the embedded models, by their names."""
    from workbench.comparison.attacking import read_attacks
    from workbench.toy import ATTACKS, all_attacks

    return None if word is None else read_attacks(all_attacks(word) if word in ATTACKS else word)


def _file(model: str, *given: list[str] | None) -> "ComparisonFile | None":
    """What the comparison file says; None if the first word is a model."""
    from workbench.comparison.plan import read_comparison

    if not model.endswith(YAML):
        return None
    if any(given):
        raise WorkbenchError(
            f"{model} says which concepts and methods to compare.", "Leave them out here, or name a model instead."
        )
    return read_comparison(model)


def _lists(given: list[str] | None, plan: "ComparisonFile") -> dict[str, Path]:
    """The lists of prompts by the names of their concepts. Refuses them where lengths are chosen on other prompts."""
    if not given:
        return {}
    if plan.stop:
        raise WorkbenchError(
            "`stop` chooses lengths on prompts that a list does not have.", "Leave `stop` out, or --suite."
        )
    names = [concept.name for concept in concepts_of(list(plan.concepts), plan.told)]
    found = {}
    for word in given:
        name, _, path = word.rpartition("=")
        name = name or (names[0] if len(names) == 1 else "")
        if name not in names:
            raise unknown_name(f"concept of --suite {word}:", name, names)
        found[name] = Path(path)
    return found


def _flags(
    model: str, concepts: list[str] | None, method: list[str] | None, settings: list[str] | None, way: list[str] | None
) -> "ComparisonFile":
    """The same, said by arguments and options."""
    from workbench.comparison.plan import ComparisonFile
    from workbench.erasure import find_method

    names = {name: find_method(name).__name__ for name in method or ()}
    entries: dict[str, dict[str, Any]] = {title: {"method": name} for name, title in names.items()}
    for key, value in read_pairs(settings or [], "--set").items():
        name, _, setting = key.partition(".")
        if name not in names or not setting:
            raise WorkbenchError(f"--set: {key!r} is no setting of a compared method.", "Write uce.damping=1.")
        entries[names[name]][setting] = value
    said = {"question": "", "model": model, "concepts": concepts or [], "methods": entries, "ways": way or ["single"]}
    return build(ComparisonFile, said, "workbench compare")
