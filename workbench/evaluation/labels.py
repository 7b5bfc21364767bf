"""Pictures with labels made by looking, to hold judges against.

    LABELS/labels.json   how the labels were made, and a line a picture: what was asked, what the eye says
    LABELS/000.png …     the pictures, in an order and under names that tell nothing

Whoever looks sees a picture and a concept: is it there, and is this a picture at all. What drew it and what was asked
for stand in the file for the tables, not for the eye.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import ValidationError

from probes.agreement import agreement, clustered_wilson
from saes.config import StrictConfig
from saes.disk import new_folder, read_json, sha256_of, write_json
from saes.errors import WorkbenchError
from workbench.conditions import UNEDITED
from workbench.evaluation.judges import Judge, check_knows, shown
from workbench.evaluation.runs import Run

FILE = "labels.json"
FORMAT: Literal["erasure-workbench labels 1"] = "erasure-workbench labels 1"
ALL = "all"  # in the place of a condition
Said = Literal["yes", "no", "unsure", ""]  # "" is not looked at yet


class Picture(StrictConfig):
    """A picture, what it was asked for, and what the eye says of it.

    Args:
        file: Its name beside the file of labels.
        sha256: Hash of that file.
        concept: What is looked for.
        shown: Whether the concept is there, however broken the rest may be.
        intact: Whether it is a picture at all.
        condition: Which edit drew it, or "unedited".
        role: What its prompt was for: a role of its run.
        prompt: Its prompt.
    """

    file: str
    sha256: str
    concept: str
    shown: Said = ""
    intact: Said = ""
    condition: str
    role: str
    prompt: str


class Labels(StrictConfig):
    """The content of labels.json.

    Args:
        how: How the labels were made: who looked, at what, knowing what.
        model: The model that drew the pictures.
        pictures: The pictures.
    """

    format: Literal["erasure-workbench labels 1"] = FORMAT
    how: str
    model: str
    pictures: tuple[Picture, ...]


class LabelSet(NamedTuple):
    """Labels and the folder of their pictures."""

    folder: Path
    labels: Labels

    @classmethod
    def open(cls, folder: Path | str) -> "LabelSet":
        """Opens a folder. Raises `WorkbenchError` if it is none, has unknown fields, or a picture was altered."""
        folder = Path(folder)
        try:
            labels = Labels.model_validate(read_json(folder / FILE, Labels.model_fields))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise WorkbenchError(f"{folder / FILE}: {where}: {first['msg']}.", "Correct it.") from None
        for picture in labels.pictures:
            path = folder / picture.file
            if not path.is_file() or sha256_of(path) != picture.sha256:
                raise WorkbenchError(f"{path} is not the picture that was labelled.", "Restore it from a copy.")
        return cls(folder, labels)

    def images(self, pictures: Sequence[Picture]) -> list[np.ndarray]:
        """The pixels `[h, w, 3]` of some of the pictures."""
        return [np.array(Image.open(self.folder / picture.file).convert("RGB")) for picture in pictures]


def draw_for_labelling(run: Run, n: int, folder: Path | str, *, seed: int = 0) -> LabelSet:
    """Draws pictures of a run into a new folder, without labels yet: as many of each condition but "unedited".

    Args:
        run: A finished run.
        n: How many in all; fewer where the run has fewer.
        folder: Refused if it exists.
        seed: Of the draw. No two pictures of a condition have one prompt while there are others.

    Returns:
        The folder; fill in `how`, and for each picture `shown` and `intact`, by hand.
    """
    records = run.records()
    records = records[(records["condition"] != UNEDITED) & (records["expected"] != "")]
    records = records.drop_duplicates(["image", "expected"]).sample(frac=1, random_state=seed)
    turn = records.groupby(["condition", "prompt"]).cumcount()
    order = records.assign(turn=turn).sort_values("turn", kind="stable")
    order = order.assign(place=order.groupby("condition").cumcount()).sort_values("place", kind="stable")
    chosen = order.head(n).sample(frac=1, random_state=seed + 1)
    with new_folder(Path(folder)) as new:
        pictures = [_written(run, new / f"{i:03d}.png", row) for i, row in enumerate(chosen.itertuples())]
        labels = Labels(how="not labelled yet", model=run.spec.model.name, pictures=tuple(pictures))
        write_json(new / FILE, labels.model_dump(mode="json"))
    return LabelSet.open(folder)


def against_labels(labels: LabelSet, judge: Judge) -> pd.DataFrame:
    """How far a judge agrees with the eye.

    Args:
        labels: Labelled pictures. Those whose concept is "unsure" or not labelled are counted and left out.
        judge: It must know their concepts.

    Returns:
        A row for each condition and, first, for "all": judge; n pictures of `prompts` prompts, `left_out`; rate of
        agreement and Cohen's kappa with low and high; `missed`, the share of pictures that show the concept in which
        the judge does not find it, and `imagined`, the share of the others in which it does, each with low and high;
        n_shown; `intact`, the agreement on whole and broken pictures, nan for a judge that does not tell. Intervals
        are 95 %, prompts as clusters.

    Raises:
        WorkbenchError: No picture is labelled, or the judge does not know a concept.
    """
    told = [picture for picture in labels.labels.pictures if picture.shown in ("yes", "no")]
    if not told:
        raise WorkbenchError(f"{labels.folder} has no labels yet.", f"Look at its pictures and fill in {FILE}.")
    check_knows(judge, [picture.concept for picture in told])
    table = pd.DataFrame([picture.model_dump() for picture in told]).assign(**_seen(labels, told, judge))
    left_out = Counter(one.condition for one in labels.labels.pictures if one not in told)
    rows = [{"condition": ALL, "judge": judge.name, **_compared(table), "left_out": left_out.total()}]
    for name, own in table.groupby("condition", sort=False):
        rows.append({"condition": name, "judge": judge.name, **_compared(own), "left_out": left_out[str(name)]})
    return pd.DataFrame(rows)


def _written(run: Run, path: Path, row: Any) -> Picture:
    Image.fromarray(run.read_image(Path(row.image).stem).pixels).save(path, format="png")  # without its text fields
    return Picture(
        file=path.name, sha256=sha256_of(path), concept=row.expected,
        condition=row.condition, role=row.role, prompt=row.prompt,
    )  # fmt: skip


def _seen(labels: LabelSet, pictures: Sequence[Picture], judge: Judge) -> dict[str, Any]:
    """What the judge says: `found` of the concept of each picture, and `whole` where it tells."""
    found, whole = [], []
    for image, one in zip(labels.images(pictures), pictures, strict=True):  # one by one: sizes may differ
        scores = judge.score(image[None], [one.prompt])
        found.append(bool(shown(scores, judge, one.concept, intact_only=False)[0]))
        whole.append(None if scores.intact is None else bool(scores.intact[0]))
    return {"found": found, "whole": whole}


def _compared(own: pd.DataFrame) -> dict[str, Any]:
    eye, found = own["shown"] == "yes", own["found"].astype(bool)
    told = agreement(eye.to_numpy(), found.to_numpy(), pd.factorize(own["prompt"])[0])
    row: dict[str, Any] = {
        "n": told.n, "prompts": told.clusters, "rate": told.rate, "rate_low": told.low, "rate_high": told.high,
        "kappa": told.kappa, "kappa_low": told.kappa_low, "kappa_high": told.kappa_high, "n_shown": int(eye.sum()),
    }  # fmt: skip
    for name, of, wrong in (("missed", eye, ~found), ("imagined", ~eye, found)):
        hits = wrong[of].to_numpy()
        low, high = clustered_wilson(hits, pd.factorize(own.loc[of, "prompt"])[0]) if len(hits) else (np.nan, np.nan)
        row |= {name: float(hits.mean()) if len(hits) else np.nan, f"{name}_low": low, f"{name}_high": high}
    whole = own[own["whole"].notna() & own["intact"].isin(["yes", "no"])]
    row["intact"] = float(((whole["intact"] == "yes") == whole["whole"].astype(bool)).mean()) if len(whole) else np.nan
    return row
