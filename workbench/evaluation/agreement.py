"""How far two judges of one run agree, on unedited and on edited pictures.

A judge that is right about a model's own pictures may be wrong about edited ones, which hold what no model draws:
halves of two animals, a style without an artist. The table therefore says it for each condition.
"""

from typing import Any

import pandas as pd

from probes.agreement import agreement
from saes.errors import WorkbenchError
from workbench.conditions import UNEDITED, is_method
from workbench.evaluation.records import SCORE
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run

EDITED = "edited"  # in the place of a condition: the pictures of all methods together
ANY = "any"  # in the place of what rows want: all of them


def judge_agreement(run: Run, first: str = "", second: str = "") -> pd.DataFrame:
    """How far two judges agree on whether pictures show the concept that their rows expect.

    A concept counts as found by its score alone, whether or not the picture is intact, which not every judge tells.

    Args:
        run: A finished run that two judges have looked at.
        first: A name of `run.judges`; the first if left out.
        second: Another one; the first of the others if left out.

    Returns:
        A row for each condition (first "unedited", then "edited", all methods together) and for rows that want the
        concept "absent", "present" or "any" of these. Columns beside: first_judge and second_judge; n pictures of
        `prompts` prompts; rate of agreement and Cohen's kappa, each with low and high (95 %, prompts as clusters: see
        `probes.agreement`); `first` and `second`, the shares in which each judge finds the concept. A picture that
        several suites ask about one concept counts once.

    Raises:
        WorkbenchError: The run has fewer than two judges, a name is none of them, or both are one.
    """
    first, second = _two(run, first, second)
    about = {"first_judge": first, "second_judge": second}
    found = _found(Results.of(run, first)).rename(columns={"found": "first"})
    found["second"] = _found(Results.of(run, second))["found"]
    groups = {UNEDITED: [UNEDITED], EDITED: [name for name in found["condition"].unique() if is_method(name)]}
    groups |= {name: [name] for name in found["condition"].unique() if name != UNEDITED}
    rows = [
        {**about, "condition": name, "wanted": wanted, **_measured(found[found["condition"].isin(of)], wanted)}
        for name, of in groups.items()
        for wanted in (ANY, "absent", "present")
    ]
    table = pd.DataFrame(rows)
    return table[table["n"] > 0].reset_index(drop=True)


def agreements(run: Run, judge: str = "") -> pd.DataFrame:
    """How far one judge agrees with each of the others.

    Args:
        run: A finished run that at least two judges have looked at.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        The columns of `judge_agreement`, the judge first.
    """
    first, _ = _two(run, judge, "")
    return pd.concat([judge_agreement(run, first, other) for other in run.judges if other != first], ignore_index=True)


def _two(run: Run, first: str, second: str) -> tuple[str, str]:
    judges = list(run.judges)
    if len(judges) < 2:
        raise WorkbenchError(
            f"{run.dir} was judged by {judges[0] if judges else 'nobody'} alone.", "Let another look: workbench judge."
        )
    first = first or next(name for name in judges if name != second)
    second = second or next(name for name in judges if name != first)
    if first == second:
        raise WorkbenchError(f"{first} agrees with itself.", "Name two judges.")
    return first, second


def _found(results: Results) -> pd.DataFrame:
    """Whether the judge finds what each row expects. Columns: condition, image, expected, prompt, wanted, found."""
    records = results.records
    records = records[records["expected"] != ""]
    wanted = records["role"].map(lambda role: results.roles[role].wanted)
    score = pd.Series(float("nan"), index=records.index, dtype="float32")
    for concept in records["expected"].unique():
        own = records["expected"] == concept
        score[own] = records.loc[own, SCORE + concept]
    found = score >= records["expected"].map(results.judge.thresholds).astype("float32")
    return records[["condition", "image", "expected", "prompt"]].assign(wanted=wanted, found=found)


def _measured(found: pd.DataFrame, wanted: str) -> dict[str, Any]:
    own = found if wanted == ANY else found[found["wanted"] == wanted]
    own = own.drop_duplicates(["condition", "image", "expected"])
    told = agreement(own["first"].to_numpy(bool), own["second"].to_numpy(bool), pd.factorize(own["prompt"])[0])
    names = {"clusters": "prompts", "low": "rate_low", "high": "rate_high"}
    return {names.get(name, name): value for name, value in told._asdict().items()}
