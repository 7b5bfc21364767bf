"""What an activation store says about itself: `manifest.json`, checked field by field when it is read."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveInt

from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from saes.settings import build
from saes.shards import DAMAGED, Shard, read_records, shard_file
from saes.strict_json import half_character

FORMAT = 1
FILE = "manifest.json"
PROMPTS_FILE = "prompts.json"
Share = Annotated[float, Field(ge=0, le=1)]
Dtype = Literal["float16", "bfloat16", "float32"]
Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


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
        if self.chunk_prompts < 1 or not 0 <= self.validation_share <= 1:
            raise WorkbenchError(
                f"A chunk of {self.chunk_prompts} prompts or a validation share of {self.validation_share} cannot be.",
                "Give at least 1 and a share from 0 to 1.",
            )
        if not self.sites:
            raise WorkbenchError("No site was asked for.", "Name at least one; `workbench sites MODEL` lists them.")
        for number, prompt in enumerate(self.prompts):
            try:
                prompt.encode()
            except UnicodeEncodeError as error:
                raise half_character(f"Prompt {number}", error) from None

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
    n_prompts: PositiveInt
    chunk_prompts: PositiveInt
    dtype: Dtype
    recipe: dict[str, Any]
    validation_share: Share
    shards: tuple[Shard, ...] = ()
    format: int = FORMAT

    @classmethod
    def of(cls, spec: StoreSpec) -> "Manifest":
        """The manifest of a store of which nothing is written yet.

        Args:
            spec: what is to be stored.

        Returns:
            A manifest without shards.
        """
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
        """What a store says of itself, with the shards that are written so far in the order of their chunks.

        Args:
            store_dir: the folder of the store.

        Returns:
            The manifest, into which the records of an unfinished store are taken.

        Raises:
            WorkbenchError: there is no store, or one of another format, or what it says cannot be true.
        """
        path = store_dir / FILE
        if not path.exists():
            raise WorkbenchError(f"{store_dir} is no activation store.", "Make one with `workbench harvest`.")
        records = read_records(store_dir)  # first: they are removed only once the manifest has them
        values = read_json(path, cls.__dataclass_fields__)
        if values["format"] != FORMAT:
            raise WorkbenchError(f"{path} has format {values['format']}, not {FORMAT}.", "Harvest the store again.")
        found = build(cls, values, str(path), DAMAGED)
        shards = {shard.chunk: shard for shard in (*records, *found.shards)}
        found = replace(found, shards=tuple(shards[chunk] for chunk in sorted(shards)))
        found.check(path)
        return found

    def check(self, path: Path) -> None:
        """Looks for what cannot be true.

        Args:
            path: the file to blame.

        Raises:
            WorkbenchError: a site has no width or labels, or a shard is none of this store.
        """
        for site, about in self.sites.items():
            width, labels = about.get("width"), about.get("labels")
            if not isinstance(width, int) or width < 1 or not isinstance(labels, list) or "prompt" not in labels:
                raise WorkbenchError(f"{path}: sites.{site} has no width, or no labels.", DAMAGED)
        for shard in self.shards:
            is_named = shard.file == shard_file(shard.chunk) and shard.chunk < self.n_chunks
            if not is_named or shard.rows.keys() != self.sites.keys():
                raise WorkbenchError(f"{path}: {shard.file} is no shard of this store.", DAMAGED)

    def write(self, store_dir: Path, *, keep: bool = False) -> None:
        """Writes the manifest.

        Args:
            store_dir: the folder of the store, which is made.
            keep: leave a manifest that is there already.

        Raises:
            WorkbenchError: it cannot be written.
        """
        write_json(store_dir / FILE, asdict(self), keep=keep)

    def check_spec(self, spec: StoreSpec, store_dir: Path) -> None:
        """Compares a store with what is to be stored.

        Args:
            spec: what is to be stored.
            store_dir: the folder of the store.

        Raises:
            WorkbenchError: the store is of another spec; the first difference is named.
        """
        if name := self.different_field(Manifest.of(spec)):
            raise WorkbenchError(
                f"{store_dir} holds a store with another {name}.", "Choose another folder, or remove that store."
            )

    @property
    def is_whole(self) -> bool:
        """Whether all chunks are there."""
        return len(self.shards) == self.n_chunks

    @property
    def n_chunks(self) -> int:
        """How many chunks the prompts make."""
        return -(-self.n_prompts // self.chunk_prompts)

    def different_field(self, other: "Manifest") -> str | None:
        """Compares two manifests without their shards.

        Args:
            other: the other manifest.

        Returns:
            The name of the first field in which they differ; None if they agree.
        """
        names = (name for name in self.__dataclass_fields__ if name != "shards")
        return next((name for name in names if getattr(self, name) != getattr(other, name)), None)


def prompts_sha256(prompts: Sequence[str]) -> str:
    """A hash of texts and of their order. Texts are length-prefixed, so that no two lists collide.

    Args:
        prompts: the texts.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for prompt in prompts:
        text = prompt.encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


def split_of(prompt: str, validation_share: float) -> Split:
    """The split of all rows of a prompt, decided by the hash of its text alone.

    So a prompt never lies on both sides, however often, in whatever order and in whichever store it occurs.

    Args:
        prompt: its text.
        validation_share: expected share of prompts in the validation split, in [0, 1].

    Returns:
        "train" or "validation".
    """
    fraction = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big") / 2**64
    return "validation" if fraction < validation_share else "train"
