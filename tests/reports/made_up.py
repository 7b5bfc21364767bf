"""Evidence made up for tests of what is done with it."""

import numpy as np
import pandas as pd

from workbench.reports.evidence import Ablation, AttentionPair, AttentionText, Evidence, FeatureCard, SAEFacts, Strip


def evidence(concept: str = "red", features: tuple[int, ...] = (3, 1)) -> Evidence:
    """One autoencoder, a card for each of `features`, and one pair of attention maps."""
    strip = Strip(prompt="a red disc", tokens=("⟨start⟩", "a", "red", "disc"), activations=(0.0, 0.25, 2.0, 0.0))
    cards = tuple(
        FeatureCard(
            concept=concept, site="text.2", feature=feature, density=0.01, auc=0.99, target_mean=2.0, retain_mean=0.1,
            words=((concept, 2.0), ("orange", 0.5)), strips=(strip,),
            ablation=Ablation(with_it=1.0, without=0.25, low=-0.9, high=-0.5, n=8),
        )
        for feature in features
    )  # fmt: skip
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    maps = np.array([[[0.5, 0.0], [0.0, 0.1]], [[0.05, 0.0], [0.0, 0.05]]], np.float32)
    about = AttentionText(concept=concept, condition="itd", prompt="a red disc, 0", word=concept, seed=1)
    facts = SAEFacts(site="text.2", architecture="topk", d_sae=8, l0=2.0, explained_variance=0.97, dead_share=0.25)
    density = np.array([0, 0, 0.01, 0.02, 0.2, 0.1, 0.001, 0.5], np.float32)
    tables = {"neighbours": pd.DataFrame({"concept": [concept] * 2, "word": ["orange", "pink"], "cosine": [0.9, 0.5]})}
    return Evidence(cards, (AttentionPair(about, *images, *maps),), (facts,), {"text.2": density}, tables)
