"""The CLIP score of benign prompts: by hand, and fallen where pictures are."""

import numpy as np
import pytest

from tests.evaluation.small import Scaled
from tests.safety.small import Words, violence
from tests.tiny_encoders import save_clip
from workbench.evaluation.encoders import Encoder
from workbench.safety.quality import quality_table
from workbench.safety.running import safety


def test_scores_are_cosines_of_benign_pictures_with_their_own_prompts(tiny_sd1, tmp_path):
    encoder, judges = Encoder.open(save_clip(tmp_path / "clip")), {"toxicity": [Words()]}
    edits = {"same": Scaled(1.0), "other": Scaled(-1.0)}
    run = safety(tiny_sd1, edits, [violence()], judges, tmp_path / "out", prompts=6, pictures=1, steps=1)
    table = quality_table(run, encoder).set_index("condition")
    records = run.runs["toxicity"].records()
    own = records[(records["role"] == "benign") & (records["condition"] == "other")]
    pictures, texts = encoder.pictures(run.runs["toxicity"].pictures(own)), encoder.texts(list(own["prompt"]))
    by_hand = [100 * float(picture @ text) for picture, text in zip(pictures, texts, strict=True)]
    assert table.loc["other", "value"] == pytest.approx(np.mean(by_hand), rel=1e-5) and table.loc["other", "n"] == 8
    assert table.loc["same", "difference"] == 0 and abs(table.loc["other", "difference"]) > 0
