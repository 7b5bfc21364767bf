"""How true attribution is on the toy, where the truth is known.

    python benchmarks/attribution.py [--quick]

First: overlap of the maps of words with the renderer's masks, beside two controls. Second: how gradient × activation
and integrated gradients rank features, against true ablations on the same prompts, noise and lens; a concept has 40,
drawn among all that fire on its prompts. `--quick` takes two concepts.
"""

import sys

import numpy as np
import pandas as pd
import torch

from probes.attribution import rank_agreement
from workbench.activations.autoencoders import dictionary_on, open_sae, site_of
from workbench.interpret.attribution.effects import HOWS, feature_effects
from workbench.interpret.attribution.lens import concept_lens
from workbench.interpret.find_features import feature_scores
from workbench.models import Model, load
from workbench.toy import concepts
from workbench.toy.segmentation import segmentation, summary

SAES = ("toy/text.2", "toy/unet.up.0.0")
CONCEPTS = ("fox", "car", "teapot", "church", "mira voss", "oskar lind")
PROMPTS, FEATURES = 4, 40


def agreement(model: Model, sae: str, concept: str) -> list[dict]:
    """A row for each kind of attribution."""
    known = concepts()[concept]
    prompts = known.prompts()[:PROMPTS]
    lens = concept_lens(model, prompts, [p.replace(known.name, known.anchor) for p in prompts], range(PROMPTS))
    opened = open_sae(sae)
    fires = feature_scores(model, site_of(opened, model), dictionary_on(opened, model), prompts).amax(dim=0) > 0
    some = fires.nonzero().flatten().numpy()
    features = sorted(np.random.default_rng(0).permutation(some)[:FEATURES].tolist())
    effects = {how: feature_effects(model, sae, features, lens, how=how).mean(dim=0).numpy() for how in HOWS}
    return [
        {"sae": sae, "concept": concept, "how": how, "n": len(features)}
        | rank_agreement(effects["ablation"], effects[how])._asdict()
        | {"largest": float(np.abs(effects["ablation"]).max())}
        for how in HOWS[1:]
    ]


def main() -> None:
    """Prints both tables."""
    torch.set_num_threads(1)
    model = load("toy", device="cpu")
    chosen = CONCEPTS[:2] if "--quick" in sys.argv else CONCEPTS
    print(summary(segmentation(model)).round(3).to_string(index=False))
    rows = [row for sae in SAES for concept in chosen for row in agreement(model, sae, concept)]
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    print(table.groupby(["sae", "how"])["rho"].agg(["mean", "min"]).round(3))


if __name__ == "__main__":
    main()
