"""A study of two models: do their features for the same concepts agree? From a file to a table that is kept.

Equations and control are those of `probes.matched_features`: on half of the prompts, features of the first model's
autoencoder that tell a concept best find their partners in the second's by what they fire on; on the other half it is
measured how far both agree, beside the partners that features of other concepts found.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from probes.matched_features import COLUMNS
from saes.config import Seed, StrictConfig
from saes.disk import read_json, sha256_of, write_json
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import open_sae
from workbench.concepts import Concept
from workbench.interpret.cross_model import features_agree
from workbench.models import Model
from workbench.shipped import sae_files
from workbench.studies.hypothesis import HeldOut, drawn

FILE, FORMAT = "agreement.json", "erasure-workbench agreement 1"
_FIELDS = ("format", "asked", "rows")


class Side(StrictConfig):
    """A model, and an autoencoder at one of its sites: a folder, or the name of a shipped one."""

    model: str
    sae: str


class AgreementFile(StrictConfig):
    """What a file says: two models, and of which `concepts` the features are matched, `per_concept` of each.

    `prompts` of each concept are run through both models; where a site lies on the picture's side, pictures are made.
    """

    question: str
    claim: Literal["agree"]
    first: Side
    second: Side
    concepts: tuple[str, ...] = Field(min_length=2)
    prompts: int = Field(default=20, ge=1)
    per_concept: int = Field(default=3, ge=1)
    seed: Seed = 0

    def asked_of(self, concept: Callable[[str], Concept], held_out: HeldOut) -> pd.DataFrame:
        """Whether each prompt is about each concept: drawn for it, or with its name among others.

        Args:
            concept: Finds a concept by its word.
            held_out: (concept, n, seed) → prompts.

        Returns:
            A bool column for each concept; the index are the prompts, each once.

        Raises:
            WorkbenchError: A concept is unknown, or has too few prompts.
        """
        own = {(one := concept(word)).name: drawn(self.prompts, one, set(), held_out, self.seed)
               for word in self.concepts}  # fmt: skip
        texts = list(dict.fromkeys(prompt for prompts in own.values() for prompt in prompts))
        names = {name: re.compile(rf"\b{re.escape(name)}\b", re.IGNORECASE) for name in own}
        about = {name: [text in own[name] or bool(names[name].search(text)) for text in texts] for name in own}
        return pd.DataFrame(about, index=texts)


@dataclass(frozen=True, eq=False)
class AgreementResult:
    """A finished study: `table` has the columns of `probes.matched_features.COLUMNS`, a row for each concept."""

    table: pd.DataFrame
    asked: Mapping[str, Any]
    dir: Path

    @classmethod
    def open(cls, folder: Path | str) -> "AgreementResult":
        """Reads a finished study. Raises `WorkbenchError` if the folder is none."""
        path = Path(folder) / FILE
        saved = read_json(path, _FIELDS)
        if saved["format"] != FORMAT:
            raise WorkbenchError(f"{path} is of another version ({saved['format']}).", "Run the study again.")
        return cls(pd.DataFrame(saved["rows"], columns=list(COLUMNS)), saved["asked"], Path(folder))

    @property
    def sentence(self) -> str:
        """For how many concepts the features agree more than those of others do, and how far on average."""
        beyond, n = int((self.table["difference_low"] > 0).sum()), len(self.table)
        return (
            f"Matched features agree beyond those of other concepts for {beyond} of {n} concepts (95 %): on average by "
            f"r = {self.table['agreement'].mean():.2f}, and {self.table['control'].mean():.2f} for the control."
        )


def run_agreement(
    first: Model, second: Model, said: AgreementFile, about: pd.DataFrame, out_dir: Path | str,
    *, progress: Progress = SILENT,
) -> AgreementResult:  # fmt: skip
    """Matches features, and keeps the result in the folder; one that holds the same already is read.

    Args:
        first: The model of `said.first`.
        second: That of `said.second`.
        said: The file.
        about: Of `said.asked_of`.
        out_dir: Folder of the study.
        progress: Shows the prompts.

    Returns:
        The result.

    Raises:
        WorkbenchError: As `features_agree`, or the folder holds another study.
    """
    sides = zip((said.first, said.second), (first, second), strict=True)
    asked = {
        **said.model_dump(mode="json"),
        "models": [
            {
                "fingerprint": model.fingerprint, "parts": dict(model.identity.parts),
                "sae": [sha256_of(path) for path in sae_files(side.sae) if path.is_file()],
            }
            for side, model in sides
        ],
    }  # fmt: skip
    if (Path(out_dir) / FILE).exists():
        known = AgreementResult.open(out_dir)
        if known.asked != asked:
            raise WorkbenchError(f"{out_dir} holds another study.", "Choose another folder.")
        return known
    table = features_agree(
        (first, open_sae(said.first.sae)), (second, open_sae(said.second.sae)), list(about.index),
        about.reset_index(drop=True), per_concept=said.per_concept, seed=said.seed, progress=progress,
    )  # fmt: skip
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    write_json(Path(out_dir) / FILE, dict(zip(_FIELDS, (FORMAT, asked, rows), strict=True)))
    return AgreementResult.open(out_dir)
