"""Training runs under way: each takes batch after batch; those that learn from the same batches take them together."""

import json
import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from jaxtyping import Float32
from torch import Tensor

from saes.architectures import Trainer
from saes.calibration import Moments, moments
from saes.checkpoints import save_checkpoint
from saes.disk import read_text, replacing
from saes.file_errors import writable
from saes.training_runs import TrainingRun

MOMENT_BATCHES = 64
LOG = "metrics.jsonl"
LOGGED = {
    "loss": "losses/overall_loss",
    "mse": "losses/mse_loss",
    "explained_variance": "metrics/explained_variance",
    "l0": "metrics/l0",
    "dead": "sparsity/dead_features",
    "lr": "details/current_learning_rate",
}


class BatchGroup:
    """Runs that learn from the same batches, read once."""

    def __init__(self, runs: Sequence[TrainingRun], checkpoint_every: int, log_every: int) -> None:
        normal = moments(islice(runs[0].batches(), MOMENT_BATCHES))
        self.learners = [Learner(run, normal, checkpoint_every, log_every) for run in runs]
        self.done = min(learner.done for learner in self.learners)  # a kill may fall between two of their checkpoints
        self.steps = max(run.config.steps for run in runs)
        self.batches = runs[0].batches(start=self.done, epochs=None)

    def learn(self, step: int) -> None:
        """Makes one step of each run that is not past it.

        Args:
            step: number of the step, from 1.

        Raises:
            WorkbenchError: a run diverged, or a file cannot be written.
        """
        if self.done < step <= self.steps:
            batch = next(self.batches)
            for learner in self.learners:
                learner.learn(step, batch)

    def close(self) -> None:
        """Lets go of logs and trainers."""
        for learner in self.learners:
            learner.close()


class Learner:
    """A run under way: takes batch after batch, logs, saves checkpoints, and finishes after the last one."""

    def __init__(self, run: TrainingRun, normal: Moments, checkpoint_every: int, log_every: int) -> None:
        self.run = run
        self.checkpoint_every = checkpoint_every
        self.log_every = log_every
        self.trainer: Trainer = run.trainer(normal)
        self.done: int = self.trainer.n_training_steps
        self.log = _log_file(run.out_dir / LOG, self.done)

    def learn(self, step: int, batch: Float32[Tensor, "n d"]) -> None:
        """Makes one step, unless this run made it before it was stopped, or is through.

        Args:
            step: number of the step, from 1.
            batch: rows, `[n, d]`.

        Raises:
            WorkbenchError: the run diverged, or a file cannot be written.
        """
        if not self.done < step <= self.run.config.steps:
            return
        output = self.trainer.step(batch)
        self.trainer.n_training_steps = self.done = step  # sae-lens leaves this counter to whoever drives it
        last = step == self.run.config.steps
        saved = step % self.checkpoint_every == 0 and not last
        logged = step % self.log_every == 0 or last
        if saved or logged:
            self._check(output)
        if logged:
            self._write(output)
        if saved:
            save_checkpoint(self.trainer, self.run.out_dir)
        if last:
            self.run.finish(self.trainer)
            self.close()

    def _check(self, output: Any) -> None:
        """No checkpoint may hold what cannot be trained on. The loss tells of the step before, the weights of this."""
        loss = float(output.loss.detach())
        if not math.isfinite(loss):
            raise self.run.diverged(f"at step {self.done} the loss is {loss}")
        if not all(tensor.isfinite().all() for tensor in self.trainer.sae.state_dict().values()):
            raise self.run.diverged(f"at step {self.done} weights are no longer finite")

    def _write(self, output: Any) -> None:
        values = self.trainer.build_train_step_log_dict(output, self.trainer.n_training_samples)
        figures = {name: values[key] for name, key in LOGGED.items()}
        known = {name: figure if math.isfinite(figure) else None for name, figure in figures.items()}
        line = {"step": self.done, "samples": self.trainer.n_training_samples, **known}
        with writable(self.log.name):
            self.log.write(json.dumps(line, allow_nan=False) + "\n")
            self.log.flush()

    def close(self) -> None:
        """Lets go of the log and of the trainer with its optimiser's state."""
        self.log.close()
        self.trainer = None


def _log_file(path: Path, done: int) -> TextIO:
    """The file, opened to append after the last line that the checkpoint covers."""
    lines = read_text(path).splitlines() if path.exists() else []
    kept = [line for line in lines if 0 < _step_of(line) <= done]
    with replacing(path) as temporary:
        temporary.write_text("".join(line + "\n" for line in kept))
    with writable(path):
        return path.open("a")


def _step_of(line: str) -> int:
    """The step that a line of the log is about; 0 for half a line, which a kill may leave."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 0
