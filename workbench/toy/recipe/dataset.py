"""Rendered training pictures, made once: `images.npy` and `captions.json`, in chunks so that an interrupted run goes
on."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from saes.disk import write_json
from saes.progress import SILENT, Progress
from workbench.toy.captions import sample
from workbench.toy.render import render
from workbench.toy.world import IMAGE_SIZE

CHUNK = 1000


def chunk(seed: int) -> tuple[np.ndarray, list[str]]:
    """[1000, 48, 48, 3] uint8 pictures of the training split, and their captions."""
    rng = np.random.default_rng([7, seed])
    examples = [sample(rng, "train") for _ in range(CHUNK)]
    return np.stack([render(example.scene).image for example in examples]), [example.caption for example in examples]


def write_chunk(folder: Path, seed: int) -> Path:
    path = folder / f"{seed:03d}.npz"
    if not path.exists():
        images, captions = chunk(seed)
        temporary = folder / f".{seed:03d}.npz"
        np.savez(temporary, images=images, captions=np.array(captions))
        os.replace(temporary, path)
    return path


def render_all(folder: Path, n_chunks: int, progress: Progress = SILENT) -> None:
    """Writes `n_chunks` chunks of 1,000 examples with one process a core; finished chunks are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(write_chunk, folder, seed) for seed in range(n_chunks)]
        for job in progress(jobs, "rendering", n_chunks):
            job.result()
    write_json(folder / "dataset.json", {"chunks": n_chunks, "size": IMAGE_SIZE})


def load(folder: Path) -> tuple[np.ndarray, list[str]]:
    """All pictures `[n, 48, 48, 3]` uint8 and their captions."""
    chunks = [np.load(path) for path in sorted(folder.glob("[0-9]*.npz"))]
    return np.concatenate([c["images"] for c in chunks]), [str(c) for part in chunks for c in part["captions"]]
