"""What an activation store says about itself: `manifest.json`, checked field by field when it is read."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from saes.disk import read_json, write_json
from saes.errors import WorkbenchError

FORMAT = 1
FILE = "manifest.json"
PROMPTS_FILE = "prompts.json"
Dtype = Literal["float16", "bfloat16", "float32"]
Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Shard:
    """One file: the rows of one chunk of prompts at every site, rows of the train split first.

    `rows[site] = (train rows, validation rows)`.
    """

    file: str
    chunk: int
    bytes: int
    sha256: str
    rows: dict[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """What identifies a store: a writer resumes only a store of the same spec.

    `sites` maps an alias to what is known of it; "width" (columns) and "labels" (the names of the label columns, of
    which "prompt" is one) must be there. `recipe` is whatever else the rows depend on (seed, sampling rate, token
    policy). Both must be JSON.
    """

    model: str
    sites: dict[str, dict[str, Any]]
    prompts: tuple[str, ...]
    chunk_prompts: int
    dtype: Dtype = "float16"
    recipe: dict[str, Any] = field(default_factory=dict)
    validation_share: float = 0.1

    def __post_init__(self) -> None:
        if not self.prompts:
            raise WorkbenchError("The list of prompts is empty.", "Give at least one prompt.")
        if not self.sites:
            raise WorkbenchError("No site was asked for.", "Name at least one; `workbench sites MODEL` lists them.")

    @property
    def chunks(self) -> list[range]:
        """The prompt indices of each chunk."""
        starts = range(0, len(self.prompts), self.chunk_prompts)
        return [range(start, min(start + self.chunk_prompts, len(self.prompts))) for start in starts]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`spec` without its prompts (they have a file of their own) plus what has been written so far."""

    model: str
    sites: dict[str, dict[str, Any]]
    prompts_sha256: str
    n_prompts: int
    chunk_prompts: int
    dtype: Dtype
    recipe: dict[str, Any]
    validation_share: float
    shards: tuple[Shard, ...] = ()
    format: int = FORMAT

    @classmethod
    def of(cls, spec: StoreSpec) -> "Manifest":
        """The manifest of a store of which nothing is written yet."""
        return cls(
            model=spec.model,
            sites=spec.sites,
            prompts_sha256=prompts_sha256(spec.prompts),
            n_prompts=len(spec.prompts),
            chunk_prompts=spec.chunk_prompts,
            dtype=spec.dtype,
            recipe=spec.recipe,
            validation_share=spec.validation_share,
        )

    @classmethod
    def read(cls, store_dir: Path) -> "Manifest":
        """Raises `WorkbenchError` if there is none, or one of another format."""
        path = store_dir / FILE
        if not path.exists():
            raise WorkbenchError(f"{store_dir} is no activation store.", "Make one with `workbench harvest`.")
        values = read_json(path, cls.__dataclass_fields__)
        if values["format"] != FORMAT:
            raise WorkbenchError(f"{path} has format {values['format']}, not {FORMAT}.", "Harvest the store again.")
        shards = tuple(_shard(values) for values in values.pop("shards"))
        return cls(**values, shards=shards)

    def write(self, store_dir: Path) -> None:
        write_json(store_dir / FILE, asdict(self))

    @property
    def n_chunks(self) -> int:
        return -(-self.n_prompts // self.chunk_prompts)

    def different_field(self, other: "Manifest") -> str | None:
        """The first field, other than the shards, in which two manifests differ."""
        names = (name for name in self.__dataclass_fields__ if name != "shards")
        return next((name for name in names if getattr(self, name) != getattr(other, name)), None)


def _shard(values: Mapping[str, Any]) -> Shard:
    return Shard(**{**values, "rows": {site: tuple(counts) for site, counts in values["rows"].items()}})


def prompts_sha256(prompts: Sequence[str]) -> str:
    """A hash of the prompts and of their order; texts are length-prefixed, so that no two lists collide."""
    digest = hashlib.sha256()
    for prompt in prompts:
        text = prompt.encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


def split_of(prompt: str, validation_share: float) -> Split:
    """The split of all rows of a prompt, decided by the hash of its text alone.

    So a prompt never lies on both sides, however often, in whatever order and in whichever store it occurs.
    """
    fraction = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big") / 2**64
    return "validation" if fraction < validation_share else "train"
