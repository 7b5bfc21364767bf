"""One SAE to be trained on a store: its folder, its trainer, its place in the run, and what is written at the end."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from jaxtyping import Float32
from torch import Tensor

from saes.architectures import Trainer, make_trainer
from saes.calibration import Moments, threshold_for_l0
from saes.checkpoints import load_checkpoint, remove_checkpoints, save_checkpoint
from saes.config import SAEConfig
from saes.disk import read_json, write_json, write_tensors
from saes.errors import WorkbenchError
from saes.files import CONFIG, load, save
from saes.manifest import SPLITS
from saes.metrics import SAEMetrics, evaluate_sae
from saes.pruning import fires, pruned
from saes.store import ActivationStore

RUN, METRICS = "training.json", "metrics.jsonl"
LOGGED = {
    "loss": "losses/overall_loss",
    "mse": "losses/mse_loss",
    "explained_variance": "metrics/explained_variance",
    "l0": "metrics/l0",
    "dead": "sparsity/dead_features",
    "lr": "details/current_learning_rate",
}


@dataclass(frozen=True)
class Job:
    """An SAE of `config` on the rows of `site`, to lie in `out_dir`."""

    store: ActivationStore
    site: str
    config: SAEConfig
    out_dir: Path
    device: str = "cpu"

    @property
    def finished(self) -> bool:
        return (self.out_dir / CONFIG).exists()

    @property
    def reading(self) -> tuple[str, int, int]:
        """What must be equal for two jobs to learn from the same batches."""
        return self.site, self.config.batch_size, self.config.order_seed

    def check(self) -> None:
        """Raises `WorkbenchError` for an unknown site, or one without rows to learn from or to measure on."""
        for split in SPLITS:
            self.store.check_split(self.site, split)

    def claim(self, resume: bool) -> None:
        """Makes the folder this run's own, or finds that it is."""
        identity = {"site": self.site, "store": self.store.fingerprint, "config": self.config.model_dump(mode="json")}
        if self.out_dir.exists() and any(self.out_dir.iterdir()):
            if not resume:
                raise WorkbenchError(f"{self.out_dir} exists already.", "Choose another folder, or resume that run.")
            if not (self.out_dir / RUN).exists() or read_json(self.out_dir / RUN) != identity:
                raise WorkbenchError(
                    f"{self.out_dir} holds something else than this run (other data, site or configuration).",
                    "Choose another folder.",
                )
        write_json(self.out_dir / RUN, identity)

    def batches(self, **options: Any) -> Iterator[Float32[Tensor, "n d"]]:
        return self.store.batches(self.site, self.config.batch_size, seed=self.config.order_seed, **options)

    def trainer(self, normal: Moments) -> Trainer:
        """At step 0, or where the newest checkpoint was."""
        trainer = make_trainer(self.config, normal.mean, normal.scale, self.device)
        if self.config.architecture == "jumprelu":
            # From sae-lens's constant, Adam moves a threshold by lr a step at most: too slow for a short run.
            scaled = (batch * normal.scale for batch in self.batches())
            trainer.sae.threshold.data.fill_(threshold_for_l0(trainer.sae, scaled, float(self.config.k)))
        load_checkpoint(trainer, self.out_dir)
        return trainer

    def finish(self, trainer: Trainer) -> None:
        """Folds the input scale, sets a learnt threshold right, measures, and writes the folder for inference."""
        trainer.sae.fold_activation_norm_scaling_factor(trainer.activation_scaler.scaling_factor)
        with tempfile.TemporaryDirectory() as inference_dir:
            trainer.sae.save_inference_model(inference_dir)
            sae = load(inference_dir, self.device)
        if self.config.architecture in ("batchtopk", "matryoshka_batchtopk"):
            sae.threshold.data.fill_(threshold_for_l0(sae, self.batches(split="validation"), float(self.config.k)))
        if self.config.prune:
            sae = pruned(sae, fires(sae, self.batches()))
        metrics = evaluate_sae(sae, self.batches(split="validation"))
        log_density = metrics.density.clamp_min(1e-10).log10()
        write_tensors(self.out_dir / "sparsity.safetensors", {"sparsity": log_density})
        save(sae, self.out_dir, self.metadata(metrics))
        remove_checkpoints(self.out_dir)

    def metadata(self, metrics: SAEMetrics) -> dict[str, Any]:
        """What a reader of the folder needs to use the SAE at the right place, and to know how good it is."""
        manifest = self.store.manifest
        site = manifest.sites[self.site]
        return {
            "hook_name": self.site,
            "hf_hook_name": site.get("path", self.site),
            "model_name": manifest.model,
            "site": site,
            "harvest": manifest.recipe,
            "training": self.config.model_dump(mode="json"),
            "store": self.store.fingerprint,
            "metrics": metrics.numbers(),
            "l0": metrics.l0,
        }


class Pupil:
    """A job under way: takes batch after batch, logs, saves checkpoints, and finishes after the last one."""

    def __init__(self, job: Job, normal: Moments, checkpoint_every: int, log_every: int) -> None:
        self.job = job
        self.checkpoint_every = checkpoint_every
        self.log_every = log_every
        self.trainer: Trainer = job.trainer(normal)
        self.done: int = self.trainer.n_training_steps
        self.metrics = _metrics_file(job.out_dir / METRICS, self.done)

    def learn(self, step: int, batch: Float32[Tensor, "n d"]) -> None:
        """Makes step number `step` (from 1), unless this job made it before it was stopped, or is through."""
        if not self.done < step <= self.job.config.steps:
            return
        output = self.trainer.step(batch)
        self.trainer.n_training_steps = self.done = step  # sae-lens leaves this counter to whoever drives it
        last = step == self.job.config.steps
        if step % self.log_every == 0 or last:
            self.metrics.write(json.dumps(_line(self.trainer, output)) + "\n")
            self.metrics.flush()
        if step % self.checkpoint_every == 0 and not last:
            save_checkpoint(self.trainer, self.job.out_dir)
        if last:
            self.job.finish(self.trainer)
            self.close()

    def close(self) -> None:
        """Lets go of the log and of the trainer with its optimiser's state."""
        self.metrics.close()
        self.trainer = None


def _line(trainer: Trainer, output: Any) -> dict[str, float | int]:
    values = trainer.build_train_step_log_dict(output, trainer.n_training_samples)
    figures = {name: values[key] for name, key in LOGGED.items()}
    return {"step": trainer.n_training_steps, "samples": trainer.n_training_samples, **figures}


def _metrics_file(path: Path, done: int) -> TextIO:
    """The file, opened to append after the last line that the checkpoint covers."""
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= done]
    path.write_text("".join(line + "\n" for line in kept))
    return path.open("a")
