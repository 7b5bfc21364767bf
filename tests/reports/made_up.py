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
    tables = {name: table.assign(concept=concept) for name, table in _tables().items()}
    return Evidence(cards, (AttentionPair(about, *images, *maps),), (facts,), {"text.2": density}, tables)


def _tables() -> dict[str, pd.DataFrame]:
    """What lies inside under a method and a control, at one text layer and one block."""
    about = pd.DataFrame({"condition": ["itd", "itd", "random features", "random features"]})
    change = about.assign(site=["text.2", "unet.mid"] * 2, part=["prompt", "picture"] * 2, step=0,
                          timestep=[np.nan, 999.0] * 2, relative=[0.5, 0.2, 0.1, 0.0], low=0.0,
                          high=0.6, n=2)  # fmt: skip
    fates = about.assign(site="text.2", feature=[1, 3] * 2, before=[1.0, 0.0, 1.0, 0.0], fires_before=[0.5, 0.0] * 2,
                         after=[0.0, 2.0, 1.0, 0.0], fires_after=[0.0, 0.5, 0.5, 0.0])  # fmt: skip
    moved = about.assign(site="unet.mid.attn2", prompt="a red disc", position=[0, 1] * 2, token=["⟨start⟩", "red"] * 2,
                         before=[0.7, 0.3] * 2, after=[0.9, 0.1, 0.7, 0.3])  # fmt: skip
    return {
        "neighbours": pd.DataFrame({
            "word": ["orange", "pink"], "known": [True, False], "cosine": [0.9, 0.5], "reached": [1.0, 0.5],
            "feature_overlap": [0.8, 0.1], "effect_overlap": [0.7, -0.1],
        }),
        "effects": pd.DataFrame({
            "site": "text.2", "feature": [3, 1, 2], "erased": [True, True, False], "ablation": [0.5, 0.2, -0.1],
            "gradient": [0.4, 0.3, 0.0], "integrated": [0.5, 0.1, 0.2],
        }),
        "edges": pd.DataFrame({
            "source": [3], "target": [7], "weight": [0.2], "share": [0.5], "source_name": ["red disc"],
            "target_name": [""],
        }),
        "change": change, "fates": fates, "moved": moved,
    }  # fmt: skip
