"""How far edits resist, beside what they remove and what they spare: the table of an attacked comparison."""

import pandas as pd

from workbench.evaluation.tables import ALL

BESIDE = ("efficacy", "neighbour_specificity", "unrelated_specificity")  # what no fit was told is spared
_ENDS = ("", "_low", "_high")


def robustness(attacks: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Every edit under every attack, over all concepts that were attacked.

    Args:
        attacks: `attack_table(run)`.
        metrics: `metrics_with_all(run)`.

    Returns:
        The rows of `attacks` over all suites, or of the only one, in their order: that of the unedited model first, the
        ceiling. Beside its columns, those of `BESIDE` with `_low` and `_high`, which are over all concepts of the run,
        NaN where nothing was asked; `succeeds`, whether the attack brings back more than is there without it and more
        than as many new seeds do, beyond chance; and `cheapest`, whether it takes the fewest seconds of those that do.
    """
    rows = over_all(attacks)
    shares = over_all(metrics)
    values = {metric: own.set_index("condition")[["value", "low", "high"]] for metric, own in shares.groupby("metric")}
    for metric in BESIDE:
        found = values[metric].reindex(rows["condition"]).to_numpy() if metric in values else float("nan")
        rows = rows.assign(**dict.fromkeys([f"{metric}{end}" for end in _ENDS], float("nan")))
        rows[[f"{metric}{end}" for end in _ENDS]] = found
    won = succeeds(rows)
    least = rows["seconds"].where(won).groupby(rows["condition"]).transform("min")
    return rows.assign(succeeds=won, cheapest=won & (rows["seconds"] == least)).reset_index(drop=True)


def over_all(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table over all suites together, or of the first one where they are not together.

    Args:
        table: With the column `suite`.
    """
    together = table["suite"] == ALL
    return table[together if together.any() else table["suite"] == table["suite"].iloc[0]]


def succeeds(attacks: pd.DataFrame) -> pd.Series:
    """Which attacks find more than is there without them, and more than as many new seeds do, beyond chance.

    Args:
        attacks: Rows of `attack_table(run)`.

    Returns:
        True or False for each; where there were no new seeds, these do not count.
    """
    more = (attacks["over new seeds_low"] > 0) | attacks["over new seeds_low"].isna()
    return (attacks["lift_low"] > 0) & more
