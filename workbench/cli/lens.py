"""`workbench lens`: when a picture that is written token by token is decided, as a page of figures."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Device, ModelName, Seed, all_settings, check_new
from workbench.progress import progress_bars

PANELS = {"the picture": "own", "read from a picture of another prompt": "other_picture"}


@loads_a_model
def lens(
    model: ModelName,
    prompt: Annotated[list[str], typer.Option(help="A prompt; repeat it, for others are the control.")],
    out: Annotated[Path, typer.Option(help="The page (HTML); refused if it exists.")],
    seeds: Annotated[int, typer.Option(help="Pictures of each prompt.", min=1)] = 4,
    seed: Seed = 0,
    reads: Annotated[
        Literal["guided", "cond", "uncond"],
        typer.Option(help="The prediction that sampling follows, or that of the row with or without the prompt alone."),
    ] = "guided",
    edit: Annotated[list[Path] | None, typer.Option(help="Folder of an edit in place; repeat to compose.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Guidance; the model's own if left out.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Another setting of sampling, such as temperature=0.7.")
    ] = None,
    device: Device = None,
    config: Config = None,
) -> None:
    """Read the image head off every layer of a Janus: what each layer would have drawn, and how deep cells are decided.

    The same cell under another prompt and another cell of the picture are the controls: a layer that agrees with the
    end no better than these has decided nothing.

    Example:  workbench lens toy-janus --prompt "a photo of a fox" --prompt "a photo of a mug" --out lens.html
    """
    check_new(out)
    given = all_settings({"guidance_scale": guidance_scale}, settings)
    import workbench as wb
    from workbench.figures.lens import lens_by_layer, lens_cells, lens_depths, lens_pictures
    from workbench.reports.pages import write_page

    handle, edits = opened(model, device=device), [wb.load_edit(folder) for folder in edit or []]
    texts = [text for text in prompt for _ in range(seeds)]
    with progress_bars() as progress, handle.edited(*edits):
        own = list(range(seed, seed + seeds)) * len(prompt)
        seen = wb.logit_lens(handle, texts, own, reads=reads, progress=progress, **given)
    table = seen.by_layer()
    rows = {"guided": "both rows, joined by guidance", "cond": "the row of the prompt", "uncond": "the row without it"}
    parts = {
        "What is read": f"Predictions of {rows[reads]}, each cell given the true tokens before it.",
        "Agreement with the end, layer by layer": lens_by_layer(table),
        "What each layer would have drawn": lens_pictures(seen.drawn, texts, seen.sites),
        "How deep each cell is decided": lens_depths(seen.images, seen.decided, texts, len(seen.sites)),
        f"KL to the end by layer and cell, first picture of {texts[0]!r}": lens_cells(
            {name: seen.values[source, "kl"][0] for name, source in PANELS.items()}, seen.sites, "nats"
        ),
        "Table": table,
    }
    typer.echo(write_page(out, f"When {handle.name} decides a picture", parts))
