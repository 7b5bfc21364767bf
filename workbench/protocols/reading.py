"""What is read of each picture of a run, as its protocol says."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool

from saes.errors import WorkbenchError
from workbench.evaluation.classifier import names
from workbench.evaluation.judges import Judge, JudgeSpec, check_knows
from workbench.evaluation.records import SCORE
from workbench.evaluation.results import Results
from workbench.evaluation.suites import Suite
from workbench.protocols.figures import ALL, FOUND
from workbench.protocols.protocol import Protocol


def check_reads(protocol: Protocol, suites: Sequence[Suite], judge: Judge) -> None:
    """Whether a judge can tell what the protocol asks.

    Args:
        protocol: The protocol.
        suites: What is asked.
        judge: Who looks.

    Raises:
        WorkbenchError: It does not know a concept, has no features where cosines are read, or the best of a domain
            with one concept is asked for.
    """
    for suite in suites:
        check_knows(judge, suite.concepts)
        for name in filter(None, suite.concepts):
            rivals = _rivals(protocol, judge, [row.expected for row in suite.rows], name)
            if protocol.reads in ("best", "given") and len(rivals) < 2:
                raise WorkbenchError(
                    f"{name!r} has nothing to be told from.", "Ask for two concepts of its domain or more."
                )
            check_knows(judge, rivals)


def read(
    protocol: Protocol, results: Results, place: int, condition: str, cosines: dict[str, float] | None = None
) -> pd.DataFrame:
    """What is read of the pictures of one condition and target.

    Args:
        protocol: The protocol.
        results: The run as one judge sees it.
        place: Of the target's suite among the run's.
        condition: A name of its conditions.
        cosines: Picture → 100 cos to its prompt, for a protocol that reads them.

    Returns:
        role, concept, value, unit and prompt of each row. Of a protocol that reads the best of found ones: these, and
        with `ALL` and `FOUND` before the role whether the expected one is best, and whether any is found, of all.
    """
    trial = results.spec.trials[place]
    rows = results.pair(trial, condition).after
    about = pd.DataFrame({name: rows[name].to_numpy() for name in ("role", "prompt")})
    about["concept"], about["unit"] = rows["expected"].to_numpy(), about["prompt"]
    if protocol.units == "pictures":
        about["unit"] = about["prompt"] + "\n" + rows["seed"].astype(str).to_numpy()
    if protocol.reads == "clip":
        if cosines is None:
            raise WorkbenchError("The protocol reads cosines, and there are none.", "Name a judge that is a CLIP.")
        return about.assign(value=rows["image"].map(cosines).to_numpy(float))
    if protocol.reads == "found":
        return about.assign(value=_found(results, rows).astype(float))
    best, anything = _best(protocol, results, rows)
    about = about.assign(value=best.astype(float))
    if protocol.reads == "best":
        return about
    found = about.assign(role=FOUND + about["role"], value=anything.astype(float))
    every = about.assign(role=ALL + about["role"], value=(best & anything).astype(float))
    return pd.concat([about[anything], every, found], ignore_index=True)


def _found(results: Results, rows: pd.DataFrame) -> Bool[np.ndarray, "n"]:
    found = np.zeros(len(rows), bool)
    for name in filter(None, rows["expected"].unique()):
        own = (rows["expected"] == name).to_numpy()
        found[own] = (rows.loc[own, SCORE + name] >= results.judge.thresholds[name]).to_numpy()
    return found


def _best(
    protocol: Protocol, results: Results, rows: pd.DataFrame
) -> tuple[Bool[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Whether what a row expects has the highest score of its domain alone, and whether any of the domain is found."""
    best, anything = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for name in filter(None, rows["expected"].unique()):
        own = (rows["expected"] == name).to_numpy()
        rivals = _rivals(protocol, results.judge, rows["expected"], name)
        scores = rows.loc[own, [SCORE + one for one in rivals]].to_numpy(float)
        others = np.delete(scores, rivals.index(name), axis=1)
        best[own] = scores[:, rivals.index(name)] > others.max(axis=1)  # a tie is no answer
        anything[own] = (scores >= [results.judge.thresholds[one] for one in rivals]).any(axis=1)
    return best, anything


def _rivals(
    protocol: Protocol, judge: Judge | JudgeSpec, expected: Sequence[str] | pd.Series, concept: str
) -> list[str]:
    """What a concept is to be told from, itself included: its domain, of a list all that it names, or the judge's."""
    if protocol.among == "judge":
        kind = judge.concepts[concept]
        own = {name for name in judge.concepts if concept.lower() in names(name)}  # its label, under both names
        return [concept, *(name for name, of in judge.concepts.items() if of == kind and name not in own)]
    if protocol.takes:
        return sorted({name for name in expected if name} | {concept})
    return list(protocol.domains[protocol.domain_of(concept)])
