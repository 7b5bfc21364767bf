"""From our configuration to sae-lens's own training classes."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saes.config import SAEConfig

Trainer = Any  # sae_lens.SAETrainer; the import of sae-lens takes seconds and waits until a run begins


def training_sae(config: SAEConfig, d_in: int, device: str, *, dense: bool = False) -> Any:
    """A freshly initialised sae-lens training SAE.

    It asks for `expected_average_only_in`, so that sae-lens folds the input scale into the weights at the end. On a
    CPU, topk trains through `FastTopKTrainingSAE`, which gives the same numbers in less time.

    Args:
        config: architecture, number of latents and penalties; the weights depend on `config.seed` alone.
        d_in: number of columns of the rows.
        device: where to train, such as "cpu" or "cuda:1".
        dense: use sae-lens' own topk on a CPU too.

    Returns:
        A `sae_lens.TrainingSAE`.
    """
    from sae_lens.registry import get_sae_training_class

    sae_class, config_class = get_sae_training_class(config.architecture)
    if config.architecture == "topk" and device == "cpu" and not dense:
        from saes.fast_topk import FastTopKTrainingSAE as sae_class
    common = {
        "d_in": d_in,
        "d_sae": config.d_sae,
        "device": device,
        "normalize_activations": "expected_average_only_in",
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return sae_class(config_class(**common, **_own_settings(config)))


def _own_settings(config: SAEConfig) -> dict[str, Any]:
    warm_up_steps = round(config.warm_up * config.steps)
    match config.architecture:
        case "topk" | "batchtopk":
            return {"k": config.k}
        case "matryoshka_batchtopk":
            return {"k": config.k, "matryoshka_widths": list(config.widths)}
        case "jumprelu":
            # The quadratic penalty aims at a number of active latents, as k does elsewhere. It must reach the encoder,
            # through a band as wide as inputs of unit variance need: the thresholds alone move lr a step at most, and
            # with sae-lens's defaults L0 stayed at 7 times k after 400 steps (synthetic rows, k = 32).
            target = {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": float(config.k)}
            reach = {"jumprelu_ste_to_input": True, "jumprelu_bandwidth": 0.5}
            return {**target, **reach, "l0_coefficient": config.sparsity, "l0_warm_up_steps": warm_up_steps}
        case "standard" | "gated":
            return {"l1_coefficient": config.sparsity, "l1_warm_up_steps": warm_up_steps}


def make_trainer(
    config: SAEConfig, mean: Float[Tensor, " d_in"], scale: float, device: str, *, dense: bool = False
) -> Trainer:
    """A sae-lens trainer at step 0, to be driven with `trainer.step(batch)`.

    It multiplies each batch by `scale`. `b_dec` begins at the scaled mean of the data: from zero, the optimiser would
    need many steps to cross a mean that is larger than one, and latents die meanwhile.

    Args:
        config: what to train.
        mean: mean of the rows, `[d_in]`.
        scale: factor that gives the centred rows unit variance.
        device: where to train.
        dense: use sae-lens' own topk on a CPU too.

    Returns:
        A `sae_lens.SAETrainer`.
    """
    from sae_lens import SAETrainer
    from sae_lens.config import SAETrainerConfig

    sae = training_sae(config, len(mean), device, dense=dense)
    sae.b_dec.data = (mean * scale).to(sae.b_dec)
    trainer_config = SAETrainerConfig(
        total_training_samples=config.steps * config.batch_size,
        train_batch_size_samples=config.batch_size,
        lr=config.lr,
        lr_end=config.lr,  # None, sae-lens's own default, fails an assertion in its trainer
        lr_warm_up_steps=round(config.warm_up * config.steps),
        lr_decay_steps=round(config.decay * config.steps),
        dead_feature_window=config.window,
        device=device,
    )
    trainer = SAETrainer(trainer_config, sae, iter(()))  # batches are handed to `step`, never pulled
    trainer.activation_scaler.scaling_factor = scale
    return trainer
