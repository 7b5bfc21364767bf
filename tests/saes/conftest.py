"""A small store of which every value is known."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saes.manifest import StoreSpec
from saes.store import ActivationStore
from saes.writing import SiteRows, StoreWriter


def make_spec(n_prompts: int = 60, *, width: int = 6, chunk_prompts: int = 7, **changes) -> StoreSpec:
    site = {"width": width, "labels": ["prompt", "position"], "kind": "output"}
    values = {
        "model": "model-a",
        "sites": {"text.1": site, "text.2": site},
        "prompts": tuple(f"prompt {i}" for i in range(n_prompts)),
        "chunk_prompts": chunk_prompts,
        "dtype": "float32",
    }
    return StoreSpec(**{**values, **changes})


def chunk_rows(spec: StoreSpec, chunk: int, per_prompt: int = 5) -> dict[str, SiteRows]:
    """Row of prompt p and position q at site s: (s, p, q, noise…), so that a row says which one it is."""
    sites = {}
    for number, (site, info) in enumerate(spec.sites.items()):
        prompts = torch.tensor(list(spec.chunks[chunk]), dtype=torch.int32).repeat_interleave(per_prompt)
        positions = torch.arange(per_prompt, dtype=torch.int32).repeat(len(spec.chunks[chunk]))
        rows = torch.randn(len(prompts), info["width"], generator=torch.Generator().manual_seed(chunk))
        rows[:, 0], rows[:, 1], rows[:, 2] = number, prompts, positions
        sites[site] = SiteRows(rows, {"prompt": prompts, "position": positions})
    return sites


@pytest.fixture
def spec_of() -> Callable[..., StoreSpec]:
    return make_spec


@pytest.fixture
def rows_of() -> Callable[..., dict[str, SiteRows]]:
    return chunk_rows


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., ActivationStore]:
    def make(name: str = "store", per_prompt: int = 5, **changes) -> ActivationStore:
        spec = make_spec(**changes)
        writer = StoreWriter(tmp_path / name, spec)
        for chunk in range(len(spec.chunks)):
            writer.write(chunk, chunk_rows(spec, chunk, per_prompt))
        return writer.finish()

    return make
