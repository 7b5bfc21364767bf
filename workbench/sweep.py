"""A sweep as data, and its run: one harvest of all sites, many SAEs from one pass over it, and what each recovers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from saes.calibration import moments
from saes.config import SAEConfig, Seed, StrictConfig
from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from saes.files import load
from saes.locks import working_in
from saes.metrics import SubstitutionLosses
from saes.progress import SILENT, Progress
from saes.settings import build
from saes.store import ActivationStore
from saes.strict_yaml import read_yaml
from saes.sweep import grid, log_density, train_all, write_table
from workbench.activations.fidelity import held_out, recovering
from workbench.activations.harvest import harvest
from workbench.figures import saes as figures
from workbench.models import Model
from workbench.reports import pages

Value = bool | int | float | str
STORE, SAES, RECOVERED, PAGE = "store", "saes", "recovered.json", "sweep.html"


class Sweep(StrictConfig):
    """What a file says: every combination of the values in `vary`, over the settings in `base`, at every site.

    `prompts` is a file of prompts (`workbench.lists`) or, for the toy, how many of its captions to draw. `recovered` is
    the number of held-out prompts (those of the store's validation split) on which the loss recovered is measured; 0
    leaves it out. `steps` and `pixel_rate` are those of a harvest.
    """

    question: str = ""
    model: str
    prompts: int | str
    sites: tuple[str, ...] = Field(min_length=1)
    base: dict[str, Any] = Field(default_factory=dict)
    vary: dict[str, tuple[Value, ...]] = Field(default_factory=dict)
    recovered: int = Field(default=32, ge=0)
    steps: int | None = Field(default=None, ge=1)
    pixel_rate: float = 0.1
    seed: Seed = 0

    def configs(self) -> dict[str, SAEConfig]:
        """The configurations by name. Raises `WorkbenchError` for a setting that is unknown, without values, or both in
        `base` and in `vary`."""
        for key, values in self.vary.items():
            if not values:
                raise WorkbenchError(f"vary: {key} has no values.", f"List some, or set {key} in base.")
            if key in self.base:
                raise WorkbenchError(f"{key!r} is given twice, in base and in vary.", "Give it once.")
        return grid({"seed": self.seed, **self.base}, self.vary)


def read_sweep(path: Path | str) -> Sweep:
    """Reads a YAML file with the keys of `Sweep`. Raises `WorkbenchError` for an unknown key or setting."""
    sweep = build(Sweep, read_yaml(path), str(path))
    sweep.configs()
    return sweep


def run_sweep(
    model: Model,
    sweep: Sweep,
    prompts: Sequence[str],
    out_dir: Path | str,
    *,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """Harvests all sites of the sweep in one pass, trains all SAEs, and measures what loss each recovers.

    Returns the table of `saes.sweep.train_all` with a column `loss_recovered` (NaN where it was not measured, or
    ablating the site changes nothing). `out_dir` holds the store, the SAEs in `saes/<site>/<name>`, and
    `saes/table.parquet`. Stopped at any moment, it goes on where it was; while it runs, no other works in `out_dir`.
    """
    out_dir, configs = Path(out_dir), sweep.configs()
    sites = list(dict.fromkeys(sweep.sites))
    with working_in(out_dir):
        store = harvest(
            model, prompts, sites, out_dir / STORE,
            seed=sweep.seed, steps=sweep.steps, pixel_rate=sweep.pixel_rate, progress=progress,
        )  # fmt: skip
        table = train_all(store, sites, configs, out_dir / SAES, device=device, progress=progress)
        shares = loss_recovered(model, store, table, out_dir / SAES, n_prompts=sweep.recovered, progress=progress)
        table["loss_recovered"] = table["sae"].map(shares).astype(float)
        write_table(table, out_dir / SAES)
    return table


def loss_recovered(
    model: Model,
    store: ActivationStore,
    table: pd.DataFrame,
    saes_dir: Path,
    *,
    n_prompts: int = 32,
    progress: Progress = SILENT,
) -> dict[str, float]:
    """The share of the model's loss that each SAE recovers against the mean of its site, on held-out prompts.

    The loss is that of denoising; of a Janus, the cross-entropy of its pictures' tokens.

    What was measured on as many prompts before is read from the SAE's folder.
    """
    prompts = held_out(store, n_prompts)
    left = {sae: site for sae, site in zip(table["sae"], table["site"], strict=True) if prompts}
    known = {sae: value for sae in left if (value := _known(saes_dir / sae, len(prompts))) is not None}
    left = {sae: site for sae, site in left.items() if sae not in known}
    if left:
        losses_of = recovering(model, prompts)
    for site in progress(list(dict.fromkeys(left.values())), "loss recovered"):
        mean, _ = moments(store.batches(site, 1024))
        saes = {sae: load(saes_dir / sae, str(model.device)) for sae in left if left[sae] == site}
        for sae, losses in losses_of(saes, site, mean).items():
            known[sae] = _share(losses)
            write_json(saes_dir / sae / RECOVERED, {"prompts": len(prompts), **_numbers(losses)})
    return known


def _known(sae_dir: Path, n_prompts: int) -> float | None:
    path = sae_dir / RECOVERED
    if not path.exists():
        return None
    found: Mapping[str, float] = read_json(path, ("prompts", "clean", "substituted", "ablated"))
    if found["prompts"] != n_prompts:
        return None
    return _share(SubstitutionLosses(found["clean"], found["substituted"], found["ablated"]))


def _numbers(losses: SubstitutionLosses) -> dict[str, float]:
    return {"clean": losses.clean, "substituted": losses.substituted, "ablated": losses.ablated}


def _share(losses: SubstitutionLosses) -> float:
    """NaN where the loss does not depend on the site."""
    return float("nan") if losses.ablated == losses.clean else losses.recovered


def write_page(table: pd.DataFrame, out_dir: Path | str, title: str) -> Path:
    """Writes the figures of a sweep as one HTML file that opens offline, and returns its path."""
    out_dir = Path(out_dir)
    plots = {"Fidelity and sparsity": figures.frontier(table)}
    if table["loss_recovered"].notna().any():
        plots["Loss recovered"] = figures.frontier(table, "loss_recovered", "share of the model's loss recovered")
    plots["Dead and dense latents"] = figures.dead_and_dense(table)
    plots["Density"] = figures.densities({sae: log_density(out_dir / SAES / sae).numpy() for sae in table["sae"]})
    return pages.write_page(out_dir / PAGE, title, {**plots, "Table": table})
