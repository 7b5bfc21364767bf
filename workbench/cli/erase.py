"""`workbench erase`: fit one method to one or more concepts and save the edit."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from saes.locks import working_in
from saes.progress import SILENT
from saes.settings import build
from workbench.cli.describing import takes_a_concept
from workbench.cli.lookup import YAML, concepts_of
from workbench.cli.methods import show_settings
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Dtype, ModelName, Seed, check_new
from workbench.configs import read_pairs
from workbench.progress import progress_bars

WORDS = "workbench.words"


class HelpWithSettings(TyperCommand):
    """A command whose help goes on with the settings of the `--method` that is named on the same line, if one is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remembers the words: what is named after `--help` is not parsed when the help is printed."""
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Nothing of a method is imported, and nothing heavy, unless one is named."""
        super().format_help(ctx, formatter)
        given, _, _ = self.make_parser(ctx).parse_args(ctx.meta[WORDS])
        if "method" in given:
            show_settings(given["method"], json=False)


@loads_a_model
@takes_a_concept
def erase(
    model: ModelName,
    concepts: Annotated[list[str], typer.Argument(help="Concept files (YAML), or names of the toy's world.")],
    out: Annotated[Path, typer.Option(help="Folder of the new edit; refused if it exists.")],
    method: Annotated[str, typer.Option(help="The erasure method; `workbench methods` lists them.")] = "itd",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of the method as name=value; repeatable. --method NAME --help explains them."
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    dtype: Dtype = None,
    config: Config = None,
) -> None:
    """Take concepts out of a model.

    Each method has settings of its own; `workbench erase --method esd --help` explains those of one. A method that
    trains keeps checkpoints in OUT.partial until the edit is saved: after a kill, the same command goes on from the
    last one. Under `accelerate launch` several GPUs share the work of methods with micro_batches.

    Example:  workbench erase toy fox --method itd --out edits/fox-itd
    """
    import workbench as wb
    from workbench.fitting.checkpoints import forget, resumable
    from workbench.processes import processes

    partial = out.with_name(f"{out.name}.partial")
    if out.exists() and partial.is_dir():  # a kill came after the edit was saved
        with working_in(partial):
            forget(partial)
    check_new(out)
    fitted = build(wb.find_method(method), read_pairs(settings or [], "--set"), f"method {method}")
    wanted = concepts_of(concepts)
    partial, launched = out.with_name(f"{out.name}.partial"), processes()
    loaded = opened(model, device=device, dtype=dtype)
    with working_in(partial, together=launched.num_processes > 1):
        with progress_bars() as bars, resumable(partial):
            progress = bars if launched.is_main_process else SILENT
            edit = fitted.fit(loaded, wanted, seed=seed, progress=progress)
        launched.wait_for_everyone()  # before the folder exists that none of them may find
        if launched.is_main_process:
            edit.save(out)
            forget(partial)
    if launched.is_main_process:
        chosen = loads_a_model.as_typed() + takes_a_concept.as_typed()
        told = f"workbench evaluate {model} {concepts[0]}{chosen} --edit {out} --out out/run"
        # of a concept in a file nobody here has prompts, and the toy's judge knows it only by chance
        of_its_own = concepts[0].endswith(YAML) or takes_a_concept.given
        own = " --suite PROMPTS.csv --judge clip:CLIP" if of_its_own else ""
        typer.echo(f"Saved {out}. Next: {told}{own}")
