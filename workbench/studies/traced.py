"""Causal tracing as a study: what a file says, and the folder that keeps what was found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool
from pydantic import Field

from saes.config import Seed, StrictConfig
from saes.disk import read_json, write_json
from saes.errors import WorkbenchError, unknown_name
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.evaluation.judges import Judge
from workbench.models import Janus, Model
from workbench.models.diffusion.model import as_diffusion
from workbench.models.images import Images
from workbench.studies.drawn_tracing import DRAWN, drawn_trace
from workbench.studies.hypothesis import HeldOut
from workbench.studies.hypothesis import drawn as drawn_prompts
from workbench.studies.token_tracing import trace_tokens
from workbench.studies.tracing import COLUMNS, trace

FILE, FORMAT = "trace.json", "erasure-workbench trace 2"
_FIELDS = ("format", "asked", "rows", "drawn")


class TraceFile(StrictConfig):
    """What a file says: in which `sites` the word of the concept is traced, and the words that corrupt its prompts.

    `steps` are those of a denoising that are compared; a Janus has none. `judged`: of a Janus, pictures are drawn under
    the same patches too, and the judge says how many show the concept.
    """

    question: str
    model: str
    concept: str
    sparing: tuple[str, ...]
    claim: Literal["traced"]
    sites: tuple[str, ...] = Field(min_length=1)
    prompts: int | tuple[str, ...] = 12
    steps: int = Field(default=4, ge=1)
    judged: bool = False
    seed: Seed = 0

    def with_prompts(self, concept: Callable[[str], Concept], held_out: HeldOut) -> "TraceFile":
        """The same with its prompts listed, and the concept by its name."""
        about = concept(self.concept)
        prompts = drawn_prompts(self.prompts, about, {*about.prompts()}, held_out, self.seed)
        return self.model_copy(update={"prompts": prompts, "concept": about.name})


@dataclass(frozen=True, eq=False)
class TraceResult:
    """A finished trace: `table` has the columns of `tracing.COLUMNS`, `drawn` those of `drawn_tracing.DRAWN`; it has
    no rows where no pictures were drawn."""

    table: pd.DataFrame
    drawn: pd.DataFrame
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
        return cls(table, pd.DataFrame(saved["drawn"], columns=list(DRAWN)), saved["asked"], Path(folder))

    @property
    def sentence(self) -> str:
        """Where most is restored, in one sentence with its interval and its control."""
        row = self.table.loc[self.table["restored"].idxmax()]
        where = f"timestep {row.step:.0f}" if pd.notna(row.step) else f"“{row.token}”"
        return (
            f"Most is restored at {row.site}, {where}: {_percent(row.restored)} ({_percent(row.low)} to "
            f"{_percent(row.high)}) of what another word than {self.asked['concept']} changes; an unrelated word's "
            f"activation in the same place restores {_percent(row.control)} ({_percent(row.control_low)} to "
            f"{_percent(row.control_high)})."
        )


def run_trace(
    model: Model,
    said: TraceFile,
    out_dir: Path | str,
    *,
    judge: Judge | None = None,
    progress: Progress = SILENT,
) -> TraceResult:
    """Traces, and keeps the result in the folder; one that holds the same already is read.

    `said` has its prompts listed. Raises `WorkbenchError` for an unknown site, sentences of unequal length, what this
    kind of model has not, a judge that does not know the concept, and a folder that holds another trace.
    """
    looks = _checked(model, said, judge)
    asked = {
        **said.model_dump(mode="json"),
        "model": model.name,
        "kind": model.kind,
        "fingerprint": model.fingerprint,
        "parts": dict(model.identity.parts),
        "judge": f"{looks.name} {looks.version}" if looks else "",
    }
    if (Path(out_dir) / FILE).exists():
        known = TraceResult.open(out_dir)
        if known.asked != asked:
            raise WorkbenchError(f"{out_dir} holds another trace.", "Choose another folder.")
        return known
    assert not isinstance(said.prompts, int), "prompts are listed by `with_prompts`"
    told = (said.prompts, said.concept, said.sparing, said.sites)
    drawn = pd.DataFrame(columns=list(DRAWN))
    if isinstance(model, Janus):
        table = trace_tokens(model, *told, seed=said.seed, progress=progress)
        if looks:
            drawn = drawn_trace(model, *told, partial(_shows, looks, said.concept), seed=said.seed, progress=progress)
    else:
        table = trace(as_diffusion(model, "Tracing"), *told, steps=said.steps, seed=said.seed, progress=progress)
    rows = [part.astype(object).where(part.notna(), None).to_dict("records") for part in (table, drawn)]
    write_json(Path(out_dir) / FILE, dict(zip(_FIELDS, (FORMAT, asked, *rows), strict=True)))
    return TraceResult.open(out_dir)


def _checked(model: Model, said: TraceFile, judge: Judge | None) -> Judge | None:
    """The judge, where one is asked for."""
    if isinstance(model, Janus) and "steps" in said.model_fields_set:
        raise WorkbenchError(f"`steps` are those of a denoising, and {model.name} has none.", "Leave them out.")
    if not said.judged:
        return None
    if not isinstance(model, Janus):
        raise WorkbenchError(
            f"A trace in {model.name} compares predictions and draws no pictures to judge.", "Leave `judged` out."
        )
    if judge is None:
        raise WorkbenchError("The trace is to be judged, and there is no judge.", "Give one.")
    if said.concept not in judge.concepts:
        raise unknown_name(f"concept of the judge {judge.name}", said.concept, judge.concepts)
    return judge


def _shows(judge: Judge, concept: str, images: Images) -> Bool[np.ndarray, " n"]:
    present = judge.score(images, [concept] * len(images)).present
    return present[:, list(judge.concepts).index(concept)] >= judge.thresholds[concept]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %".replace("-", "−")
