"""What attacks came to, in the folder of a run: an attempt a file while they search, one table once they are through.

attempts/<key>.json     one attempt on one row, under all that decides it
attempts.parquet        a row an attempt: `COLUMNS`
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from saes.disk import read_json, replacing, sha256_of, write_json
from saes.errors import WorkbenchError, unknown_name
from saes.plain import plain
from workbench.attacks.attack import Attack, Attempt, Budget
from workbench.evaluation.inputs import Further, NotText, input_hash, keep_inputs, read_input
from workbench.evaluation.judges import JudgeSpec
from workbench.evaluation.suites import SuiteRow
from workbench.identity import Identity, hashed
from workbench.models import Begun, Continued, Encoding, TokenIds
from workbench.models.provenance import digest_of

FOLDER, TABLE = "attempts", "attempts.parquet"
COLUMNS = {
    "suite": "str", "concept": "str", "condition": "str", "attack": "str", "name": "str", "control": "str",
    "row": "int64", "share": "int64", "plain": "str", "plain_seed": "int64", "plain_role": "str", "already": "bool",
    "prompt": "str", "seed": "int64", "input": "str", "given": "str", "success": "bool", "images": "int64",
    "gradients": "int64", "seconds": "float64", "dropped": "int64", "never_known": "bool",
}  # fmt: skip
_TOKENIZERS = b"erasure-workbench tokenizers"  # in what the table's file says of itself
_FIELDS = ("prompt", "input", "success", "images", "gradients", "seed", "dropped", "seconds")


@dataclass(frozen=True)
class Stored:
    """An attempt, and the seconds that it took: its share of those of its batch."""

    attempt: Attempt
    seconds: float


@dataclass(frozen=True)
class Attempts:
    """The attempts in a folder, each under all that decides it.

    Args:
        run_dir: The folder of the run.
        model: What the model is.
        judge: Who says what succeeds.
        sampling: How pictures are sampled.
        seed: Of the attacks' draws.
    """

    run_dir: Path
    model: Identity
    judge: JudgeSpec
    sampling: Mapping[str, Any]
    seed: int

    def key(self, edit: str, attack: Attack, budget: Budget, row: SuiteRow) -> str:
        """80 bits of the SHA-256 of all that decides an attempt; `edit` is the edit's hash, "" for none."""
        made_by = [self.model.hash, edit, self.judge.key, dict(self.sampling), self.seed]
        own = [row.prompt, row.seed, row.expected]
        return hashed([made_by, described(attack), asdict(budget), own])[:20]

    def read(self, key: str) -> Stored | None:
        """An attempt, None if it was not made yet. Raises `WorkbenchError` if it is damaged."""
        path = self._path(key)
        if not path.exists():
            return None
        found = read_json(path, _FIELDS)
        given = read_input(self.run_dir, found["input"]) if found["input"] else None
        told = {name: found[name] for name in ("success", "images", "gradients", "seed", "dropped")}
        return Stored(Attempt(found["prompt"], given, **told), found["seconds"])

    def write(self, key: str, stored: Stored) -> None:
        """Keeps an attempt, and first what it is given in the place of text."""
        attempt = stored.attempt
        name = "" if attempt.given is None else input_hash(attempt.given)
        if attempt.given is not None:
            keep_inputs(self.run_dir, {name: attempt.given})
        told = {**attempt._asdict(), "input": name, "seconds": stored.seconds}
        write_json(self._path(key), plain({field: told[field] for field in _FIELDS}))

    def _path(self, key: str) -> Path:
        return self.run_dir / FOLDER / f"{key}.json"


def described(attack: Attack) -> list[Any]:
    """An attack as JSON: its name, its settings, and what its files hold."""
    named: list[str] = [one.name for one in fields(attack)] if is_dataclass(attack) else []
    settings = {name: digest_of(getattr(attack, name)) for name in named}
    files = [sha256_of(path) if path.is_file() else "" for path in attack.inputs()]
    return [attack.name, settings, files]


def kind_of(given: NotText | None) -> str:
    """What a prompt is given as, in a word."""
    if given is None:
        return "text"
    kinds = {TokenIds: "ids", Encoding: "encoding", Begun: "start", Continued: "start", Further: "edit"}
    return kinds.get(type(given), "embeddings")


def write_table(run_dir: Path, rows: Sequence[Mapping[str, Any]], tokenizers: str) -> None:
    """Writes the table of all attempts of a run, and which tokenizers the ids among them are of."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _TOKENIZERS: tokenizers})
    with replacing(run_dir / TABLE) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_attempts(run_dir: Path | str) -> pd.DataFrame:
    """The attempts of a run, with the columns `COLUMNS`.

    Raises:
        WorkbenchError: Nothing was attacked in this run, or the table is damaged.
    """
    return _read(Path(run_dir)).to_pandas()


def tokenizers_of_attempts(run_dir: Path | str) -> str:
    """Which tokenizers the ids among the attempts of a run are of: `evaluation.input_checks.tokenizers_of`."""
    return (_read(Path(run_dir)).schema.metadata or {}).get(_TOKENIZERS, b"").decode()


def _read(run_dir: Path) -> pa.Table:
    path = run_dir / TABLE
    if not path.exists():
        raise WorkbenchError(f"Nothing was attacked in {run_dir}.", "Attack its edits: workbench attack.")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError):
        raise WorkbenchError(
            f"{path} is truncated or damaged.", "Remove it and attack again: attempts are kept."
        ) from None
    for column in COLUMNS:
        if column not in table.column_names:
            raise unknown_name("column", column, table.column_names)
    return table
