"""`workbench suite`: the prompts that attacks made against one edit, to be replayed on others."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Config, check_new


def suite(
    run: Annotated[Path, typer.Argument(help="Run from `workbench attack`.")],
    out: Annotated[Path, typer.Option(help="Folder of the new suite.")],
    against: Annotated[str, typer.Option(help="The edit that was attacked; left out, the only one.")] = "",
    attack: Annotated[list[str] | None, typer.Option(help="An attack of the run; repeatable; all if left out.")] = None,
    concept: Annotated[str, typer.Option(help="The concept, as tables call it; left out, the only one.")] = "",
    as_text: Annotated[
        bool, typer.Option("--as-text", help="Prompts as text, even where the tokenizer reads it otherwise.")
    ] = False,
    config: Config = None,
) -> None:
    """Make a suite of what attacks found against one edit, which replays on any other edit or model.

    Prompts are text where the tokenizer reads it as the attack meant it, else ids; or embeddings, encodings and starts.
    The same rows without an attack stand beside them.

    Example:  workbench suite out/attacks --out suites/against-uce

    Then:     workbench evaluate toy fox --edit edits/fox-itd --suite suites/against-uce --out out/replayed
    """
    check_new(out)
    import workbench as wb
    from workbench.attacks.attempts import kind_of

    found = wb.adversarial_suite(
        wb.Run.open(run), against, attacks=tuple(attack or ()), concept=concept, as_text=as_text
    )
    wb.write_suite(found, out)
    own = [row for row in found.rows if found.known_roles[row.role].adversarial]
    kinds = Counter(kind_of(found.inputs[row.input] if row.input else None) for row in own)
    typer.echo(f"Saved {out}: {len(own)} prompts ({', '.join(f'{kind} {n}' for kind, n in kinds.most_common())}).")
    typer.echo("Next: workbench evaluate … --suite " + str(out), err=True)
