"""The command `workbench`: its sub-commands, and the one place where errors become sentences and exit codes.

Exit codes: 0 done; 1 a problem that the user can solve (or a fault of ours); 2 wrong usage; 130 interrupted (SIGINT);
143 told to end (SIGTERM).
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from saes.errors import WorkbenchError
from workbench.cli import (
    attack,
    attacks,
    bake,
    calibrate,
    card,
    compare,
    dashboard,
    demo,
    edits,
    erase,
    evaluate,
    export,
    fidelity,
    find,
    generate,
    harvest,
    icd,
    icr,
    imported,
    inside,
    judge,
    lens,
    methods,
    models,
    name,
    neighbours,
    pairs,
    plan,
    probe,
    protocols,
    report,
    runs,
    safety,
    sites,
    study,
    suite,
    sweep,
    toy,
    train,
)

DEBUG = "--debug"
INTERRUPTED, TERMINATED = 130, 128 + signal.SIGTERM
COMMANDS = (
    demo.demo,
    models.models,
    sites.sites,
    generate.generate,
    harvest.harvest,
    train.train,
    fidelity.fidelity,
    sweep.sweep,
    find.find,
    name.name,
    neighbours.neighbours,
    probe.probe,
    inside.inside,
    lens.lens,
    methods.methods,
    plan.plan,
    erase.erase,
    icd.icd,
    bake.bake,
    export.export,
    evaluate.evaluate,
    attacks.attacks,
    attack.attack,
    suite.suite,
    pairs.pairs,
    compare.compare,
    judge.judge,
    icr.icr,
    safety.safety,
    protocols.protocols,
    protocols.protocol,
    card.card,
    calibrate.calibrate,
    runs.runs,
    report.report,
    dashboard.dashboard,
)

app = typer.Typer(
    name="workbench", no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"max_content_width": 100}
)
app.add_typer(edits.app, name="edits")
app.add_typer(study.app, name="study")
app.add_typer(toy.app, name="toy")
app.command(name="import")(imported.import_)
for command in COMMANDS:
    app.command(cls=erase.HelpWithSettings if command is erase.erase else None)(command)


@app.callback()
def workbench(debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error.")] = False) -> None:
    """Find where a text-to-image model keeps a concept, take it out, and see whether it is really gone.

    Start with:  workbench demo
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command (of `sys.argv` by default) and returns its exit code. `--debug` may stand anywhere."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it advises to install what we cannot use
    given = sys.argv[1:] if arguments is None else arguments
    words = [word for word in given if word != DEBUG]
    try:
        with ending_in_order():
            app(words, prog_name="workbench")
    except SystemExit as end:  # how typer ends, also after an interrupt
        code = end.code if isinstance(end.code, int) else 1
        if code in (INTERRUPTED, TERMINATED):
            say("Interrupted. Run the same command again: what it had finished and saved is used again.")
        return code
    except Exception as error:
        if DEBUG in given:
            raise
        say(f"Error: {error if isinstance(error, WorkbenchError) else fault(error)}")
        return 1
    return 0


@contextmanager
def ending_in_order() -> Iterator[None]:
    """SIGTERM ends the block as an interrupt does: what is half done is put away, and what was done is kept."""
    if threading.current_thread() is not threading.main_thread():  # which alone may say so
        yield
        return

    def ends(*_: Any) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, ends)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def fault(error: Exception) -> str:
    """What is said of an error that nobody foresaw."""
    return (
        f"{type(error).__name__}: {error}. This is a fault of the workbench, not yours. "
        f"Run the command again with {DEBUG} and report what it prints."
    )


def say(sentence: str) -> None:
    """Prints to the error stream, in red where that is a terminal."""
    typer.secho(sentence, err=True, fg=typer.colors.RED)
