"""The whole state of a sae-lens trainer without pickle: tensors as safetensors, the rest as JSON.

sae-lens's own checkpoints hold a `trainer_state.pt`, which only `torch.load` opens. With this state and the
store's cursor (the number of steps), a resumed run equals an uninterrupted one bit for bit on the CPU.
"""

import re
import shutil
from pathlib import Path

import torch
from torch import Tensor

from saes.architectures import Trainer
from saes.disk import new_folder, read_json, read_tensors, write_json, write_tensors
from saes.hashes import check_hash, write_hashes

COUNTERS = ("n_training_steps", "n_training_samples", "n_frac_active_samples")
STATISTICS = ("act_freq_scores", "n_forward_passes_since_fired")


def save_checkpoint(trainer: Trainer, run_dir: Path) -> None:
    """Writes `run_dir/checkpoint-<steps>` and then removes the older ones: at every moment one whole one is there.

    Args:
        trainer: the sae-lens trainer.
        run_dir: the folder of the run.

    Raises:
        WorkbenchError: the checkpoint cannot be written.
    """
    folder = run_dir / f"checkpoint-{trainer.n_training_steps:08d}"
    with new_folder(folder) as temporary:
        write_tensors(temporary / "state.safetensors", _tensors(trainer))
        write_hashes(temporary)
        write_json(temporary / "state.json", _numbers(trainer))
    remove_checkpoints(run_dir, keep=folder)


def remove_checkpoints(run_dir: Path, keep: Path | None = None) -> None:
    """Removes all checkpoints of a run.

    Args:
        run_dir: the folder of the run.
        keep: the one that stays, if any.
    """
    for other in checkpoints(run_dir):
        if other != keep:
            shutil.rmtree(other)


def checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoints of a run, the newest last.

    Args:
        run_dir: the folder of the run; it may be absent.

    Returns:
        Their folders.
    """
    return sorted(path for path in run_dir.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d{8,}", path.name))


def load_checkpoint(trainer: Trainer, run_dir: Path) -> bool:
    """Puts a trainer that is at step 0 where the newest checkpoint was.

    Args:
        trainer: a trainer of the same configuration.
        run_dir: the folder of the run.

    Returns:
        False if there is no checkpoint.

    Raises:
        WorkbenchError: the checkpoint is damaged.
    """
    folders = checkpoints(run_dir)
    if not folders:
        return False
    check_hash(folders[-1] / "state.safetensors")
    tensors = read_tensors(folders[-1] / "state.safetensors")
    numbers = read_json(folders[-1] / "state.json", _numbers(trainer))
    trainer.sae.load_state_dict(_under("sae", tensors))
    trainer.optimizer.load_state_dict(
        {"state": _adam_state(_under("adam", tensors)), "param_groups": numbers["param_groups"]}
    )
    trainer.lr_scheduler.load_state_dict(numbers["lr_scheduler"])
    for name, scheduler in trainer.coefficient_schedulers.items():
        scheduler.load_state_dict(numbers["coefficients"][name])
    for name in COUNTERS:
        setattr(trainer, name, numbers[name])
    for name in STATISTICS:
        setattr(trainer, name, tensors[name].to(trainer.cfg.device))
    return True


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    adam = trainer.optimizer.state_dict()["state"]
    return {
        **{f"sae/{name}": value for name, value in trainer.sae.state_dict().items()},
        **{f"adam/{index}/{name}": value for index, state in adam.items() for name, value in state.items()},
        **{name: getattr(trainer, name) for name in STATISTICS},
    }


def _numbers(trainer: Trainer) -> dict:
    return {
        **{name: getattr(trainer, name) for name in COUNTERS},
        "param_groups": trainer.optimizer.state_dict()["param_groups"],
        "lr_scheduler": trainer.lr_scheduler.state_dict(),
        "coefficients": {name: each.state_dict() for name, each in trainer.coefficient_schedulers.items()},
    }


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in tensors.items() if name.startswith(f"{prefix}/")}


def _adam_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, torch.Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    return state
