"""Pictures of the toy Janus by transformers' own `generate`, for the figures of the recipe."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import JanusForConditionalGeneration, PreTrainedTokenizerFast

from saes.progress import SILENT, Progress
from workbench.toy.recipe.janus import special
from workbench.toy.recipe.janus_codes import decode
from workbench.toy.recipe.janus_words import attended, prompts

BATCH = 64
GUIDANCE = 5.0


class Sampler:
    """Draws every token from the whole distribution, as Janus does. A batch's first seed decides what it draws."""

    def __init__(
        self, model: JanusForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, guidance_scale: float = GUIDANCE
    ) -> None:
        self.model, self.tokenizer, self.guidance_scale = model.eval(), tokenizer, guidance_scale
        model.generation_config.generation_kwargs = {"boi_token_id": special(tokenizer)[1]}

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], *, progress: Progress = SILENT) -> np.ndarray:
        """uint8 `[n, 48, 48, 3]`."""
        starts = range(0, len(prompts), BATCH)
        parts = [self._batch(list(prompts[i : i + BATCH]), seeds[i]) for i in progress(starts, "pictures", len(starts))]
        return np.concatenate(parts)

    def _batch(self, captions: list[str], seed: int) -> np.ndarray:
        ids = prompts(self.tokenizer, captions)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            tokens = self.model.generate(
                input_ids=ids, attention_mask=attended(ids, self.tokenizer.bos_token_id), generation_mode="image",
                do_sample=True, top_k=0, guidance_scale=max(self.guidance_scale, 1 + 1e-6),
            )  # fmt: skip
        return decode(self.model.model.vqmodel, tokens)
