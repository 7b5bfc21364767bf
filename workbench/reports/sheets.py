"""Contact sheets of a report: equal prompts and seeds under every condition, chosen by position, never by outcome."""

from base64 import b64encode
from io import BytesIO
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image

from workbench.evaluation.runs import Run
from workbench.evaluation.suites import ROLES

COLUMNS = 8  # pictures in a row of a sheet
A_ROLE = 2  # prompts of each role in a grid
PIXELS = 160  # larger pictures are made smaller, for the file to stay one that can be sent


class Picture(NamedTuple):
    """An image as a data URI, with the judge's verdict (or "as prompted") and the words for a screen reader."""

    uri: str
    verdict: str
    text: str


class Sheet(NamedTuple):
    """One role of one concept: a column a prompt, a row a condition."""

    role: str
    prompts: list[str]
    rows: list[tuple[str, list[Picture]]]


def sheets(run: Run, concept: str, records: pd.DataFrame) -> list[Sheet]:
    """The sheets of one concept, in the order of the roles. `records` are those of the run."""
    own = records[records["concept"] == concept]
    return [_sheet(run, own[own["role"] == role], role) for role in ROLES if (own["role"] == role).any()]


class GridRow(NamedTuple):
    """One prompt and seed under every condition."""

    role: str
    prompt: str
    pictures: list[Picture]


class Grid(NamedTuple):
    """Prompts of every role of one concept: a row a prompt, a column a condition."""

    conditions: list[str]
    rows: list[GridRow]


def grid(run: Run, concept: str, records: pd.DataFrame) -> Grid:
    """`A_ROLE` prompts of each role, evenly spaced in the suite, under every condition."""
    own = records[records["concept"] == concept]
    conditions = list(dict.fromkeys(own["condition"]))
    rows = []
    for role in ROLES:
        of_role = own[own["role"] == role]
        for key in _spaced(of_role, A_ROLE).itertuples():
            same = of_role[(of_role["prompt"] == key.prompt) & (of_role["seed"] == key.seed)]
            same = same.drop_duplicates("condition").set_index("condition")
            pictures = [_picture(run, row) for row in same.loc[conditions].reset_index().itertuples()]
            rows.append(GridRow(role, str(key.prompt), pictures))
    return Grid(conditions, rows)


def _spaced(records: pd.DataFrame, n: int) -> pd.DataFrame:
    """At most n prompts with their seeds, evenly spaced in the order of the suite."""
    keys = records[["prompt", "seed"]].drop_duplicates()
    return keys.iloc[np.unique(np.linspace(0, len(keys) - 1, n).round().astype(int))] if len(keys) else keys


def _sheet(run: Run, records: pd.DataFrame, role: str) -> Sheet:
    chosen = _spaced(records, COLUMNS)
    rows = []
    for condition, own in records.groupby("condition", sort=False):
        columns = chosen.merge(own, on=["prompt", "seed"], how="left")
        rows.append((str(condition), [_picture(run, row) for row in columns.itertuples()]))
    return Sheet(role, [f"{row.prompt}" for row in chosen.itertuples()], rows)


def _picture(run: Run, row: tuple) -> Picture:
    cell = row._asdict()  # type: ignore[attr-defined]
    as_prompted = cell["shown"] and cell["role"] in ("neighbour", "unrelated")
    verdict = "as prompted" if as_prompted else cell["verdict"]
    text = f"{cell['condition']}: “{cell['prompt']}”, seed {cell['seed']}: {verdict}"
    return Picture(
        data_uri(run.read_image(cell["image"].rsplit("/", 1)[-1].removesuffix(".png")).pixels), verdict, text
    )


def data_uri(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """An image inside a page: WebP, at most `PIXELS` wide, so close to lossless that no eye tells."""
    image, buffer = Image.fromarray(pixels), BytesIO()
    image.thumbnail((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    image.save(buffer, format="webp", quality=90, method=4)
    return f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}"
