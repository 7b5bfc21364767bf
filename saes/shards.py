"""The shards of an activation store and their records: a small JSON file beside each shard that is whole.

Records are the truth while a store is written. Each writer adds those of its own chunks and touches no other's, so
several may write one store. The finished store keeps them all in its manifest.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt

from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from saes.settings import build

DAMAGED = "Remove the folder and harvest again, or restore a copy."


@dataclass(frozen=True)
class Shard:
    """One file: the rows of one chunk of prompts at every site, rows of the train split first.

    `rows[site] = (train rows, validation rows)`.
    """

    file: str
    chunk: NonNegativeInt
    bytes: NonNegativeInt
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    rows: dict[str, tuple[NonNegativeInt, NonNegativeInt]]


def shard_file(chunk: int) -> str:
    """The name of a shard.

    Args:
        chunk: number of its chunk of prompts, from 0.

    Returns:
        The name of the file in the store's folder.
    """
    return f"shard-{chunk:06d}.safetensors"


def write_record(store_dir: Path, shard: Shard) -> None:
    """Says that a shard is whole.

    Args:
        store_dir: the folder of the store, in which the shard lies.
        shard: what is known of it.

    Raises:
        WorkbenchError: the record cannot be written.
    """
    write_json((store_dir / shard.file).with_suffix(".json"), asdict(shard))


def read_records(store_dir: Path) -> list[Shard]:
    """All records beside the shards of a store.

    Args:
        store_dir: the folder of the store.

    Returns:
        The shards, in no order. A record that another process takes away meanwhile is left out.

    Raises:
        WorkbenchError: a record is damaged.
    """
    return [shard for path in store_dir.glob("shard-*.json") if (shard := _read(path)) is not None]


def remove_records(store_dir: Path, shards: Iterable[Shard]) -> None:
    """Removes the records of shards that a manifest has taken over.

    Args:
        store_dir: the folder of the store.
        shards: all or some of its shards.
    """
    for shard in shards:
        (store_dir / shard.file).with_suffix(".json").unlink(missing_ok=True)


def _read(path: Path) -> Shard | None:
    try:
        values = read_json(path)
    except WorkbenchError:
        if path.exists():
            raise
        return None
    shard = build(Shard, values, str(path), DAMAGED)
    if path.with_suffix(".safetensors").name != shard.file or shard.file != shard_file(shard.chunk):
        raise WorkbenchError(f"{path} is the record of another shard.", DAMAGED)
    return shard
