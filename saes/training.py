"""Training of sparse autoencoders on a store, with sae-lens's trainer driven step by step.

We drive the trainer ourselves because sae-lens's own loop ties every metric to wandb, ends with StopIteration when
its data do, and checkpoints by pickle. What is trained, with which losses and optimiser, is sae-lens's alone.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path

from saes.calibration import moments
from saes.config import SAEConfig
from saes.files import SAE, load
from saes.jobs import Job, Pupil
from saes.progress import SILENT, Progress
from saes.store import ActivationStore

MOMENT_BATCHES = 64


def train(
    store: ActivationStore,
    site: str,
    config: SAEConfig,
    out_dir: Path | str,
    *,
    device: str = "cpu",
    checkpoint_every: int = 200,
    log_every: int = 10,
    resume: bool = True,
    progress: Progress = SILENT,
) -> SAE:
    """Trains on the train split of `site`, measures on the validation split, and returns the SAE for inference.

    `out_dir` becomes a sae-lens folder with `metrics.jsonl` (a line each `log_every` steps, written live),
    `sparsity.safetensors` (log10 density on validation rows) and the figures in the metadata of `cfg.json`.
    A run that was stopped goes on from its last checkpoint and ends with the same bits; a finished one is opened.
    Raises `WorkbenchError` if `out_dir` holds another run (any run if not `resume`), or if a split has no rows.
    """
    job = Job(store, site, config, Path(out_dir), device)
    train_jobs(
        [job], f"train {site}",
        checkpoint_every=checkpoint_every, log_every=log_every, resume=resume, progress=progress,
    )  # fmt: skip
    return load(job.out_dir, device)


def train_jobs(
    jobs: Sequence[Job],
    label: str,
    *,
    checkpoint_every: int = 200,
    log_every: int = 10,
    resume: bool = True,
    progress: Progress = SILENT,
) -> None:
    """Trains all jobs side by side; each ends with the same bits as if it were trained alone.

    Jobs of one `reading` (site, batch size, order) learn from the same batches, read once; readings take turns, so
    that a store of several sites is gone through once. All trainers are in memory together: four times the weights of
    each SAE. Raises `WorkbenchError` before any work as `train` does.
    """
    for job in jobs:
        job.check()
    for job in jobs:
        job.claim(resume)
    left = sorted((job for job in jobs if not job.finished), key=lambda job: job.reading)
    readings = [
        _Reading(list(members), checkpoint_every, log_every)
        for _, members in groupby(left, key=lambda job: job.reading)
    ]
    if readings:
        steps = range(min(each.done for each in readings) + 1, max(each.steps for each in readings) + 1)
        with ExitStack() as stack:
            for each in readings:
                stack.callback(each.close)
            for step in progress(steps, label):
                for each in readings:
                    each.learn(step)


class _Reading:
    """Pupils that learn from the same batches."""

    def __init__(self, jobs: Sequence[Job], checkpoint_every: int, log_every: int) -> None:
        normal = moments(islice(jobs[0].batches(), MOMENT_BATCHES))
        self.pupils = [Pupil(job, normal, checkpoint_every, log_every) for job in jobs]
        self.done = min(pupil.done for pupil in self.pupils)  # a kill may fall between two checkpoints of one step
        self.steps = max(job.config.steps for job in jobs)
        self.batches = jobs[0].batches(start=self.done, epochs=None)

    def learn(self, step: int) -> None:
        if self.done < step <= self.steps:
            batch = next(self.batches)
            for pupil in self.pupils:
                pupil.learn(step, batch)

    def close(self) -> None:
        for pupil in self.pupils:
            pupil.close()
