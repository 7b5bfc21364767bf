"""`workbench protocols` and `workbench protocol`: what publications ask, as files, and their figures on any model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saes.disk import replacing
from saes.errors import unknown_name
from workbench.cli.lookup import YAML
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Dtype, Json, JudgeNames, ModelName, check_writable
from workbench.cli.tables import show
from workbench.configs import read_pairs
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.protocols.protocol import Protocol


def protocols(
    name: Annotated[str, typer.Argument(help="One to be shown whole; left out, all are listed.")] = "",
    json: Json = False,
) -> None:
    """List the protocols of publications, or show one.

    Example:  workbench protocols   and then   workbench protocols toy-unlearncanvas
    """
    if name:
        protocol = _protocol(name)
        said = {key: value for key, value in protocol.model_dump(mode="json").items() if value not in ("", [], {}, ())}
        show([said] if json else [{"field": key, "value": value} for key, value in said.items()], json=json, title=name)
        return
    rows = [_listed(one, _protocol(one)) for one in _known()]
    show(rows, json=json, title="Protocols; those of the toy run offline")


@loads_a_model
def protocol(
    model: ModelName,
    name: Annotated[str, typer.Argument(help="A name of `workbench protocols`, or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder; an unfinished one is continued.")],
    edit: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of an edit; repeatable, one for each target, in the order of a sequence."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="The target, as the protocol and its judge call it; left out, what the edits erase."),
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="Your copy of the list, of a protocol that takes one.")
    ] = None,
    judge: JudgeNames = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE: samples otherwise than the protocol; repeatable.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images made at once.", min=1)] = 16,
    device: Device = None,
    dtype: Dtype = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Run a protocol on a model and edits, and show the figures that it defines.

    Edits of one method are one row: the mean over their targets.

    Example:  workbench protocol toy toy-hub --edit edits/fox-uce --out out/hub
    """
    check_writable(out)
    from workbench.cli.evaluate import edits_of
    from workbench.cli.judging import judges_of
    from workbench.protocols.running import FIGURES_FILE, protocol_table, run_protocol, trials_of

    asked = _protocol(name)
    edits = {key: one for key, one in edits_of(edit or []).items() if one is not None}
    trials = trials_of(asked, edits, listed, target or ())
    concepts = dict.fromkeys(concept for suite, _ in trials for concept in suite.concepts if concept)
    looks = judges_of(judge or list(asked.judges), _kinds(asked), list(concepts)) if judge or asked.judges else []
    handle = opened(model, device=device, dtype=dtype)
    with progress_bars() as progress:
        run = run_protocol(
            handle, asked, trials, looks, out, batch_size=batch_size, progress=progress,
            **read_pairs(settings or [], "--set"),
        )  # fmt: skip
    table = protocol_table(asked, run, looks)
    with replacing(out / FIGURES_FILE) as temporary:
        table.to_csv(temporary, index=False)
    rows = table.to_dict("records")
    show(rows if json else _side_by_side(rows), json=json, title=f"{name}, with 95 % intervals")
    for sentence in [f"{n} prompts may involve a minor and were left out." for n in _dropped(trials) if n]:
        typer.echo(sentence, err=True)
    for sentence in asked.differs:
        typer.echo(sentence, err=True)
    typer.echo(f"Saved {out}. Another judge: workbench judge {out / 'run'}", err=True)


def _known() -> dict[str, Path]:
    from workbench import toy
    from workbench.protocols.protocol import FOLDER, protocols_of

    return protocols_of(FOLDER, toy.protocols_folder())


def _protocol(name: str) -> "Protocol":
    from workbench.protocols.protocol import read_protocol

    if name.endswith(YAML):
        return read_protocol(name)
    known = _known()
    if name not in known:
        raise unknown_name("protocol", name, known)
    return read_protocol(known[name])


def _listed(name: str, one: "Protocol") -> dict[str, Any]:
    pictures = "as listed" if one.takes else len(one.numbers)
    return {
        "protocol": name, "what it asks": one.about, "figures": one.figures, "seeds": pictures,
        "judge": ", ".join(one.judges) or one.judge, "you bring": one.takes or "–", "source": one.source,
    }  # fmt: skip


def _kinds(asked: "Protocol") -> "list[Any]":
    """The concepts of a grid, each of the kind that its domain is called like, if there is such a kind."""
    from workbench.concepts import TEMPLATES, Concept

    return [
        Concept(name, kind=domain if domain in TEMPLATES else "object")
        for domain, names in asked.domains.items()
        for name in names
    ]


def _dropped(trials: "list[Any]") -> list[int]:
    return [max(suite.dropped for suite, _ in trials)]


def _side_by_side(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each judge, condition and target, a column for each figure."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        about = {key: row[key] for key in ("judge", "condition", "target", "targets")}
        line = lines.setdefault(tuple(map(str, about.values())), about)
        number = f"{row['value']:.3f} ({row['low']:.2f} to {row['high']:.2f})"
        line[row["figure"]] = number if row["value"] == row["value"] else row["mark"] or "–"
    names = dict.fromkeys(name for line in lines.values() for name in line)
    return [{name: line.get(name) for name in names} for line in lines.values()]
