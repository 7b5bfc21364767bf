"""Causal tracing as a study: what a file says, and the folder that keeps what was found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from saes.config import Seed, StrictConfig
from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.models import Model
from workbench.models.diffusion.model import as_diffusion
from workbench.studies.hypothesis import HeldOut, drawn
from workbench.studies.tracing import COLUMNS, trace

FILE, FORMAT = "trace.json", "erasure-workbench trace 1"
_FIELDS = ("format", "asked", "rows")


class TraceFile(StrictConfig):
    """What a file says: in which `sites` the word of the concept is traced, and the words that corrupt its prompts."""

    question: str
    model: str
    concept: str
    sparing: tuple[str, ...]
    claim: Literal["traced"]
    sites: tuple[str, ...] = Field(min_length=1)
    prompts: int | tuple[str, ...] = 12
    steps: int = Field(default=4, ge=1)
    seed: Seed = 0

    def with_prompts(self, concept: Callable[[str], Concept], held_out: HeldOut) -> "TraceFile":
        """The same with its prompts listed, and the concept by its name."""
        about = concept(self.concept)
        prompts = drawn(self.prompts, about, {*about.prompts()}, held_out, self.seed)
        return self.model_copy(update={"prompts": prompts, "concept": about.name})


@dataclass(frozen=True, eq=False)
class TraceResult:
    """A finished trace: `table` has the columns of `tracing.COLUMNS`."""

    table: pd.DataFrame
    asked: Mapping[str, Any]
    dir: Path

    @classmethod
    def open(cls, folder: Path | str) -> "TraceResult":
        """Reads a finished trace. Raises `WorkbenchError` if the folder is none."""
        path = Path(folder) / FILE
        saved = read_json(path, _FIELDS)
        if saved["format"] != FORMAT:
            raise WorkbenchError(f"{path} is of another version ({saved['format']}).", "Trace again.")
        table = pd.DataFrame(saved["rows"], columns=list(COLUMNS)).astype({"step": "float64"})
        return cls(table, saved["asked"], Path(folder))

    @property
    def sentence(self) -> str:
        """Where most is restored, in one sentence with its interval and its control."""
        row = self.table.loc[self.table["restored"].idxmax()]
        where = f"timestep {row.step:.0f}" if pd.notna(row.step) else f"the part “{row.token}” of the sentence"
        return (
            f"Most is restored at {row.site}, {where}: {_percent(row.restored)} ({_percent(row.low)} to "
            f"{_percent(row.high)}) of what another word than {self.asked['concept']} changes; an unrelated word's "
            f"activation in the same place restores {_percent(row.control)} ({_percent(row.control_low)} to "
            f"{_percent(row.control_high)})."
        )


def run_trace(model: Model, said: TraceFile, out_dir: Path | str, *, progress: Progress = SILENT) -> TraceResult:
    """Traces, and keeps the result in the folder; one that holds the same already is read.

    `said` has its prompts listed. Raises `WorkbenchError` for an unknown site, sentences of unequal length, and a
    folder that holds another trace.
    """
    asked = {
        **said.model_dump(mode="json"),
        "model": model.name,
        "fingerprint": model.fingerprint,
        "parts": dict(model.identity.parts),
    }
    if (Path(out_dir) / FILE).exists():
        known = TraceResult.open(out_dir)
        if known.asked != asked:
            raise WorkbenchError(f"{out_dir} holds another trace.", "Choose another folder.")
        return known
    assert not isinstance(said.prompts, int), "prompts are listed by `with_prompts`"
    table = trace(
        as_diffusion(model, "Tracing"), said.prompts, said.concept, said.sparing, said.sites,
        steps=said.steps, seed=said.seed, progress=progress,
    )  # fmt: skip
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    write_json(Path(out_dir) / FILE, dict(zip(_FIELDS, (FORMAT, asked, rows), strict=True)))
    return TraceResult.open(out_dir)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %".replace("-", "−")
