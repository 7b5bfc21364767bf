"""The table of features found for one or more concepts, with where its numbers come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from saes.disk import new_folder, read_json, write_json
from saes.errors import WorkbenchError, unknown_name

COLUMNS = (
    "concept",
    "feature",
    "target_mean",
    "retain_mean",
    "target_share",
    "retain_share",
    "auc",
    "in_contrast",
    "effect",
)


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """A row for each concept and feature, the best of each concept first.

    Columns of `frame`: concept; feature (index in the dictionary); target_mean and retain_mean, the mean over prompts
    of the strongest activation; target_share and retain_share, the share of prompts on which it fires; auc in [0, 1];
    in_contrast, whether ItD would take it; effect, what the model's score loses without it (NaN: not measured).
    """

    frame: pd.DataFrame
    about: Mapping[str, Any] = field(default_factory=dict)  # site, dictionary, model, m …; JSON values

    def __len__(self) -> int:
        return len(self.frame)

    def of(self, concept: str) -> pd.DataFrame:
        """The lines of one concept.

        Args:
            concept: its name.

        Returns:
            A copy of the lines, the best first.

        Raises:
            WorkbenchError: the concept is not in the table.
        """
        rows = self.frame[self.frame.concept == concept]
        if rows.empty:
            raise unknown_name("concept", concept, self.frame.concept.unique().tolist())
        return rows.reset_index(drop=True)

    def contrast(self, concept: str) -> list[int]:
        """The features that ItD would deactivate for a concept.

        Args:
            concept: its name.

        Returns:
            Features, the best first.

        Raises:
            WorkbenchError: the concept is not in the table.
        """
        rows = self.of(concept)
        return rows.feature[rows.in_contrast].tolist()

    def save(self, path: Path | str) -> None:
        """Writes a new folder with `features.parquet` and `about.json`.

        Args:
            path: the folder.

        Raises:
            WorkbenchError: it exists already, or cannot be written.
        """
        with new_folder(path) as folder:
            self.frame.to_parquet(folder / "features.parquet", index=False)
            write_json(folder / "about.json", dict(self.about))

    @classmethod
    def load(cls, path: Path | str) -> "FeatureTable":
        """Reads what `save` wrote.

        Args:
            path: the folder.

        Returns:
            The table.

        Raises:
            WorkbenchError: a file is missing or damaged, or has other columns.
        """
        path = Path(path)
        about = read_json(path / "about.json")
        try:
            frame = pd.read_parquet(path / "features.parquet")
        except (OSError, ValueError) as error:
            raise WorkbenchError(
                f"{path / 'features.parquet'} cannot be read ({error}).", "Run `find` again to make the table anew."
            ) from None
        if tuple(frame.columns) != COLUMNS:
            raise WorkbenchError(f"{path} has other columns than a feature table.", "Run `find` with this version.")
        return cls(frame, about)

    def _repr_html_(self) -> str:
        shown = self.frame.groupby("concept", sort=False).head(10)
        return shown.to_html(index=False, float_format="{:.3f}".format)
