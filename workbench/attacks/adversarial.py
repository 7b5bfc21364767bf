"""What attacks came to against one edit, as a suite that replays on any other edit or model.

A row of the run becomes two of the suite: as it is, and with the prompt that an attack found for it (or its own, where
no attack was needed). Post-ASR on what is evaluated is the share of the latter that show the concept; on the edit that
was attacked it is that of the run.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from saes.errors import WorkbenchError, unknown_name
from workbench.attacks.attempts import read_attempts, tokenizers_of_attempts
from workbench.conditions import is_method
from workbench.evaluation.inputs import read_input
from workbench.evaluation.roles import ROLES, Role
from workbench.evaluation.runs import Run
from workbench.evaluation.suites import Suite, SuiteRow

AS_TEXT = ("text", "ids")  # what prompts are given as that have a text


def adversarial_suite(
    run: Run, condition: str = "", *, attacks: Sequence[str] = (), concept: str = "", as_text: bool = False
) -> Suite:
    """The prompts that attacks made against one edit, found or not, beside the rows that they were made for.

    Args:
        run: A finished run of attacks.
        condition: The edit that was attacked; may be left out where there is one.
        attacks: By their labels; all if left out.
        concept: As tables call it, the concept or “concept (suite)”; may be left out where there is one.
        as_text: Gives prompts as their text even where the tokenizer reads other ids in it: what can be typed in, and
            what another tokenizer can read.

    Returns:
        A suite with a role for each attack, whose rate is named `ATTACK_efficacy` (1 − post-ASR). Rows belong to no
        condition.

    Raises:
        WorkbenchError: Nothing was attacked in the run, a name is unknown or has to be said, or something has no text.
    """
    made = read_attempts(run.dir)
    made = made[(made["control"] == "") & ~made["never_known"]]
    titles = {name: (one.suite, one.concept) for name, one in run.spec.titles.items()}
    about = pd.Series(list(zip(made["suite"], made["concept"], strict=True)), index=made.index)
    known = [name for name, key in titles.items() if key in set(about)]
    made = made[about == titles[_chosen(run, "concept", concept, known, known)]]
    conditions = list(dict.fromkeys(made["condition"]))
    against = _chosen(run, "condition", condition, conditions, [name for name in conditions if is_method(name)])
    made = made[made["condition"] == against]
    for label in attacks:
        if label not in set(made["attack"]):
            raise unknown_name("attack of the run", label, set(made["attack"]))
    made = made[made["attack"].isin(attacks or set(made["attack"]))]
    return _suite(run, against, made, as_text)


def _chosen(run: Run, what: str, name: str, known: Sequence[str], usual: Sequence[str]) -> str:
    if name and name not in known:
        raise unknown_name(f"{what} of the run", name, known)
    if not name and len(usual) != 1:
        raise WorkbenchError(
            f"{run.dir} attacks {len(usual)} {what}s ({', '.join(usual)}).", f"Say which {what} is meant."
        )
    return name or usual[0]


def _suite(run: Run, against: str, made: pd.DataFrame, as_text: bool) -> Suite:
    if as_text:
        made = _typed(made)
    plain = [SuiteRow(one.plain, one.plain_role, one.concept, one.plain_seed) for one in _rows(made)]
    found = [SuiteRow(one.prompt, one.attack, one.concept, one.seed, input=one.input) for one in _rows(made)]
    roles = [run.spec.roles_by_name[name] for name in dict.fromkeys(made["plain_role"]) if name not in ROLES]
    names = [name for name in dict.fromkeys(made["input"]) if name]
    first = made.iloc[0]
    trial = next(one for one in run.spec.trials if (one.suite, one.concept) == (first["suite"], first["concept"]))
    return Suite(
        f"{trial.suite}, made against {against}",
        tuple(dict.fromkeys([*plain, *found])),
        trial.anchor,
        dropped=int(made["dropped"].sum()),
        roles=(*roles, *(_role(label, against) for label in dict.fromkeys(made["attack"]))),
        inputs={name: read_input(run.dir, name) for name in names},
        tokenizers=tokenizers_of_attempts(run.dir) if names else "",
    )


def _rows(made: pd.DataFrame) -> Iterable[Any]:
    return made.itertuples(index=False)


def _typed(made: pd.DataFrame) -> pd.DataFrame:
    silent = sorted(set(made.loc[~made["given"].isin(AS_TEXT), "attack"]))
    if silent:
        spoken = sorted(set(made["attack"]) - set(silent))
        raise WorkbenchError(
            f"What {' and '.join(silent)} found is no text.",
            f"Take {' and '.join(spoken)} alone." if spoken else "Take it as it is.",
        )
    return made.assign(input="")


def _role(label: str, against: str) -> Role:
    words = f"made by {label} against {against}"
    return Role(
        name=label, metric=f"{label.replace(' ', '_')}_efficacy", wanted="absent", label=words,
        pictures=f"whose prompt was {words}", in_mean=False, named=False, adversarial=True,
    )  # fmt: skip
