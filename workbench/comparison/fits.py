"""Fits of a comparison: each is made once, timed, and found again after a kill.

`edits/<hash>` of the run folder holds the edit, `fits/<key>.json` which fit gave it and how long that took; the key is
the hash of everything that decides the edit: method, settings, concepts, seed, model, and what was erased before.
A fit that trains keeps its checkpoints in `unfinished/<key>` meanwhile; that folder's lock says who makes it.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

from saes.disk import read_json, sha256_of, write_json
from saes.locks import working_in
from saes.progress import Progress
from workbench.claims import UNFINISHED
from workbench.concepts import Concept
from workbench.edits import ComposedEdit, Edit, load_edit
from workbench.erasure.method import Method
from workbench.evaluation.saving import save_edit
from workbench.fitting.checkpoints import resumable
from workbench.models import Model
from workbench.processes import alone

FIELDS = ("method", "concepts", "edit", "seconds")


class Fitted(NamedTuple):
    """An edit, the seconds of its fit, and the key of the fit."""

    edit: Edit
    seconds: float
    key: str


class Fitter(NamedTuple):
    """Fits on one model into one run folder."""

    model: Model
    out_dir: Path
    seed: int
    progress: Progress

    def fit(self, method: Method, concepts: Sequence[Concept], after: Sequence[Fitted] = ()) -> Fitted:
        """Fits, unless the same was fitted before.

        Args:
            method: With its settings.
            concepts: What it erases, all at once.
            after: What was erased before; the fit sees the model as these edits leave it.

        Returns:
            The edit, and how long its fit took.

        Raises:
            Busy: Another process makes this fit.
            WorkbenchError: The method cannot do it.
        """
        key = self._key(method, concepts, after)
        unfinished = self.out_dir / UNFINISHED / key
        if known := self._known(key):
            return known
        with working_in(unfinished):
            fitted = self._known(key) or self._made(method, concepts, after, key)  # made by another one just now
            rmtree(unfinished, ignore_errors=True)  # another process may come in as the lock goes, and remove it too
        return fitted

    def _made(self, method: Method, concepts: Sequence[Concept], after: Sequence[Fitted], key: str) -> Fitted:
        unfinished = self.out_dir / UNFINISHED / key
        with (
            self.model.edited(*(done.edit for done in after), composing=True), resumable(unfinished) as place, alone(),
        ):  # fmt: skip
            began = time.perf_counter()
            edit = method.fit(self.model, concepts, seed=self.seed, progress=self.progress)
            seconds = time.perf_counter() - began + place.regained
        return self._keep(key, edit, seconds)

    def fit_in_order(self, method: Method, concepts: Sequence[Concept]) -> Fitted:
        """Fits the concepts one after another, each from the model without those before it.

        Args:
            method: With its settings.
            concepts: In the order in which they are erased.

        Returns:
            One composed edit, and the seconds of all its parts.

        Raises:
            Busy: Another process makes one of these fits.
            WorkbenchError: The method cannot do it.
        """
        done: list[Fitted] = []
        for concept in concepts:
            done.append(self.fit(method, [concept], after=done))
        key = hashed([one.key for one in done])
        seconds = sum(one.seconds for one in done)
        return self._known(key) or self._keep(key, ComposedEdit([one.edit for one in done]), seconds)

    def _key(self, method: Method, concepts: Sequence[Concept], after: Sequence[Fitted]) -> str:
        kind = type(method)
        made = [f"{kind.__module__}:{kind.__qualname__}", asdict(method)]  # type: ignore[call-overload]
        made.append([sha256_of(path) if path.is_file() else "" for path in method.inputs()])  # what lies there decides
        about = [asdict(concept) for concept in concepts]
        return hashed([made, about, self.seed, self.model.identity.hash, [done.key for done in after]])

    def _known(self, key: str) -> Fitted | None:
        path = self.out_dir / "fits" / f"{key}.json"
        if not path.exists():
            return None
        record = read_json(path, FIELDS)
        return Fitted(load_edit(self.out_dir / "edits" / record["edit"]), record["seconds"], key)

    def _keep(self, key: str, edit: Edit, seconds: float) -> Fitted:
        saved = save_edit(self.out_dir, edit)
        record = dict(zip(FIELDS, (edit.method, list(edit.concepts), saved.hash, seconds), strict=True))
        write_json(self.out_dir / "fits" / f"{key}.json", record)
        return Fitted(edit, seconds, key)


def fit_seconds(run_dir: Path) -> dict[str, float]:
    """How long the edits of a run took to fit.

    Args:
        run_dir: Folder of a run.

    Returns:
        Seconds by the edit's hash; empty for a run that is no comparison.

    Raises:
        WorkbenchError: A record is damaged.
    """
    records = [read_json(path, FIELDS) for path in sorted((run_dir / "fits").glob("*.json"))]
    return {record["edit"]: record["seconds"] for record in records}


def hashed(value: Any) -> str:
    """Names a value.

    Args:
        value: What JSON can say.

    Returns:
        80 bits of its SHA-256, 20 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]
