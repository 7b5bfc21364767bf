"""`workbench pairs`: pairs of prompts, with the concept and without, that a model's pictures can tell apart."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saes.errors import WorkbenchError
from workbench.cli.describing import takes_a_concept
from workbench.cli.judging import judges_of
from workbench.cli.lookup import one_concept
from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, Dtype, Json, JudgeName, ModelName, Seed, check_writable
from workbench.cli.tables import show
from workbench.progress import progress_bars

if TYPE_CHECKING:
    from workbench.concepts import Concept
    from workbench.fitting.prompt_pairs import Pairs


@loads_a_model
@takes_a_concept
def pairs(
    model: ModelName,
    concept: Annotated[str, typer.Argument(help="The concept: a YAML file, or a name of the toy's world.")],
    out: Annotated[Path, typer.Option(help="Folder of the pairs and their pictures; an unfinished one is continued.")],
    templates: Annotated[
        Path | None, typer.Option(help="YAML: `templates: [a {} by the {place}]`, `fillings: {place: [river, road]}`.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV or JSON of pairs, as EAR's authors publish them, in place of templates.")
    ] = None,
    replacement: Annotated[str, typer.Option(help="What takes the concept's place; left out, its anchor.")] = "",
    count: Annotated[int | None, typer.Option(help="So many filled templates are drawn; left out, all.", min=1)] = None,
    judge: JudgeName = "toy",
    batch_size: Annotated[int, typer.Option(help="Images made at once.", min=1)] = 16,
    seed: Seed = 0,
    device: Device = None,
    dtype: Dtype = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Fill templates with a concept and with what replaces it, draw both, and keep the pairs that a judge tells apart.

    Written are pairs.csv (for methods that are fitted on pairs), suite.csv (the prompts that show the concept, for
    `workbench evaluate --suite`), dropped.csv (with the reasons), and the pictures, as a run.

    Example:  workbench pairs toy fox --templates templates.yaml --count 100 --out out/fox-pairs
    """
    check_writable(out)
    asked = one_concept(concept)
    found = _pairs(asked, templates, pairs, replacement, count, seed)
    import workbench as wb
    from workbench.fitting.prompt_pairs import write_pairs

    (looks,) = judges_of([judge], [asked], [asked.name])
    handle = opened(model, device=device, dtype=dtype)
    with progress_bars() as progress:
        kept = wb.visually_filtered(
            handle, found.pairs, looks, out / "run", concept=asked.name, seed=seed, batch_size=batch_size,
            progress=progress,
        )  # fmt: skip
    write_pairs(kept.pairs, out / "pairs.csv")
    wb.write_suite(kept.suite, out / "suite.csv")
    kept.table.query("dropped != ''").to_csv(out / "dropped.csv", index=False)
    show(kept.table.to_dict("records"), json=json, title=f"Pairs about {asked.name}")
    filtered = f" {found.dropped} that may involve a minor were never drawn." if found.dropped else ""
    typer.echo(f"Kept {len(kept.pairs)} of {len(kept.table)} pairs in {out}.{filtered}", err=True)


def _pairs(
    concept: "Concept", templates: Path | None, given: Path | None, replacement: str, count: int | None, seed: int
) -> "Pairs":
    from workbench.fitting.prompt_pairs import prompt_pairs, read_pairs, read_templates

    if (templates is None) == (given is None):
        raise WorkbenchError("Pairs come from templates or from a file of pairs.", "Give --templates, or --pairs.")
    if given is not None:
        return read_pairs(given)
    assert templates is not None  # one of the two is given
    return prompt_pairs(concept, read_templates(templates), replacement=replacement, count=count, seed=seed)
