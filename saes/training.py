"""Training of sparse autoencoders on a store, with sae-lens's trainer driven step by step.

We drive the trainer ourselves because sae-lens's own loop ties every metric to wandb, ends with StopIteration when
its data do, and checkpoints by pickle. What is trained, with which losses and optimiser, is sae-lens's alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path

from saes.config import SAEConfig
from saes.errors import WorkbenchError
from saes.files import SAE, load
from saes.learners import BatchGroup
from saes.locks import working_in
from saes.progress import SILENT, Progress
from saes.store import ActivationStore
from saes.training_runs import TrainingRun


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
    """Trains an SAE on the train split of a site and measures it on the validation split.

    `out_dir` becomes a sae-lens folder with `metrics.jsonl` (written live), `sparsity.safetensors` (log₁₀ density on
    validation rows) and the figures in the metadata of `cfg.json`. A run that was stopped goes on from its last
    checkpoint and ends with the same bits; a finished one is opened.

    Args:
        store: the rows.
        site: alias of a site of the store.
        config: what to train.
        out_dir: the folder of the SAE.
        device: where to train.
        checkpoint_every: steps between two checkpoints, ≥ 1.
        log_every: steps between two lines of `metrics.jsonl`, ≥ 1.
        resume: whether `out_dir` may hold an earlier part of this run.
        progress: told of each step.

    Returns:
        The SAE for inference, on `device`.

    Raises:
        WorkbenchError: `out_dir` holds another run or another process works there, a split has no rows, the training
            diverges, memory is too small, or a file cannot be written.
    """
    run = TrainingRun(store, site, config, Path(out_dir), device)
    train_runs(
        [run], f"train {site}",
        checkpoint_every=checkpoint_every, log_every=log_every, resume=resume, progress=progress,
    )  # fmt: skip
    return load(run.out_dir, device)


def train_runs(
    runs: Sequence[TrainingRun],
    label: str,
    *,
    checkpoint_every: int = 200,
    log_every: int = 10,
    resume: bool = True,
    progress: Progress = SILENT,
) -> None:
    """Trains several SAEs side by side; each ends with the same bits as if it were trained alone.

    Runs of one `batch_key` learn from the same batches, read once; the groups take turns, so that a store of several
    sites is gone through once. All trainers are in memory together: four times the weights of each SAE.

    Args:
        runs: what is to be trained, each in a folder of its own.
        label: what the progress shows.
        checkpoint_every: steps between two checkpoints.
        log_every: steps between two lines of a log.
        resume: whether folders may hold earlier parts of the runs.
        progress: told of each step.

    Raises:
        WorkbenchError: as `train` does, before any work.
    """
    for run in runs:
        run.check()
    with ExitStack() as stack, _enough_memory():
        for run in runs:
            if not run.finished:  # what is finished may lie where nobody can write
                stack.enter_context(working_in(run.out_dir))
            run.claim(resume)
        for run in runs:
            if not run.finished:
                run.tidy()
        groups = _groups([run for run in runs if not run.trained], checkpoint_every, log_every)
        for group in groups:
            stack.callback(group.close)
        first = min((group.done for group in groups), default=0)
        last = max((group.steps for group in groups), default=0)
        for step in progress(range(first + 1, last + 1), label) if groups else ():
            for group in groups:
                group.learn(step)


def _groups(runs: Sequence[TrainingRun], checkpoint_every: int, log_every: int) -> list[BatchGroup]:
    in_order = sorted(runs, key=lambda run: run.batch_key)
    return [
        BatchGroup(list(members), checkpoint_every, log_every)
        for _, members in groupby(in_order, key=lambda run: run.batch_key)
    ]


@contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch: "can't allocate memory", "CUDA out of memory"
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        raise WorkbenchError(
            "There is not enough memory to train this.", "Choose a smaller d_sae or batch_size, or fewer SAEs at once."
        ) from error
