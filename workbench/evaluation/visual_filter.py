"""A visual filter of prompt pairs: what a model's pictures of them show decides which can test an erasure.

After ECGVF (arXiv:2506.20151): a pair is of use if the picture of its original prompt shows the concept, and that of
the modified prompt, with the same seed, does not. All that is drawn and judged is a run, which goes on after a kill.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.conditions import UNEDITED
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.judges import Judge
from workbench.evaluation.roles import Role
from workbench.evaluation.runs import Run
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.fitting.prompt_pairs import PromptPair
from workbench.models import Model

MODIFIED = Role(
    name="modified", metric="replaced", wanted="absent", label="names what replaces it",
    pictures="whose prompt names what replaces it", in_mean=False, named=False,
)  # fmt: skip
MISSED, LEFT = "its picture does not show the concept", "the modified prompt's picture still shows it"


class Filtered(NamedTuple):
    """What became of pairs.

    Args:
        table: A row a pair: original, modified, seed, shown (the concept, in an intact picture of the original prompt),
            modified_shown (in any picture of the other), dropped (why, "" for a pair that is kept).
        pairs: Those that are kept.
        suite: Their original prompts, as the role "target".
        run: The pictures and what the judge said of them.
    """

    table: pd.DataFrame
    pairs: tuple[PromptPair, ...]
    suite: Suite
    run: Run


def visually_filtered(
    model: Model, pairs: Sequence[PromptPair], judge: Judge, out_dir: Path | str, *, concept: str = "", seed: int = 0,
    batch_size: int = 16, progress: Progress = SILENT, **settings: Any,
) -> Filtered:  # fmt: skip
    """Draws both prompts of each pair and keeps the pairs that a judge can tell apart.

    Args:
        model: The model, without any edit.
        pairs: At least one, all about one concept.
        judge: Who looks; it must know the concept.
        out_dir: Folder of the run.
        concept: What the pairs are about, for pairs that do not say it.
        seed: Of the first pair's pictures; the next pair has the next one.
        batch_size: Pictures made at once.
        progress: Shows batches.
        **settings: How pictures are sampled, as for `evaluate`.

    Returns:
        The pairs that are left, with the reasons why others are not.

    Raises:
        WorkbenchError: There are no pairs, or they are about several concepts or none; or no pair is left, after the
            pictures were made.
    """
    target = _concept_of(pairs, concept)
    rows = [
        SuiteRow(prompt, role, target, seed + place)
        for place, pair in enumerate(pairs)
        for prompt, role in ((pair.original, "target"), (pair.modified, MODIFIED.name))
    ]
    asked = Suite(f"pairs of {target}", tuple(rows), roles=(MODIFIED,))
    run = evaluate(
        model, {UNEDITED: None}, asked, judge, out_dir, batch_size=batch_size, floor=0.0, progress=progress, **settings
    )  # no floor: what the pictures fail to show is what is looked for
    table = _table(run.records(run.name_of(judge)).sort_values("row"), pairs, seed)
    places = [place for place, why in enumerate(table["dropped"]) if not why]
    if not places:
        raise WorkbenchError(
            f"No pair is left: {', '.join(f'{why} ({n})' for why, n in table['dropped'].value_counts().items())}.",
            f"See {run.dir}; take prompts that the model follows, or a better judge.",
        )
    kept = tuple(rows[2 * place] for place in places)
    return Filtered(table, tuple(pairs[place] for place in places), Suite(asked.name, kept), run)


def _concept_of(pairs: Sequence[PromptPair], concept: str) -> str:
    found = dict.fromkeys(name for pair in pairs if (name := pair.concept or concept))
    if not pairs or len(found) != 1 or not all(pair.concept or concept for pair in pairs):
        raise WorkbenchError(
            f"{len(pairs)} pairs are about {len(found)} concepts{': ' + ', '.join(found) if found else ''}.",
            "Give pairs about one concept, and name it if they do not.",
        )
    return next(iter(found))


def _table(records: pd.DataFrame, pairs: Sequence[PromptPair], seed: int) -> pd.DataFrame:
    shown = records["shown"].to_numpy().reshape(len(pairs), 2)
    intact = records["intact"].fillna(True).to_numpy(bool).reshape(len(pairs), 2)
    first, second = shown[:, 0] & intact[:, 0], shown[:, 1]  # in doubt the pair goes
    table = pd.DataFrame([pair[:2] for pair in pairs], columns=["original", "modified"])
    dropped = np.select([~first, second], [MISSED, LEFT], default="")
    seeds = range(seed, seed + len(pairs))
    return table.assign(seed=seeds, shown=first, modified_shown=second, dropped=dropped)
