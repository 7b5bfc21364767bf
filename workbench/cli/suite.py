"""`workbench suite`: the prompts of an evaluation, for a concept that nobody prepared, or of what attacks found."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saes.errors import WorkbenchError
from workbench.cli.describing import takes_a_concept
from workbench.cli.lookup import one_concept, read_prompts
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Seed, check_new
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.concepts import Concept
    from workbench.evaluation.suites import Suite


@loads_a_model
@takes_a_concept
def suite(
    source: Annotated[str, typer.Argument(help="A model, where a concept follows; else a run of `workbench attack`.")],
    about: Annotated[
        str | None,
        typer.Argument(help="The concept: a file (YAML), a name of the toy's world, or one that options tell."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="The new suite: a list (FILE.csv), or a folder.")],
    among: Annotated[
        Path | None, typer.Option(help="Words among which near ones are sought, one a line; of its kind if left out.")
    ] = None,
    near: Annotated[int, typer.Option(help="How many near words are asked for.", min=0)] = 4,
    unrelated: Annotated[
        Path | None, typer.Option(help="Captions of other things: a list, whose column `expected` says what they show.")
    ] = None,
    prompts_file: Annotated[
        Path | None, typer.Option(help="Sentences with one {} for the concept; those of its kind if left out.")
    ] = None,
    per_role: Annotated[int, typer.Option(help="Prompts of each role.", min=1)] = 16,
    seed: Seed = 0,
    device: Device = None,
    against: Annotated[str, typer.Option(help="The edit that was attacked; left out, the only one.")] = "",
    attack: Annotated[list[str] | None, typer.Option(help="An attack of the run; repeatable; all if left out.")] = None,
    concept: Annotated[str, typer.Option(help="The concept, as tables call it; left out, the only one.")] = "",
    as_text: Annotated[
        bool, typer.Option("--as-text", help="Prompts as text, even where the tokenizer reads it otherwise.")
    ] = False,
    config: Config = None,
) -> None:
    """Make a suite for a concept that nobody prepared, to be read and changed before any picture is made.

    It asks for the concept by each of its words, for its anchor, for what fits are told to keep, for words that this
    model reads as near ones (the nearest among --among that no fit is told), and for other things.

    Or, of a run of attacks: a suite of what they found against one edit, which replays on any other edit or model. Its
    prompts are text where the tokenizer reads it as the attack meant it, else ids; or embeddings, encodings and starts.
    The same rows without an attack stand beside them. --against, --attack, --concept and --as-text belong to it.

    Example:  workbench suite MODEL lion --kind object --anchor cat --retain dog --out suites/lion.csv

    Another:  workbench suite out/attacks --out suites/against-uce

    Then:     workbench evaluate toy fox --edit edits/fox-itd --suite suites/against-uce --out out/replayed
    """
    check_new(out)
    import workbench as wb

    of_attacks = {"--against": against, "--attack": attack, "--concept": concept, "--as-text": as_text}
    of_concepts: dict[str, Any] = {"--among": among, "--unrelated": unrelated, "--prompts-file": prompts_file}
    of_concepts |= {one.as_typed().strip(): one.given for one in (takes_a_concept, loads_a_model)}
    for name, given in (of_concepts if about is None else of_attacks).items():
        if given:
            raise WorkbenchError(
                f"{name} has no effect on a suite "
                + ("of attacks." if about is None else "for a concept that nobody prepared."),
                "Leave it out, or name a model and a concept." if about is None else "Leave it out.",
            )
    if about is None:
        found = wb.adversarial_suite(
            wb.Run.open(Path(source)), against, attacks=tuple(attack or ()), concept=concept, as_text=as_text
        )
        wb.write_suite(found, out)
        _say_attacks(found, out)
        return
    wanted = one_concept(about)
    found = _asked(source, wanted, among, near, unrelated, prompts_file, per_role, seed, device)
    wb.write_suite(found, out)
    rows = out if out.suffix.lower() == ".csv" else out / "suite.csv"
    roles = ", ".join(f"{role} {n}" for role, n in Counter(row.role for row in found.rows).items())
    typer.echo(f"Saved {out}: {len(found.rows)} prompts ({roles}).")
    if words := sorted({row.expected for row in found.rows if row.role == "neighbour"}):
        typer.echo(f"Near words, of which no fit is told: {', '.join(words)}. Take out what is no other concept.")
    options = loads_a_model.as_typed() + takes_a_concept.as_typed()
    typer.echo(
        f"Read and change {rows}. Next: workbench evaluate {source} {about}{options} --edit … --suite {out} "
        "--judge clip:CLIP --out out/run",
        err=True,
    )


def _asked(
    model: str, concept: "Concept", among: Path | None, near: int, unrelated: Path | None, prompts: Path | None,
    per_role: int, seed: int, device: str | None,
) -> "Suite":  # fmt: skip
    from workbench.evaluation.asking import Untold, asked_suite, asking
    from workbench.interpret.neighbours import nearest

    shipped = asking()
    candidates = read_prompts(among) if among else shipped.words.get(concept.kind, ())
    if near and not candidates:
        raise WorkbenchError(
            f"There are no words of the kind {concept.kind!r} among which near ones could be sought.",
            "Give some with --among, or --near 0 to do without.",
        )
    far = _captions(unrelated) if unrelated else shipped.unrelated
    sentences = read_prompts(prompts) if prompts else ()
    asked_suite(concept, Untold((), far), sentences, per_role=per_role, seed=seed)  # refuses before anything is loaded
    words: list[str] = []
    if near:
        with progress_bars() as progress:
            words = nearest(opened(model, device=device), concept, candidates, near, progress=progress)
    return asked_suite(concept, Untold(words, far), sentences, per_role=per_role, seed=seed)


def _captions(path: Path) -> list[tuple[str, str]]:
    """The prompts of a list, with what its column `expected` says, if it has one."""
    from workbench.lists import read_list

    return [(record.prompt, record.fields.get("expected", "")) for record in read_list(path).records]


def _say_attacks(found: "Suite", out: Path) -> None:
    from workbench.attacks.attempts import kind_of

    own = [row for row in found.rows if found.known_roles[row.role].adversarial]
    kinds = Counter(kind_of(found.inputs[row.input] if row.input else None) for row in own)
    typer.echo(f"Saved {out}: {len(own)} prompts ({', '.join(f'{kind} {n}' for kind, n in kinds.most_common())}).")
    typer.echo("Next: workbench evaluate … --suite " + str(out), err=True)
