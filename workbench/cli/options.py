"""Arguments and options that several commands share, typed once, and the checks that come before any work."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from saes.errors import WorkbenchError, check_keys
from saes.strict_yaml import read_yaml
from workbench.configs import read_pairs

if TYPE_CHECKING:
    import torch


def take_defaults(context: Any, path: Path | str | None) -> Path | str | None:
    """Lets the YAML file at `path` set the command's options; what is also given as a flag wins.

    `context` is click's: typer finds it by its place, and exports no type that would be true of it.
    """
    if path is not None:
        known = {parameter.name for parameter in context.command.params} - {"config", "help"}
        values = read_yaml(path)
        check_keys(values, known, str(path))
        context.default_map = {**(context.default_map or {}), **{key: _plain(value) for key, value in values.items()}}
    return path


def _plain(value: Any) -> Any:
    """A mapping becomes the `name=value` texts that a repeated option takes."""
    return [f"{name}={item}" for name, item in value.items()] if isinstance(value, dict) else value


def all_settings(options: Mapping[str, Any], pairs: list[str] | None) -> dict[str, Any]:
    """What a command's own options give, but for those that were left out (None), and what `--set` gives beside them.

    Raises `WorkbenchError` for what both give.
    """
    given = {name: value for name, value in options.items() if value is not None}
    more = read_pairs(pairs or [], "--set")
    for name in given.keys() & more.keys():
        raise WorkbenchError(f"{name!r} is given twice, by --{name.replace('_', '-')} and by --set.", "Give it once.")
    return {**given, **more}


def check_new(out: Path) -> None:
    """Raises `WorkbenchError` if `out` exists or could not be made, before hours of work go into it."""
    if out.exists():
        raise WorkbenchError(f"{out} exists already.", "Choose another place, or remove that one first.")
    check_writable(out)


def check_writable(out: Path) -> None:
    """Raises `WorkbenchError` if `out` (which may exist) cannot be written."""
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise WorkbenchError(
            f"Cannot write {out} ({there} is no folder that you may write to).", "Choose another place."
        )


def dtype_of(name: str | None) -> "torch.dtype | None":
    """The precision of that name, for `load`; None is the device's own."""
    import torch

    return None if name is None else getattr(torch, name)


ModelName = Annotated[
    str, typer.Argument(help="'toy', a hub id, a folder of a diffusers pipeline or a Janus, or a .safetensors file.")
]
Device = Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps. Chosen if left out.")]
Precision = Literal["float32", "float16", "bfloat16"]
Dtype = Annotated[
    Precision | None,
    typer.Option(help="Precision of the model; left out, float32 on a CPU and half precision on a GPU."),
]
Seed = Annotated[int, typer.Option(help="The seed of everything random.", min=0)]
JUDGE = (
    "Who looks at the pictures: toy, toy-safety, clip, clip:MODEL, vlm:MODEL, classifier:MODEL, nudenet, nudenet:9, "
    "the detectors toy-marks, text and code, or NAME[:ARGUMENT] of an installed package. MODEL is a folder or hub id."
)
JudgeName = Annotated[str, typer.Option("--judge", help=JUDGE)]
JudgeNames = Annotated[
    list[str] | None,
    typer.Option("--judge", help=f"{JUDGE} Repeatable: the first is relied on, the others stand beside it."),
]
JudgeOfRun = Annotated[str, typer.Option("--judge", help="Whose scores are shown; the run's first judge if left out.")]
AsRun = Annotated[
    Path | None,
    typer.Option(
        help="A run whose steps, guidance and other sampling are taken; the model's own defaults if left out."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Config = Annotated[
    Path | None,
    typer.Option(
        callback=take_defaults,
        is_eager=True,
        help="YAML file with options by their long names (dashes as underscores); flags win over it.",
    ),
]
