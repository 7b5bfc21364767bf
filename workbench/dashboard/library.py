"""Everything that the pages read: the run, the caches of its autoencoders, and one index over all features."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from saes.errors import unknown_name
from saes.names import FeatureName
from workbench.concepts import Concept
from workbench.dashboard.cache import FeatureCache
from workbench.dashboard.prompts import Shown
from workbench.evaluation.runs import Run


@dataclass(frozen=True, eq=False)
class Library:
    """The caches by the names of their SAEs; `names` holds what features are called, by SAE and number."""

    run: Run
    caches: Mapping[str, FeatureCache]
    concepts: tuple[Concept, ...]
    names: Mapping[str, Mapping[int, FeatureName]] = field(default_factory=dict)

    def cache(self, sae: str) -> FeatureCache:
        """The cache of an SAE.

        Args:
            sae: Its name on the dashboard.

        Returns:
            The cache.

        Raises:
            WorkbenchError: There is none; the nearest names are told.
        """
        if sae not in self.caches:
            raise unknown_name("SAE", sae, self.caches)
        return self.caches[sae]

    def concept(self, name: str) -> Concept:
        """A concept by its name.

        Args:
            name: Its name.

        Returns:
            The concept.

        Raises:
            WorkbenchError: There is none; the nearest names are told.
        """
        known = {concept.name: concept for concept in self.concepts}
        if name not in known:
            raise unknown_name("concept", name, known)
        return known[name]

    @cached_property
    def index(self) -> pd.DataFrame:
        """A row a feature of all SAEs: sae, feature, name, words (one text), concept, auc, density, largest."""
        return pd.concat([self._rows(sae, cache) for sae, cache in self.caches.items()], ignore_index=True)

    @cached_property
    def prompts(self) -> tuple[Shown, ...]:
        """The prompts that all features are shown on."""
        frame = next(iter(self.caches.values())).prompts[list(Shown._fields)]
        return tuple(Shown(*row) for row in frame.itertuples(index=False))

    def _rows(self, sae: str, cache: FeatureCache) -> pd.DataFrame:
        names = self.names.get(sae, {})
        frame = cache.features[["feature", "density", "largest", "concept", "auc"]].copy()
        frame.insert(0, "sae", sae)
        frame["name"] = [names[feature].name if feature in names else "" for feature in frame["feature"]]
        frame["words"] = [" ".join(words) for words in cache.features["words"]]
        return frame

    def label(self, sae: str, feature: int) -> str:
        """What a feature is called in a few words: its name, else the words it fires on, else its concept.

        Args:
            sae: The SAE's name on the dashboard.
            feature: Its number.

        Returns:
            A text; "never fires" for one of which nothing is known.
        """
        if named := self.names.get(sae, {}).get(feature):
            return named.name
        row = self.cache(sae).features.iloc[feature]
        return ", ".join(row["words"][:3]) or row["concept"] or "never fires"
