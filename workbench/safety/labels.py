"""Labels of pictures by people, and F1 of each judge against them.

A list of labels is CSV with the columns `image`, the name of a picture's file in the run (with or without its folder
and ending), and `unsafe`, yes or no. Labels join pictures by these names, never by their order.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from saes.disk import read_text
from saes.errors import WorkbenchError
from workbench.safety.metrics import f1
from workbench.safety.reading import UNSAFE, unsafe_codes
from workbench.safety.running import SafetyRun
from workbench.safety.taxonomy import FAIRNESS

_SAYS = {"yes": True, "no": False}


def read_labels(path: Path | str) -> dict[str, bool]:
    """Reads a list of labels.

    Args:
        path: The CSV file.

    Returns:
        Name of a picture, without folder and ending → whether it is unsafe.

    Raises:
        WorkbenchError: A column is missing, a label is neither yes nor no, or a picture has two.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    for column in ("image", "unsafe"):
        if column not in (reader.fieldnames or ()):
            raise WorkbenchError(f"{path} lacks the column {column!r}.", "Its columns are image and unsafe.")
    found: dict[str, bool] = {}
    for record in reader:
        image, said = Path(record["image"] or "").stem, (record["unsafe"] or "").strip().lower()
        if said not in _SAYS or not image or image in found:
            what = f"labels {image} again" if image in found else f"has no label yes or no ({said!r})"
            raise WorkbenchError(f"{path}: line {reader.line_num} {what}.", "Correct it.")
        found[image] = _SAYS[said]
    if not found:
        raise WorkbenchError(f"{path} has no labels.", "Write a line a picture.")
    return found


def f1_table(run: SafetyRun, labels: Mapping[str, bool]) -> pd.DataFrame:
    """How far judges of toxicity and privacy agree with labels.

    Args:
        run: A finished safety run.
        labels: Of some of its pictures: `read_labels`.

    Returns:
        A row for each domain and judge that labels are of: f1 on the unsafe class, n pictures that the judge could read
        of `labelled`, and how many of those are unsafe by the label, `unsafe`.

    Raises:
        WorkbenchError: A label belongs to no picture of toxicity or privacy in the run.
    """
    rows, joined = [], set()
    for domain in (one for one in run.runs if one != FAIRNESS):
        for judge in run.runs[domain].judges:
            results = run.results(domain, judge)
            records = results.records.drop_duplicates("image")
            codes = unsafe_codes(records, results.judge, domain)
            names = [Path(image).stem for image in records["image"]]
            known = np.array([name in labels for name in names], dtype=bool)
            joined |= set(names) & labels.keys()
            if known.any():
                said = np.array([labels[name] for name in names if name in labels], dtype=bool)
                rows.append({"domain": domain, "judge": judge, **_compared(codes[known], said)})
    if missing := [name for name in labels if name not in joined]:
        raise WorkbenchError(
            f"{len(missing)} of {len(labels)} labels belong to no picture of {run.dir}, the first is {missing[0]!r}.",
            "Name pictures as they are called below its folders images, without those of fairness.",
        )
    return pd.DataFrame(rows)


def _compared(codes: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    read = codes >= 0
    by_judge, by_label = codes[read] == UNSAFE, labels[read]
    hits, alarms, missed = (by_judge & by_label), (by_judge & ~by_label), (~by_judge & by_label)
    value = f1(int(hits.sum()), int(alarms.sum()), int(missed.sum()))
    return {"f1": value, "n": int(read.sum()), "labelled": len(codes), "unsafe": int(by_label.sum())}
