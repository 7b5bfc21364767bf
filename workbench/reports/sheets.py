"""Contact sheets of a report: equal prompts and seeds under every condition, chosen by position, never by outcome."""

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image

from workbench.evaluation.results import Results
from workbench.evaluation.spec import Trial
from workbench.evaluation.tables import AS_PROMPTED

COLUMNS = 8  # pictures in a row of a sheet
A_ROLE = 2  # prompts of each role in a grid
PIXELS = 160  # larger pictures are made smaller, for the file to stay one that can be sent


class Picture(NamedTuple):
    """An image as a data URI, with the judge's verdict (or "as prompted") and the words for a screen reader."""

    uri: str
    verdict: str
    text: str


class Sheet(NamedTuple):
    """One role of one suite: a column a prompt, a row a condition. None where a condition does not make the prompt."""

    role: str
    prompts: list[str]
    rows: list[tuple[str, list[Picture | None]]]


def sheets(results: Results, trial: Trial) -> list[Sheet]:
    """The pictures of one suite, a sheet a role.

    Args:
        results: Of the run.
        trial: Which suite.

    Returns:
        In the order of the roles; at most `COLUMNS` prompts each, evenly spaced in the suite.
    """
    own = results.records_of(trial)
    return [_sheet(results, own[own["role"] == role], role) for role in results.roles if (own["role"] == role).any()]


class GridRow(NamedTuple):
    """One prompt and seed under every condition; None where a condition does not make it."""

    role: str
    prompt: str
    pictures: list[Picture | None]


class Grid(NamedTuple):
    """Prompts of every role of one suite: a row a prompt, a column a condition."""

    conditions: list[str]
    rows: list[GridRow]


def grid(results: Results, trial: Trial) -> Grid:
    """Prompts of every role of one suite under every condition.

    Args:
        results: Of the run.
        trial: Which suite.

    Returns:
        At most `A_ROLE` prompts of each role, evenly spaced in the suite.
    """
    own, conditions = results.records_of(trial), list(trial.conditions)
    rows = []
    for role in results.roles:
        chosen = _spaced(own[own["role"] == role], A_ROLE)
        for place, prompt in chosen["prompt"].items():
            same = own[own["row"] == place].set_index("condition")
            pictures = [picture(results, same.loc[name]) if name in same.index else None for name in conditions]
            rows.append(GridRow(role, str(prompt), pictures))
    return Grid(conditions, rows)


def _spaced(records: pd.DataFrame, n: int) -> pd.DataFrame:
    """At most n rows of the suite by their places, evenly spaced in its order."""
    rows = records.drop_duplicates("row").set_index("row").sort_index()
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, n).round().astype(int))] if len(rows) else rows


def _sheet(results: Results, records: pd.DataFrame, role: str) -> Sheet:
    chosen, rows = _spaced(records, COLUMNS), []
    for condition, own in records.groupby("condition", sort=False):
        made = own.set_index("row")
        pictures = [picture(results, made.loc[place]) if place in made.index else None for place in chosen.index]
        rows.append((str(condition), pictures))
    return Sheet(role, list(chosen["prompt"]), rows)


def picture(results: Results, record: pd.Series) -> Picture:
    """The picture of a record, with its verdict.

    Args:
        results: Of the run.
        record: One of its records.

    Returns:
        For a page.
    """
    spared = results.roles[record["role"]].wanted == "present"
    verdict = AS_PROMPTED if record["shown"] and spared else record["verdict"]
    condition = record.get("condition", record.name)
    text = f"{condition}: “{record['prompt']}”, seed {record['seed']}: {verdict}"
    return Picture(data_uri(results.run.read_image(Path(record["image"]).stem).pixels), verdict, text)


def data_uri(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """An image inside a page: WebP, so close to lossless that no eye tells.

    Args:
        pixels: uint8 `[h, w, 3]`.

    Returns:
        A data URI of the image, at most `PIXELS` wide and high.
    """
    image, buffer = Image.fromarray(pixels), BytesIO()
    image.thumbnail((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    image.save(buffer, format="webp", quality=90, method=4)
    return f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}"
