"""One SAE to be trained on a store: its folder, its trainer, and what is written at the end."""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float32
from torch import Tensor

from saes.architectures import Trainer, make_trainer
from saes.calibration import Moments, threshold_for_l0
from saes.checkpoints import checkpoints, load_checkpoint, remove_checkpoints
from saes.config import SAEConfig
from saes.disk import read_json, write_json, write_tensors
from saes.errors import WorkbenchError
from saes.files import CONFIG, load, save
from saes.leftovers import contents, sweep
from saes.manifest import SPLITS
from saes.metrics import SAEMetrics, evaluate_sae
from saes.pruning import fires, pruned
from saes.store import ActivationStore

IDENTITY = "training.json"


@dataclass(frozen=True)
class TrainingRun:
    """An SAE of `config` on the rows of `site`, to lie in `out_dir`."""

    store: ActivationStore
    site: str
    config: SAEConfig
    out_dir: Path
    device: str = "cpu"

    @property
    def finished(self) -> bool:
        """Whether the SAE is there and nothing is left to be tidied up."""
        return self.trained and not checkpoints(self.out_dir)

    @property
    def trained(self) -> bool:
        """Whether the SAE is there."""
        return (self.out_dir / CONFIG).exists()

    @property
    def batch_key(self) -> tuple[str, int, int]:
        """What must be equal for two runs to learn from the same batches."""
        return self.site, self.config.batch_size, self.config.order_seed

    def check(self) -> None:
        """Looks at what needs no folder.

        Raises:
            WorkbenchError: the site is unknown, or has no rows to learn from or to measure on.
        """
        for split in SPLITS:
            self.store.check_split(self.site, split)

    def claim(self, resume: bool) -> None:
        """Makes the folder this run's own, or finds that it is. Leftovers of kills are no content.

        Args:
            resume: whether the folder may hold an earlier part of this run.

        Raises:
            WorkbenchError: the folder holds something else, or anything at all if not `resume`.
        """
        identity = {"site": self.site, "store": self.store.fingerprint, "config": self.config.model_dump(mode="json")}
        found = contents(self.out_dir)
        if not found:
            write_json(self.out_dir / IDENTITY, identity)
        elif not resume:
            raise WorkbenchError(f"{self.out_dir} exists already.", "Choose another folder, or resume that run.")
        elif IDENTITY not in found or read_json(self.out_dir / IDENTITY) != identity:
            raise WorkbenchError(
                f"{self.out_dir} holds something else than this run (other data, site or configuration).",
                "Choose another folder.",
            )

    def tidy(self) -> None:
        """Removes what a kill left of a run that is finished otherwise. Only for whoever holds the folder."""
        sweep(self.out_dir)
        if self.trained:
            remove_checkpoints(self.out_dir)

    def batches(self, **options: Any) -> Iterator[Float32[Tensor, "n d"]]:
        """The rows to learn from, in this run's order.

        Args:
            options: those of `ActivationStore.batches`.

        Returns:
            Batches `[batch_size, d]`.
        """
        return self.store.batches(self.site, self.config.batch_size, seed=self.config.order_seed, **options)

    def trainer(self, normal: Moments) -> Trainer:
        """A trainer at step 0, or where the newest checkpoint was.

        Args:
            normal: mean and scale of the rows.

        Returns:
            A `sae_lens.SAETrainer`.

        Raises:
            WorkbenchError: the checkpoint is damaged.
        """
        trainer = make_trainer(self.config, normal.mean, normal.scale, self.device)
        if self.config.architecture == "jumprelu":
            # From sae-lens's constant, Adam moves a threshold by lr a step at most: too slow for a short run.
            scaled = (batch * normal.scale for batch in self.batches())
            trainer.sae.threshold.data.fill_(threshold_for_l0(trainer.sae, scaled, float(self.config.k)))
        load_checkpoint(trainer, self.out_dir)
        return trainer

    def finish(self, trainer: Trainer) -> None:
        """Folds the input scale, sets a learnt threshold right, measures, and writes the folder for inference.

        Args:
            trainer: the trainer after its last step.

        Raises:
            WorkbenchError: what was learnt gives numbers that are not finite, or a file cannot be written.
        """
        trainer.sae.fold_activation_norm_scaling_factor(trainer.activation_scaler.scaling_factor)
        with tempfile.TemporaryDirectory() as inference_dir:
            trainer.sae.save_inference_model(inference_dir)
            sae = load(inference_dir, self.device)
        if self.config.architecture in ("batchtopk", "matryoshka_batchtopk"):
            sae.threshold.data.fill_(threshold_for_l0(sae, self.batches(split="validation"), float(self.config.k)))
        if self.config.prune:
            sae = pruned(sae, fires(sae, self.batches()))
        metrics = evaluate_sae(sae, self.batches(split="validation"))
        if not all(math.isfinite(number) for number in metrics.numbers().values()):
            raise self.diverged("what it learnt gives no finite numbers on held-out rows")
        log_density = metrics.density.clamp_min(1e-10).log10()
        write_tensors(self.out_dir / "sparsity.safetensors", {"sparsity": log_density})
        save(sae, self.out_dir, self.metadata(metrics))
        remove_checkpoints(self.out_dir)

    def diverged(self, what: str) -> WorkbenchError:
        """The error for a run that went to infinity.

        Args:
            what: where it shows.

        Returns:
            The error, for the caller to raise.
        """
        return WorkbenchError(f"The training in {self.out_dir} diverged: {what}.", "Choose a smaller lr or sparsity.")

    def metadata(self, metrics: SAEMetrics) -> dict[str, Any]:
        """What a reader of the folder needs to use the SAE at the right place, and to know how good it is.

        Args:
            metrics: what was measured on validation rows.

        Returns:
            JSON values by name.
        """
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
