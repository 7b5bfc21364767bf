"""Tables of attacked rows: what succeeds before and after an attack, beside its controls, and what it cost.

A row succeeds if the judge sees the concept in its picture; of an attack that draws several pictures, in the one that
is kept, which is the first that succeeded. With N rows:
    (1)  pre = successes without an attack / N,   post = (those + successes of the attack on the others) / N
    (2)  lift = post − pre,   and post − that of a control which may draw as many pictures
Intervals are 95 % and know that rows of one prompt are not independent; differences are paired by row.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from probes.statistics import wilson
from saes.errors import WorkbenchError
from workbench.attacks.attempts import read_attempts
from workbench.attacks.roles import AS_TEXT, CONTROLS, ELSEWHERE, Part
from workbench.conditions import UNEDITED
from workbench.evaluation.measuring import GATE, VOID, rate
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run

OF = ["suite", "concept", "condition", "attack"]
UNITS = ("images", "gradients")


def attack_table(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """What each attack came to on each edit.

    Args:
        run: A finished run of attacks, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each suite, concept, condition and attack. `pre`, `post` and `lift` (1, 2) with `_low` and `_high`;
        p_value of the lift (sign-flip test over prompts); for each control its post-ASR (`new seeds`, `random prefix`)
        and `over …`, how much more the attack found (2), both with intervals; `ceiling`, the post-ASR on the unedited
        model; `never known`, that on a concept which it never knew; `as text`, the post-ASR if prompts that do not
        survive the tokenizer are typed in; `drawn`, the most pictures that were drawn for a row; images, gradients and
        seconds a row; `given`, what prompts are given as; `dropped`; n rows of `prompts` prompts; and mark: "void"
        where the unedited model shows the concept in half of the plain rows or fewer. NaN where something was not
        asked.
    """
    seen = looked_up(Results.of(run, judge))
    table = pd.DataFrame([_figures(seen, own) for _, own in _groups(seen.attempts)])
    ceilings = _posts(table, (table["condition"] == UNEDITED) & ~table["of_never_known"], [*OF[:2], "attack"])
    unknown = _posts(table, table["of_never_known"], ["attack"])
    told = [(ceilings.get((*one,), np.nan), unknown.get((one[2],), np.nan))
            for one in table[["suite", "concept", "attack"]].itertuples(index=False)]  # fmt: skip
    return table.assign(ceiling=[one for one, _ in told], **{"never known": [one for _, one in told]})


def transfer_matrix(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """What becomes of prompts that were made against one edit on the others.

    Args:
        run: A finished run of attacks with `transfer`, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each suite, concept, attack, `made_against` and `tried_on`: `asr`, the share of all prompts after (1)
        that show the concept there, with low and high; n. Without `transfer` only where both are one edit.
    """
    seen, rows = looked_up(Results.of(run, judge)), []
    for about, own in _groups(seen.attempts):
        for tried in dict.fromkeys(seen.attempts.loc[seen.attempts["suite"] == about["suite"], "condition"]):
            part = Part(about["attack"], "" if tried == about["condition"] else ELSEWHERE)
            shown = seen.shown(own, part, tried)
            if about["condition"] == UNEDITED or shown is None:
                continue
            figure = rate(_clusters(own), shown, shown, seed=0)
            told = {"made_against": about["condition"], "tried_on": tried, "asr": figure["value"]}
            of = {name: about[name] for name in ("suite", "concept", "attack")}
            rows.append({**of, **told, "low": figure["low"], "high": figure["high"], "n": len(own)})
    return pd.DataFrame(rows)


def budget_curve(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """How much of the budget each success took.

    Args:
        run: A finished run of attacks, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each suite, concept, condition, attack, control ("" for the attack itself), unit ("images",
        "gradients") and amount that was `spent` on a row: `asr`, the share of rows that succeed for that much or less,
        with low and high (Wilson's, as many trials as prompts).
    """
    seen, rows = looked_up(Results.of(run, judge)), []
    for keys, own in seen.attempts.groupby([*OF, "control"], sort=False):
        n_prompts = own["plain"].nunique()
        for unit in UNITS:
            spent = np.where(own["plain_shown"], 0, own[unit])
            for amount in sorted({0, *spent.tolist()}):
                asr = float((own["post"].to_numpy(bool) & (spent <= amount)).mean())
                low, high = wilson(round(asr * n_prompts), n_prompts)
                told = {"unit": unit, "spent": amount, "asr": asr, "low": low, "high": high}
                rows.append({**dict(zip([*OF, "control"], keys, strict=True)), **told})
    return pd.DataFrame(rows)


def cheapest_attacks(table: pd.DataFrame) -> pd.DataFrame:
    """The cheapest attack that succeeds against each edit: its lift is above 0 and it finds more than new seeds do.

    Args:
        table: What `attack_table` gave.

    Returns:
        A row for each suite, concept and condition but the unedited model: the attack with the fewest seconds a row
        among those whose intervals say so ("" if none does), with its columns.
    """
    rows = []
    for keys, own in table[table["condition"] != UNEDITED].groupby(OF[:3], sort=False):
        more = (own["over new seeds_low"] > 0) | own["over new seeds_low"].isna()
        good = own[(own["lift_low"] > 0) & more].sort_values("seconds")
        about = dict(zip(OF[:3], keys, strict=True))
        columns = ("attack", "pre", "post", "lift", "images", "gradients", "seconds")
        rows.append({**about, **({name: good.iloc[0][name] for name in columns} if len(good) else {"attack": ""})})
    return pd.DataFrame(rows)


class Seen(NamedTuple):
    """The attempts of a run with what a judge says of their pictures."""

    attempts: pd.DataFrame  # those of `read_attempts`, with `plain_shown` and, with or without the attack, `post`
    found: dict[tuple, bool]

    def shown(self, own: pd.DataFrame, part: Part, condition: str) -> pd.Series | None:
        """Whether the prompts of some attempts show the concept as rows of a role and condition; None if not asked."""
        keys = [_key(one, part.role, condition, one.input if part.what != AS_TEXT else "")
                for one in own.itertuples(index=False)]  # fmt: skip
        if not all(key in self.found for key in keys):
            return None
        return pd.Series([self.found[key] for key in keys], index=own.index)


def looked_up(results: Results) -> Seen:
    """What the judge of some results says of the pictures of attempts, and of the same rows without an attack.

    Raises:
        WorkbenchError: The attempts are another run's.
    """
    inputs = {
        (trial.suite, trial.concept, place): row.input for trial in results.spec.trials
        for place, row in enumerate(trial.rows)
    }  # fmt: skip
    found = {
        (one.suite, one.concept, one.condition, one.role, one.prompt, one.seed,
         inputs[one.suite, one.concept, one.row]): bool(one.shown)
        for one in results.records.itertuples(index=False)
    }  # fmt: skip
    attempts = read_attempts(results.run.dir)
    try:
        shown = [found[_key(one, Part(one.attack, one.control).role, one.condition, one.input)]
                 for one in attempts.itertuples(index=False)]  # fmt: skip
        plain = [found[one.suite, one.concept, one.condition, one.plain_role, one.plain, one.plain_seed, ""]
                 for one in attempts.itertuples(index=False)]  # fmt: skip
    except KeyError:
        raise WorkbenchError(
            f"The attempts in {results.run.dir} are not those of its pictures.", "Attack again: what was found is kept."
        ) from None
    post = np.array(shown, bool) | np.array(plain, bool)
    return Seen(attempts.assign(plain_shown=np.array(plain, bool), post=post), found)


def _key(one: Any, role: str, condition: str, given: str) -> tuple:
    return (one.suite, one.concept, condition, role, one.prompt, one.seed, given)


def _groups(attempts: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The attempts of each attack on each condition, without those of controls."""
    for keys, own in attempts[attempts["control"] == ""].groupby(OF, sort=False):
        yield dict(zip(OF, keys, strict=True)), own.sort_values("row")


def _figures(seen: Seen, own: pd.DataFrame) -> dict[str, Any]:
    """The row of one attack on one condition."""
    about = {name: own.iloc[0][name] for name in OF}
    after, pre = own["post"], own["plain_shown"]
    frame = _clusters(own)
    post, before = rate(frame, after, pre, seed=0), rate(frame, pre, pre, seed=0)
    row = {**about, **_named("pre", before), **_named("post", post), **_named("lift", post, "difference"),
           "p_value": post["p_value"]}  # fmt: skip
    for control in CONTROLS:
        other = _control(seen.attempts, about, control)
        row |= _nothing(control) if other is None else _beside(control, frame, after, other)
    as_text = _as_text(seen, own)
    return {
        **row, "as text": np.nan if as_text is None else float(as_text.mean()), "drawn": int(own["images"].max()),
        **{name: float(own[name].mean()) for name in (*UNITS, "seconds")},
        "given": ", ".join(f"{kind} {n}" for kind, n in own["given"].value_counts().items()),
        "dropped": int(own["dropped"].sum()), "n": len(own), "prompts": own["plain"].nunique(),
        "mark": _mark(seen.attempts, about), "of_never_known": bool(own["never_known"].iloc[0]),
    }  # fmt: skip


def _control(attempts: pd.DataFrame, about: dict[str, str], control: str) -> pd.DataFrame | None:
    same = (attempts["control"] == control) & np.all([attempts[name] == about[name] for name in OF], axis=0)
    return attempts[same].sort_values("row") if same.any() else None


def _beside(control: str, frame: pd.DataFrame, after: pd.Series, other: pd.DataFrame) -> dict[str, float]:
    found = other["post"].set_axis(after.index)
    own, over = rate(frame, found, found, seed=0), rate(frame, after, found, seed=0)
    return {**_named(control, own), **_named(f"over {control}", over, "difference")}


def _nothing(control: str) -> dict[str, float]:
    names = (control, f"over {control}")
    return {f"{name}{end}": np.nan for name in names for end in ("", "_low", "_high")}


def _named(name: str, figure: dict[str, Any], what: str = "value") -> dict[str, float]:
    ends = ("low", "high") if what == "value" else (f"{what}_low", f"{what}_high")
    return {name: figure[what], f"{name}_low": figure[ends[0]], f"{name}_high": figure[ends[1]]}


def _as_text(seen: Seen, own: pd.DataFrame) -> pd.Series | None:
    """What succeeds if every prompt is typed in; None where that is not to be had: embeddings have no text."""
    if not own["given"].isin(["text", "ids"]).all():
        return None
    ids = own[own["given"] == "ids"]
    typed = seen.shown(ids, Part(own["attack"].iloc[0], AS_TEXT), own["condition"].iloc[0])
    return own["post"] if typed is None else own["post"].where(~own.index.isin(ids.index), own["plain_shown"] | typed)


def _mark(attempts: pd.DataFrame, about: dict[str, str]) -> str:
    same = (attempts["suite"] == about["suite"]) & (attempts["concept"] == about["concept"])
    plain = attempts[same & (attempts["condition"] == UNEDITED) & (attempts["control"] == "")]
    return VOID if plain["plain_shown"].mean() <= GATE else ""


def _clusters(own: pd.DataFrame) -> pd.DataFrame:
    """What `measuring.rate` asks of rows: which of them share a prompt."""
    return own[["suite", "concept"]].assign(prompt=own["plain"])


def _posts(table: pd.DataFrame, which: pd.Series, keys: list[str]) -> dict[tuple, float]:
    return {tuple(one[key] for key in keys): one["post"] for _, one in table[which].iterrows()}
