"""The toy Janus as it ships: plain files, small enough, opened by transformers, drawn from by its own settings."""

import json

import numpy as np
import torch
from transformers import JanusForConditionalGeneration, JanusProcessor

from saes.disk import sha256_of
from workbench.toy.recipe.janus_export import SHIPPED, WEIGHTS

FACTS = json.loads((SHIPPED / "figures.json").read_text())


def test_what_ships_is_small_has_no_code_or_pickles_and_is_what_was_measured():
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 15e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja", ".md", ".png"}
    assert FACTS["sha256"] == {WEIGHTS: sha256_of(SHIPPED / WEIGHTS)}


def test_a_prompt_of_the_folders_own_processor_draws_a_picture_that_depends_on_it():
    """With one seed, two prompts give two pictures, and the prompt again the same."""
    processor = JanusProcessor.from_pretrained(SHIPPED)
    model = JanusForConditionalGeneration.from_pretrained(SHIPPED, dtype=torch.float32).eval()
    model.generation_config.generation_kwargs = {
        "boi_token_id": processor.tokenizer.convert_tokens_to_ids(processor.tokenizer.boi_token)
    }

    def drawn(prompt: str) -> np.ndarray:
        torch.manual_seed(0)
        given = processor(text=[prompt], generation_mode="image", return_tensors="pt")
        return model.decode_image_tokens(model.generate(**given, generation_mode="image")).detach().numpy()

    neon, mosaic = drawn("a red fox by yara pell"), drawn("a red fox by bruno hale")
    assert neon.shape == (1, 48, 48, 3) and np.array_equal(neon, drawn("a red fox by yara pell"))
    assert np.abs(mosaic - neon).mean() > 0.1  # of a range of 2


def test_the_tokenizer_of_its_figures_keeps_what_pictures_show():
    """Colours, styles and characters at least; the same factors of the renders themselves are the control."""
    rows = {(row["pictures"], row["factor"]): row["value"] for row in FACTS["tokenizer"]}
    for factor in ("colour", "style", "character"):
        assert rows["through the tokens", factor] > 0.95 * rows["fresh renders", factor]
