"""Everything that the pages read: the run, the caches of its autoencoders, and one index over all features.

Caches come one after the other, each with more prompts than the last, while pages are read: a page sees one mapping of
them, which is replaced as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from saes.errors import WorkbenchError, unknown_name
from saes.names import FeatureName
from workbench.concepts import Concept
from workbench.dashboard.cache import FeatureCache
from workbench.dashboard.prompts import Shown
from workbench.dashboard.sources import Source
from workbench.evaluation.runs import Run

COLUMNS = ["feature", "density", "largest", "concept", "auc"]


@dataclass(eq=False)
class Library:
    """The caches by the names of their SAEs; `names` holds what features are called, by SAE and number.

    `prompts` are all those that features are to be shown on; a cache may know the first of them alone. `version` counts
    the caches that came.
    """

    run: Run
    sources: tuple[Source, ...]
    prompts: tuple[Shown, ...]
    concepts: tuple[Concept, ...]
    caches: Mapping[str, FeatureCache] = field(default_factory=dict)
    names: Mapping[str, Mapping[int, FeatureName]] = field(default_factory=dict)
    version: int = 0
    _index: tuple[Mapping[str, FeatureCache], pd.DataFrame] | None = field(default=None, init=False, repr=False)

    def put(self, cache: FeatureCache) -> None:
        """Takes in a cache, in the place of an earlier one of the same SAE.

        Args:
            cache: Of one of the sources.
        """
        known = {**self.caches, cache.source.name: cache}
        self.caches = {source.name: known[source.name] for source in self.sources if source.name in known}
        self.version += 1

    def cache(self, sae: str) -> FeatureCache:
        """The cache of an SAE.

        Args:
            sae: Its name on the dashboard.

        Returns:
            The cache.

        Raises:
            WorkbenchError: There is no such SAE (the nearest names are told), or no features of it yet.
        """
        if sae not in self.caches:
            names = [source.name for source in self.sources]
            if sae not in names:
                raise unknown_name("SAE", sae, names)
            raise WorkbenchError(f"The features of {sae} were not looked at yet.", "They come by themselves.")
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

    @property
    def index(self) -> pd.DataFrame:
        """A row a feature of all SAEs: sae, feature, name, words (one text), concept, auc, density, largest."""
        caches, known = self.caches, self._index
        if known is None or known[0] is not caches:
            frames = [self._rows(sae, cache) for sae, cache in caches.items()]
            known = (caches, pd.concat(frames, ignore_index=True))
            self._index = known
        return known[1]

    def _rows(self, sae: str, cache: FeatureCache) -> pd.DataFrame:
        names = self.names.get(sae, {})
        frame = cache.features[COLUMNS].copy()
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
