"""SAEs of the toy Janus: at a site that its pictures need, on text and picture cells together, with what they rebuild.

They ship beside those of the diffusion toy, under the name of their site: "toy/lm.1".
"""

from pathlib import Path

import numpy as np

import saes
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.fidelity import fidelity
from workbench.activations.harvest import harvest
from workbench.interpret.necessity import LITTLE, site_necessity
from workbench.models import Model
from workbench.toy.captions import examples, sample

ASKED = 24  # prompts of the necessity check
CELLS = 0.25  # share of a picture's cells that is kept: neighbours are much alike
SAES = {  # site → prompts to harvest, and the training
    "lm.1": (1600, saes.SAEConfig(d_sae=1024, k=32, samples=600_000, prune=True)),
}


def train(model: Model, stores: Path, out: Path, progress: Progress = SILENT) -> list[dict]:
    """Trains the SAEs of `SAES`, one after another. What is finished is opened again.

    Args:
        model: The toy Janus as it ships.
        stores: Where activations go.
        out: The folder of the SAEs; each gets one of its site's name.
        progress: Shows the work.

    Returns:
        A row for each SAE and sort of position: site, moved (of the necessity check), and the columns of `fidelity`.

    Raises:
        WorkbenchError: The pictures do not need a site, which is known before anything is harvested there.
    """
    rng = np.random.default_rng(1)
    prompts = [sample(rng, "train").caption for _ in range(max(n for n, _ in SAES.values()))]
    rows = []
    for site, (n, config) in SAES.items():
        moved = needed(model, site, progress)
        store = harvest(
            model, prompts[:n], [site], stores / site, seed=1, pixel_rate=CELLS, positions="prompt", progress=progress
        )  # fmt: skip
        sae = saes.train(store, site, config, out / site, progress=progress)
        figures = fidelity(sae, store, model, progress=progress)
        known = figures.astype(object).where(figures.notna(), None)
        rows += [{"site": site, "moved": moved, **row} for row in known.to_dict("records")]
    return rows


def needed(model: Model, site: str, progress: Progress = SILENT) -> float:
    """How much of what prompts ask for passes a site, of `site_necessity`.

    Args:
        model: The model.
        site: Its alias.
        progress: Shows the check.

    Returns:
        `moved`, the mean over held-out captions.

    Raises:
        WorkbenchError: Next to nothing passes.
    """
    prompts = [one.caption for one in examples(ASKED, seed=3, split="held_out")]
    moved = float(site_necessity(model, [site], prompts, progress=progress)["moved"].iloc[0])
    if moved < LITTLE:
        raise WorkbenchError(
            f"Pictures hardly need {site}: deaf there, they move by {moved:.0%} of the way to those of no prompt.",
            "Name a site in `SAES` that passes the check, or train the model further.",
        )
    return moved
