"""From judged pictures to effects: differences at the same sentence and seed, with their intervals.

y_w(c, s) is whether the picture of sentence c at seed s shows what is looked for; ȳ its mean over the seeds.
    (1)  effect = ȳ unedited − ȳ condition   necessary, specific: the pictures of word w that show w no longer
    (2)  effect = ȳ condition − ȳ unedited   sufficient: the pictures of another word that now show the concept
    (3)  beyond controls = effect of the subject − effect of control draw k
    (4)  specific: effect on the concept − effect on a spared word, in the same sentences
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.conditions import UNEDITED
from workbench.evaluation.records import SCORE
from workbench.studies.conditions import Condition, conditions, words_shown
from workbench.studies.contexts import rows
from workbench.studies.hypothesis import Study
from workbench.studies.statistics import Estimate, estimate

PerSentence = Float[np.ndarray, " sentences"]
COLUMNS = (
    "condition", "whose", "draw", "dose", "word", "share", "effect", "low", "high", "intact", "prompts", "images",
)  # fmt: skip


class Shown(NamedTuple):
    """Shares of pictures by sentence: of those that show what is looked for, and of those that are intact."""

    present: PerSentence
    intact: PerSentence
    images: int


class Outcomes:
    """What pictures show, by condition and word.

    Args:
        study: The study.
        records: Those of a finished run.
        thresholds: Each concept → the score from which on the judge of the records takes it to be present.
    """

    def __init__(self, study: Study, records: pd.DataFrame, thresholds: Mapping[str, float]) -> None:
        self.study = study
        table = records.set_index(["condition", "prompt", "seed"]).sort_index()
        conditions = dict.fromkeys(table.index.get_level_values(0))
        self._shown = {}
        for word in words_shown(study):
            made = rows(study.prompts, study.concept.name, [word], study.seeds, study.seed)
            for condition in conditions:
                sought = self._sought(word)
                threshold, spared = thresholds[sought], sought != study.concept.name
                self._shown[condition, word] = _shown(table.loc[condition], made, sought, threshold, spared)

    def of(self, condition: str, word: str) -> Shown:
        """The shares under a condition, of the sentences with this word."""
        return self._shown[condition, word]

    def effect(self, condition: str, word: str) -> PerSentence:
        """(1) or (2) for each sentence."""
        sign = 1 if self.study.claim == "sufficient" else -1
        return sign * (self.of(condition, word).present - self.of(UNEDITED, word).present)

    def effects(self, conditions: Sequence[Condition], word: str) -> Float[np.ndarray, "sentences conditions"]:
        """A column for each condition."""
        return np.stack([self.effect(condition.name, word) for condition in conditions], axis=1)

    def estimate(self, differences: Float[np.ndarray, "sentences controls"]) -> Estimate:
        """The mean with its interval."""
        return estimate(differences, alpha=self.study.alpha, seed=self.study.seed)

    def _sought(self, word: str) -> str:
        return self.study.concept.name if self.study.claim == "sufficient" else word


def _shown(table: pd.DataFrame, made: Sequence, sought: str, threshold: float, intact_only: bool) -> Shown:
    """With `intact_only`, a broken picture shows nothing: it must not pass for one of a spared word."""
    own = table.loc[[(row.prompt, row.seed) for row in made]]
    intact = own["intact"].astype("Float64").to_numpy(float, na_value=np.nan)
    present = (own[SCORE + sought] >= threshold).to_numpy() & ~(intact_only & (intact == 0))
    sentences = np.array([row.context for row in made])
    counts = np.bincount(sentences)
    return Shown(np.bincount(sentences, present) / counts, np.bincount(sentences, intact) / counts, len(own))


def effect_table(outcomes: Outcomes, n_controls: int) -> pd.DataFrame:
    """A row for each condition and word, with `COLUMNS`; then, with draw 0, all control draws of a dose together.

    `share` is that of pictures which show what is looked for, `effect` (1) or (2) with its interval, `intact` the
    share of whole pictures, None from a judge that does not tell.
    """
    study, found = outcomes.study, []
    listed = conditions(study, n_controls)
    groups = [[condition] for condition in listed]
    groups += [
        [one for one in listed if one.whose == "random" and one.dose == dose] for dose in study.all_doses if n_controls
    ]
    for word in words_shown(study):
        for place, group in enumerate(groups):
            found.append(_row(outcomes, group, word, together=place >= len(listed)))
    return pd.DataFrame(found, columns=list(COLUMNS))


def _row(outcomes: Outcomes, group: Sequence[Condition], word: str, *, together: bool) -> dict[str, object]:
    first, shown = group[0], [outcomes.of(condition.name, word) for condition in group]
    found = outcomes.estimate(outcomes.effects(group, word))
    unchanged, intact = first.whose == "unedited", float(np.mean([one.intact.mean() for one in shown]))
    return {
        "condition": f"random, dose {first.dose:g}" if together else first.name,
        "whose": first.whose, "draw": 0 if together else first.draw, "dose": first.dose, "word": word,
        "share": float(np.mean([one.present.mean() for one in shown])), "effect": found.value,
        "low": 0.0 if unchanged else found.low, "high": 0.0 if unchanged else found.high,
        "intact": None if np.isnan(intact) else intact,
        "prompts": found.prompts, "images": sum(one.images for one in shown),
    }  # fmt: skip
