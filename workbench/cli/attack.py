"""`workbench attack`: is a concept really gone? Attacks on edits, beside controls."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saes.errors import WorkbenchError
from workbench.cli.describing import takes_a_concept
from workbench.cli.evaluate import edits_of
from workbench.cli.judging import judges_of
from workbench.cli.lookup import one_concept, suite_of
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Dtype, Json, JudgeNames, ModelName, Seed, check_writable
from workbench.cli.tables import show_attacks
from workbench.configs import read_pairs
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.attacks.attack import Attack
    from workbench.concepts import Concept
    from workbench.evaluation.suites import Suite


@loads_a_model
@takes_a_concept
def attack(
    model: ModelName,
    concept: Annotated[str, typer.Argument(help="The erased concept: a YAML file, or a name of the toy's world.")],
    edit: Annotated[list[Path], typer.Option(help="Folder of an edit; repeat to attack several.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is continued.")],
    attack: Annotated[list[str], typer.Option(help="A name of `workbench attacks`; repeatable.")] = ["replay"],  # noqa: B006
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting as attack.name=value, such as noised.starts=[0.8].")
    ] = None,
    images: Annotated[int, typer.Option(help="Pictures that an attack may draw for a prompt.")] = 8,
    gradients: Annotated[int, typer.Option(help="Backward passes that it may make for a prompt.")] = 400,
    suite: Annotated[Path | None, typer.Option(help="CSV file of prompts; left out, made for a toy concept.")] = None,
    prompts: Annotated[int, typer.Option(help="Prompts of the suite that is made.", min=1)] = 16,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Pictures of the concept, for attacks that start from some; left out, the model draws them."),
    ] = None,
    controls: Annotated[
        bool,
        typer.Option(help="Compare with new seeds, random draws of what is sought, and an edit that does nothing."),
    ] = True,
    never_known: Annotated[
        str | None,
        typer.Option(help="A concept that the judge knows and the model does not, attacked in the concept's place."),
    ] = None,
    transfer: Annotated[bool, typer.Option(help="Try what was made against one edit on the others too.")] = False,
    batch_size: Annotated[int, typer.Option(help="Prompts attacked at once.", min=1)] = 16,
    judge: JudgeNames = None,
    seed: Seed = 0,
    device: Device = None,
    dtype: Dtype = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Look for prompts, and starts, by which edited models show an erased concept after all.

    Every attack brings its controls: what as many pictures from new seeds find, as many random draws of what it
    seeks, and the attack on the unedited model.

    Example:  workbench attack toy fox --edit edits/fox-uce --attack replay --attack noised --out out/attacks
    """
    check_writable(out)
    import workbench as wb
    from workbench.attacks.attack import Budget
    from workbench.attacks.tables import attack_table

    budget, erased = Budget(images, gradients), one_concept(concept)
    attacks = _attacks(attack, erased, settings or [], pictures)
    conditions = edits_of(edit)
    conditions |= {"no-op": wb.load_edit(edit[0]).no_op()} if controls else {}
    asked = _about_the_target(suite_of(erased, suite, prompts, seed))
    unknown = None if never_known is None else _never_known(asked, erased, never_known)
    looks, *others = judges_of(judge, [erased], [*asked.concepts, *([never_known] if never_known else [])])
    handle = opened(model, device=device, dtype=dtype)
    with progress_bars() as progress:
        run = wb.run_attacks(
            handle, conditions, asked, attacks, looks, out, budget=budget, seed=seed, controls=controls,
            never_known=unknown, transfer=transfer, batch_size=batch_size, progress=progress,
        )  # fmt: skip
        for other in others:
            wb.judge(run, other, progress=progress)
    show_attacks(attack_table(run), json=json, title=f"{erased.name} ({len(run.spec.cells())} images)")
    typer.echo(f"Saved {out}. Next: workbench report {out}; workbench suite {out}", err=True)


def _attacks(
    names: Sequence[str], concept: "Concept", settings: Sequence[str], pictures: Path | None
) -> "dict[str, Attack]":
    """The attacks by their names, with what the concept, `--set` and `--pictures` say of them."""
    from workbench.attacks import attack_of, find_attack
    from workbench.knobs import knobs

    if len(set(names)) < len(names):
        raise WorkbenchError(f"An attack is named twice ({', '.join(names)}).", "Name each once.")
    given: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in read_pairs(settings, "--set").items():
        name, _, setting = key.partition(".")
        if name not in given or not setting:
            raise WorkbenchError(f"--set: {key!r} is no setting of an attack here.", "Write noised.starts=[0.8].")
        given[name][setting] = value
    if pictures is not None:
        taking = [name for name in names if any(one.setting == "pictures" for one in knobs(find_attack(name)))]
        if not taking:
            raise WorkbenchError(f"None of these attacks takes pictures ({', '.join(names)}).", "Leave --pictures out.")
        given |= {name: {"pictures": str(pictures), **given[name]} for name in taking}
    return {name: attack_of(name, concept, told) for name, told in given.items()}


def _about_the_target(suite: "Suite") -> "Suite":
    """The rows that are attacked, and no others."""
    from dataclasses import replace

    from workbench.attacks.target import Target

    return replace(suite, rows=tuple(Target(suite, {}, {}).rows))


def _never_known(suite: "Suite", concept: "Concept", name: str) -> "Suite":
    """The same prompts about another concept."""
    from dataclasses import replace

    rows = tuple(
        replace(row, prompt=row.prompt.replace(concept.name, name), expected=name)
        for row in suite.rows
        if concept.name in row.prompt
    )
    if not rows:
        raise WorkbenchError(
            f"No prompt names {concept.name!r}, so none can name {name!r}.", "Leave --never-known out."
        )
    return replace(suite, name=f"{suite.name}, {name}", rows=rows, anchor="")
