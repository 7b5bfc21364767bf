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


D_IN, N_TRUE = 16, 24


def sparse_rows(n: int, seed: int) -> torch.Tensor:
    """Rows made of 3 of 24 fixed unit directions, about a mean of norm 8 that is larger than their spread."""
    fixed = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(N_TRUE, D_IN, generator=fixed), dim=1)
    mean = torch.full((D_IN,), 2.0)
    drawn = torch.Generator().manual_seed(seed + 1)
    chosen = torch.rand(n, N_TRUE, generator=drawn).topk(3, dim=1).indices
    strength = torch.rand(n, 3, generator=drawn) + 0.5
    return mean + torch.zeros(n, N_TRUE).scatter(1, chosen, strength) @ directions


@pytest.fixture
def sparse_store(tmp_path: Path) -> ActivationStore:
    """12,800 rows with a known sparse structure, 200 prompts of 64 rows."""
    site = {"width": D_IN, "labels": ["prompt"], "path": "text_encoder.layers.2", "kind": "output"}
    prompts = tuple(f"prompt {i}" for i in range(200))
    spec = StoreSpec(
        model="model-a", sites={"text.2": site}, prompts=prompts, chunk_prompts=50, dtype="float32", recipe={"seed": 0}
    )
    writer = StoreWriter(tmp_path / "sparse", spec)
    for chunk, members in enumerate(spec.chunks):
        labels = torch.tensor(list(members), dtype=torch.int32).repeat_interleave(64)
        writer.write(chunk, {"text.2": SiteRows(sparse_rows(len(labels), chunk), {"prompt": labels})})
    return writer.finish()
