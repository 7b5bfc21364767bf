"""Training of a sparse autoencoder on a store, with sae-lens's trainer driven step by step.

We drive the trainer ourselves because sae-lens's own loop ties every metric to wandb, ends with StopIteration when
its data do, and checkpoints by pickle. What is trained, with which losses and optimiser, is sae-lens's alone.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from jaxtyping import Float32
from torch import Tensor

from saes.architectures import Trainer, make_trainer
from saes.calibration import moments, threshold_for_l0
from saes.checkpoints import load_checkpoint, remove_checkpoints, save_checkpoint
from saes.config import SAEConfig
from saes.disk import read_json, write_json, write_tensors
from saes.errors import WorkbenchError
from saes.files import CONFIG, SAE, load, save
from saes.manifest import SPLITS
from saes.metrics import SAEMetrics, evaluate_sae
from saes.progress import SILENT, Progress
from saes.pruning import fires, pruned
from saes.store import ActivationStore

RUN, METRICS = "training.json", "metrics.jsonl"
MOMENT_BATCHES = 64
LOGGED = {
    "loss": "losses/overall_loss",
    "mse": "losses/mse_loss",
    "explained_variance": "metrics/explained_variance",
    "l0": "metrics/l0",
    "dead": "sparsity/dead_features",
    "lr": "details/current_learning_rate",
}


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
    run = _Run(store, site, config, Path(out_dir), device)
    for split in SPLITS:
        store.check_split(site, split)
    run.claim(resume)
    if not (run.out_dir / CONFIG).exists():
        trainer = run.trainer()
        run.go_on(trainer, checkpoint_every, log_every, progress)
        run.finish(trainer)
    return load(run.out_dir, device)


@dataclass(frozen=True)
class _Run:
    store: ActivationStore
    site: str
    config: SAEConfig
    out_dir: Path
    device: str

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
        return self.store.batches(self.site, self.config.batch_size, seed=self.config.seed, **options)

    def trainer(self) -> Trainer:
        """At step 0, or where the newest checkpoint was."""
        mean, scale = moments(islice(self.batches(), MOMENT_BATCHES))
        trainer = make_trainer(self.config, mean, scale, self.device)
        if self.config.architecture == "jumprelu":
            # From sae-lens's constant, Adam moves a threshold by lr a step at most: too slow for a short run.
            scaled = (batch * scale for batch in self.batches())
            trainer.sae.threshold.data.fill_(threshold_for_l0(trainer.sae, scaled, float(self.config.k)))
        load_checkpoint(trainer, self.out_dir)
        return trainer

    def go_on(self, trainer: Trainer, checkpoint_every: int, log_every: int, progress: Progress) -> None:
        done, steps = trainer.n_training_steps, self.config.steps
        batches = self.batches(start=done, epochs=None)
        with _metrics_file(self.out_dir / METRICS, done) as metrics:
            for step in progress(range(done + 1, steps + 1), f"train {self.site}"):
                output = trainer.step(next(batches))
                trainer.n_training_steps = step  # sae-lens leaves this counter to whoever drives it
                if step % log_every == 0 or step == steps:
                    metrics.write(json.dumps(_line(trainer, output)) + "\n")
                    metrics.flush()
                if step % checkpoint_every == 0 and step < steps:
                    save_checkpoint(trainer, self.out_dir)

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
