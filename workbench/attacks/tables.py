"""Tables of attacked rows: what succeeds before and after an attack, beside its controls, and what it cost.

A row succeeds if the judge sees the concept in its picture; of an attack that draws several pictures, in the one that
is kept, which is the first that succeeded. With N rows:
    (1)  pre = successes without an attack / N,   post = (those + successes of the attack on the others) / N
    (2)  lift = post − pre,   and post − that of a control which may draw as many pictures
Intervals are 95 % and know that rows of one prompt are not independent; differences are paired by row.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from probes.statistics import wilson
from workbench.attacks.robustness import succeeds
from workbench.attacks.roles import AS_TEXT, CONTROLS, ELSEWHERE, Part
from workbench.attacks.seen import Seen, looked_up
from workbench.conditions import UNEDITED
from workbench.evaluation.measuring import GATE, VOID, rate
from workbench.evaluation.results import Results
from workbench.evaluation.runs import Run
from workbench.evaluation.tables import ALL

OF = ["suite", "concept", "condition", "attack"]
UNITS = ("images", "gradients")


def attack_table(run: Run | Results, judge: str = "") -> pd.DataFrame:
    """What each attack came to on each edit.

    Args:
        run: A finished run of attacks, or its results.
        judge: A name of `run.judges`; the first if left out.

    Returns:
        A row for each suite, concept, condition and attack, after those of all suites together ("all") where there are
        several. `pre`, `post` and `lift` (1, 2) with `_low` and `_high`;
        p_value of the lift (sign-flip test over prompts); for each control its post-ASR (`new seeds`, `at random`)
        and `over …`, how much more the attack found (2), both with intervals; `ceiling`, the post-ASR on the unedited
        model; `never known`, that on a concept which it never knew; `altered`, how many prompts the tokenizer does not
        read again in their text, `as text`, the post-ASR if all are typed in, and `lost as text`, how much less that
        is, both with intervals; `drawn`, the most pictures that were drawn for a row; images, gradients and seconds a
        row; `given`, what prompts are given as; `dropped`; n rows of `prompts` prompts; and mark: "void" where the
        unedited model shows the concept in half of the plain rows or fewer. NaN where something was not asked, and
        where prompts have no text.
    """
    seen = looked_up(Results.of(run, judge))
    groups = [*_pooled(seen.attempts), *_groups(seen.attempts)]
    table = pd.DataFrame([_figures(seen, about, own) for about, own in groups])
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
    for about, own in _groups(seen.attempts[seen.attempts["control"] == ""]):
        if about["condition"] == UNEDITED:
            continue
        for tried in dict.fromkeys(seen.attempts.loc[seen.attempts["suite"] == about["suite"], "condition"]):
            part = Part(about["attack"], "" if tried == about["condition"] else ELSEWHERE)
            shown = seen.shown(own, part, tried)
            if shown is None:
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
        A row for each suite and concept (first "all", where there are several), condition, attack, control ("" for the
        attack itself), unit ("images", "gradients") and amount that was `spent` on a row: `asr`, the share of rows that
        succeed for that much or less, with low and high (Wilson's, as many trials as prompts).
    """
    seen, rows = looked_up(Results.of(run, judge)), []
    for keys, own in _with_all(seen.attempts).groupby([*OF, "control"], sort=False):
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
        good = own[succeeds(own)].sort_values("seconds")
        about = dict(zip(OF[:3], keys, strict=True))
        columns = ("attack", "pre", "post", "lift", "images", "gradients", "seconds")
        rows.append({**about, **({name: good.iloc[0][name] for name in columns} if len(good) else {"attack": ""})})
    return pd.DataFrame(rows)


def _groups(attempts: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The attempts of each attack on each condition, with those of its controls."""
    for keys, own in attempts.groupby(OF, sort=False):
        yield dict(zip(OF, keys, strict=True)), own.sort_values("row")


def _with_all(attempts: pd.DataFrame) -> pd.DataFrame:
    """The attempts, after the same as those of one suite, "all", where there are several about what the model knew."""
    whole = [own for _, own in _pooled(attempts)]
    named = [own.assign(suite=ALL, concept=ALL, plain=own["suite"] + ": " + own["plain"]) for own in whole]
    return pd.concat([*named, attempts], ignore_index=True)


def _pooled(attempts: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The same over all suites about what the model knew, where there are several."""
    known = attempts[~attempts["never_known"]]
    n_suites = len(known[OF[:2]].drop_duplicates())
    for (condition, attack), own in known.groupby(OF[2:], sort=False) if n_suites > 1 else ():
        if len(own[OF[:2]].drop_duplicates()) == n_suites:
            about = {"suite": ALL, "concept": ALL, "condition": condition, "attack": attack}
            yield about, own.sort_values(["suite", "concept", "row"])


def _figures(seen: Seen, about: dict[str, str], whole: pd.DataFrame) -> dict[str, Any]:
    """The row of one attack on one condition, from its attempts and those of its controls."""
    own = whole[whole["control"] == ""]
    after, pre = own["post"], own["plain_shown"]
    frame = _clusters(own)
    post, before = rate(frame, after, pre, seed=0), rate(frame, pre, pre, seed=0)
    row = {**about, **_named("pre", before), **_named("post", post), **_named("lift", post, "difference"),
           "p_value": post["p_value"]}  # fmt: skip
    for control in CONTROLS:
        other = whole[whole["control"] == control]["post"]
        row |= _beside(frame, after, other if len(other) == len(own) else None, control, f"over {control}")
    row |= _beside(frame, after, _as_text(seen, own), "as text", "lost as text")
    return {
        **row, "altered": int((own["given"] == "ids").sum()), "drawn": int(own["images"].max()),
        **{name: float(own[name].mean()) for name in (*UNITS, "seconds")},
        "given": ", ".join(f"{kind} {n}" for kind, n in own["given"].value_counts().items()),
        "dropped": int(own["dropped"].sum()), "n": len(own), "prompts": len(frame.drop_duplicates()),
        "mark": _mark(seen.attempts, own), "of_never_known": bool(own["never_known"].iloc[0]),
    }  # fmt: skip


def _beside(
    frame: pd.DataFrame, after: pd.Series, other: pd.Series | None, name: str, more: str
) -> dict[str, float]:  # fmt: skip
    """The post-ASR of something else, and how much more the attack found; NaN where it was not asked."""
    if other is None:
        return {f"{each}{end}": np.nan for each in (name, more) for end in ("", "_low", "_high")}
    found = other.set_axis(after.index)
    own, over = rate(frame, found, found, seed=0), rate(frame, after, found, seed=0)
    return {**_named(name, own), **_named(more, over, "difference")}


def _named(name: str, figure: dict[str, Any], what: str = "value") -> dict[str, float]:
    ends = ("low", "high") if what == "value" else (f"{what}_low", f"{what}_high")
    return {name: figure[what], f"{name}_low": figure[ends[0]], f"{name}_high": figure[ends[1]]}


def _as_text(seen: Seen, own: pd.DataFrame) -> pd.Series | None:
    """What succeeds if every prompt is typed in; None where that cannot be: embeddings have no text."""
    if not own["given"].isin(["text", "ids"]).all():
        return None
    ids = own[own["given"] == "ids"]
    if ids.empty:
        return own["post"]
    typed = seen.shown(ids, Part(own["attack"].iloc[0], AS_TEXT), own["condition"].iloc[0])
    return own["post"] if typed is None else own["post"].where(~own.index.isin(ids.index), own["plain_shown"] | typed)


def _mark(attempts: pd.DataFrame, own: pd.DataFrame) -> str:
    """Void if the unedited model shows the concept in half of the same rows or fewer."""
    same = attempts["suite"].isin(own["suite"]) & attempts["concept"].isin(own["concept"])
    plain = attempts[same & (attempts["condition"] == UNEDITED) & (attempts["control"] == "")]
    return VOID if plain["plain_shown"].mean() <= GATE else ""


def _clusters(own: pd.DataFrame) -> pd.DataFrame:
    """What `measuring.rate` asks of rows: which share a prompt, and which a fit."""
    return own[["suite", "concept", "edit", "share"]].assign(prompt=own["plain"])


def _posts(table: pd.DataFrame, which: pd.Series, keys: list[str]) -> dict[tuple, float]:
    return {tuple(one[key] for key in keys): one["post"] for _, one in table[which].iterrows()}
