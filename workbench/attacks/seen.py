"""What a judge sees in the pictures of attempts, joined by what was asked of whom."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from saes.errors import WorkbenchError
from workbench.attacks.attempts import read_attempts
from workbench.attacks.roles import AS_TEXT, Part
from workbench.evaluation.results import Results

_ASKED = ("suite", "concept", "share", "prompt", "seed", "input")


class Seen(NamedTuple):
    """The attempts of a run with what a judge says of their pictures.

    Args:
        attempts: Those of `read_attempts`, with `plain_shown`, whether the row succeeds without an attack, and `post`,
            whether it succeeds with or without it; `record` and `plain_record` are the places of both in `records`, and
            `edit` the hash of what was attacked.
        records: Those of the run.
        places: What was asked → the place of its record.
    """

    attempts: pd.DataFrame
    records: pd.DataFrame
    places: dict[tuple, int]

    def shown(self, own: pd.DataFrame, part: Part, condition: str) -> pd.Series | None:
        """Whether the prompts of some attempts show the concept as rows of a role and condition; None if not asked."""
        found, asked = [], zip(*(own[name].tolist() for name in _ASKED), strict=True)
        for suite, concept, share, prompt, seed, given in asked:
            typed = "" if part.what == AS_TEXT else given
            place = self.places.get((suite, concept, condition, share, part.role, prompt, seed, typed))
            if place is None:
                return None
            found.append(place)
        return pd.Series(self.records["shown"].to_numpy(bool)[found], index=own.index, dtype=bool)


def looked_up(results: Results) -> Seen:
    """What the judge of some results says of the pictures of attempts, and of the same rows without an attack.

    Raises:
        WorkbenchError: Nothing was attacked in the run, or the attempts are another run's.
    """
    records, attempts = _with_shares(results), read_attempts(results.run.dir)
    places = {
        _key(one, one.role, one.condition, one.input): place
        for place, one in enumerate(records.itertuples(index=False))
    }
    try:
        own = [places[_key(one, Part(one.attack, one.control).role, one.condition, one.input)]
               for one in attempts.itertuples(index=False)]  # fmt: skip
        plain = [places[one.suite, one.concept, one.condition, one.share, one.plain_role, one.plain, one.plain_seed, ""]
                 for one in attempts.itertuples(index=False)]  # fmt: skip
    except KeyError:
        raise WorkbenchError(
            f"The attempts in {results.run.dir} are not those of its pictures.", "Attack again: what was found is kept."
        ) from None
    shown = records["shown"].to_numpy(bool)
    before = shown[plain]
    found = attempts.assign(
        plain_shown=before, post=shown[own] | before, record=own, plain_record=plain,
        edit=records["edit"].to_numpy()[own],
    )  # fmt: skip
    return Seen(found.astype({"record": np.int64, "plain_record": np.int64}), records, places)


def _with_shares(results: Results) -> pd.DataFrame:
    """The records, with the share and the input of each row."""
    told = {
        (trial.suite, trial.concept, place): (share, row.input)
        for trial in results.spec.trials
        for place, (share, row) in enumerate(zip(trial.shares, trial.rows, strict=True))
    }
    found = [told[of] for of in results.records[["suite", "concept", "row"]].itertuples(index=False, name=None)]
    return results.records.assign(share=[share for share, _ in found], input=[given for _, given in found])


def _key(one: Any, role: str, condition: str, given: str) -> tuple:
    return (one.suite, one.concept, condition, one.share, role, one.prompt, one.seed, given)
