"""Many SAEs of several sites from one pass over a store, and the table that compares them."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from saes.config import SAEConfig
from saes.disk import read_json, read_tensors, replacing
from saes.files import CONFIG
from saes.hashes import check_hash
from saes.locks import working_in
from saes.progress import SILENT, Progress
from saes.store import ActivationStore
from saes.training import train_runs
from saes.training_runs import TrainingRun

TABLE = "table.parquet"
MEASURED = ("rows", "l0", "explained_variance", "cosine", "dead_share", "dense_share")


def grid(base: Mapping[str, Any], vary: Mapping[str, Sequence[Any]]) -> dict[str, SAEConfig]:
    """A configuration for each combination of values. All read the rows in one order, whatever their own seeds, so that
    one reading can serve them all.

    Args:
        base: settings of `SAEConfig` that all share.
        vary: values to combine by setting; they win over `base`.

    Returns:
        Configuration by name, such as "topk-k8".

    Raises:
        WorkbenchError: a setting is unknown, or a value does not fit.
    """
    shared = {"order": base.get("seed", 0), **base}
    combinations = [dict(zip(vary, values, strict=True)) for values in product(*vary.values())]
    return {_name(each) or "sae": SAEConfig(**{**shared, **each}) for each in combinations}


def _name(combination: Mapping[str, Any]) -> str:
    """{"architecture": "topk", "k": 8} → "topk-k8": also the name of a folder."""
    return "-".join(f"{value}" if key == "architecture" else f"{key}{value}" for key, value in combination.items())


def train_all(
    store: ActivationStore,
    sites: Sequence[str],
    configs: Mapping[str, SAEConfig],
    out_dir: Path | str,
    *,
    device: str = "cpu",
    checkpoint_every: int = 200,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """Trains an SAE of each configuration at each site, into the folders `out_dir/<site>/<name>`.

    Of one site, all configurations that share batch size and order learn from one reading of the rows. Each SAE has
    the same bits as if `saes.train` made it alone. What was stopped goes on, what is finished is left as it is.

    Args:
        store: the rows.
        sites: aliases; repeated ones count once.
        configs: configuration by name.
        out_dir: the folder of all of them; the table is written there too, as `table.parquet`.
        device: where to train.
        checkpoint_every: steps between two checkpoints.
        progress: told of each step.

    Returns:
        A line for each SAE. Columns: sae (`<site>/<name>`), site, the settings of the training, and what was measured
        on held-out rows: rows, l0, explained_variance, cosine, dead_share, dense_share.

    Raises:
        WorkbenchError: as `saes.train` does.
    """
    out_dir = Path(out_dir)
    runs = [
        TrainingRun(store, site, config, out_dir / site / name, device)
        for site in dict.fromkeys(sites)
        for name, config in configs.items()
    ]
    with working_in(out_dir):
        train_runs(runs, f"train {len(runs)} SAEs", checkpoint_every=checkpoint_every, progress=progress)
        table = pd.DataFrame([_record(f"{run.site}/{run.out_dir.name}", run) for run in runs])
        write_table(table, out_dir)
    return table


def write_table(table: pd.DataFrame, out_dir: Path) -> None:
    """Writes `out_dir/table.parquet`.

    Args:
        table: a line for each SAE.
        out_dir: the folder of the sweep.

    Raises:
        WorkbenchError: it cannot be written.
    """
    with replacing(out_dir / TABLE) as temporary:
        table.to_parquet(temporary, index=False)


def log_density(sae_dir: Path | str) -> torch.Tensor:
    """How often each latent of a trained SAE fires on validation rows.

    Args:
        sae_dir: the folder of the SAE.

    Returns:
        log₁₀ of the share of rows, `[d_sae]`; −10 where it never fires.

    Raises:
        WorkbenchError: the file is absent, damaged or altered.
    """
    path = Path(sae_dir) / "sparsity.safetensors"
    check_hash(path)
    return read_tensors(path)["sparsity"]


def _record(sae: str, run: TrainingRun) -> dict[str, Any]:
    """Columns: sae (its folder), site, the settings of the training, and what was measured on `rows` held-out rows."""
    settings = {name: value for name, value in run.config.model_dump().items() if name != "matryoshka_widths"}
    measured = read_json(run.out_dir / CONFIG)["metadata"]["metrics"]
    return {"sae": sae, "site": run.site, **settings, **{name: measured[name] for name in MEASURED}}
