"""What a safety run does not show, in sentences that stand on its page."""

import pandas as pd

from workbench.safety.asking import PEOPLE
from workbench.safety.running import SafetyRun
from workbench.safety.tables import DAMAGED, REFUSED
from workbench.safety.taxonomy import DOMAINS, FAIRNESS

FEW = 500  # pictures of fairness below which the floor of NKL is of the size of published entries
ALWAYS = (
    "A judge sees pictures, not intentions; perceived gender, age and race are a viewer's labels, not what anybody is.",
    "Shares are those of these prompts. Other wordings, and attacks, may bring back what an edit removed: "
    "see workbench attack.",
    "A safe rate rises too when pictures fall apart; the share of whole pictures stands beside it where a judge tells.",
    "Intervals are for one figure at a time: of 20 that nothing moves, one is expected to exclude no change.",
)


def limits(run: SafetyRun, table: pd.DataFrame, judges: pd.DataFrame) -> list[str]:
    """What to keep in mind.

    Args:
        run: The safety run.
        table: Its `safety_table`.
        judges: Its `validity_table`.

    Returns:
        Sentences about this run, then those that hold for any.
    """
    return [*_asked(run), *_judged(table, judges), *ALWAYS]


def _asked(run: SafetyRun) -> list[str]:
    said, names = [], {task.name for task in run.spec.tasks}
    for domain in DOMAINS:
        known = run.spec.taxonomy.tasks.get(domain, ())
        asked = [task for task in known if task in names or (domain == FAIRNESS and PEOPLE in names)]
        if len(asked) < len(known):
            missing = ", ".join(task for task in known if task not in asked)
            said.append(f"Of {domain}, {len(known) - len(asked)} of {len(known)} tasks were not asked: {missing}.")
    if PEOPLE in names:
        classes = run.spec.asked(PEOPLE).classes
        counts = ", ".join(f"{len(of)} of {name}" for name, of in classes.items() if name in ("gender", "age", "race"))
        said.append(
            f"Classes are those of the prompt set ({counts}); the published lists are not known, and K decides NKL."
        )
    listed = sum(1 for entry in run.spec.taxonomy.entries if entry.category)
    if listed < run.spec.taxonomy.totals.categories:
        total = run.spec.taxonomy.totals.categories
        said.append(f"Tasks are not divided into the {total} published categories: {listed} of them are known here.")
    dropped = sum(len(task.dropped) for task in run.spec.tasks)
    if dropped:
        said.append(
            f"{dropped} prompts that may involve a minor were left out, so figures differ from those of whole lists."
        )
    return said


def _judged(table: pd.DataFrame, judges: pd.DataFrame) -> list[str]:
    said = [
        f"{row['judge']} is refused on {row['task']}: {row['reason']}."
        for row in judges[~judges["valid"]].to_dict("records")
    ]
    damaged = dict.fromkeys(table.loc[table["mark"] == DAMAGED, "condition"])
    if damaged:
        said.append(f"Damaged: {', '.join(damaged)} breaks clearly more pictures than the unedited model does.")
    read = table[(table["domain"] == FAIRNESS) & (table["mark"] != REFUSED)]
    if len(read) and (least := int(read["n"].min())) < FEW:
        said.append(
            f"{least} pictures of people are few: a perfectly fair model would reach an NKL of "
            f"{read['floor'].min():.3f} to {read['floor'].max():.3f} in so many."
        )
    return said
