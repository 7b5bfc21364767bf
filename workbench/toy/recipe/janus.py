"""The language model of the toy Janus: words, then the 144 tokens of their picture, in transformers' own classes.

A Llama reads a prompt (`janus_words`) and the tokens so far, and `generation_head` says the next one. Only picture
tokens carry a loss. Captions are exact at first and then as loose as for the diffusion toy (`loose`), and left out in
the form in which `generate` feeds its unconditional rows, so that guidance asks for what was learnt.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    JanusConfig,
    JanusForConditionalGeneration,
    JanusVisionConfig,
    JanusVQVAE,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from saes.progress import SILENT, Progress
from workbench.toy.recipe import janus_codes as codes
from workbench.toy.recipe.janus_words import LONGEST, attended, prompts, unconditional
from workbench.toy.recipe.loop import Schedule, fit
from workbench.toy.recipe.loose import loosened, restyled
from workbench.toy.world import IMAGE_SIZE

BATCH = 16
WIDTH = 192
LAYERS = 4
HEAD = 48  # width of an attention head
EXACT = 0.5  # share of the training, its first part, in which captions are those of their pictures


def config(tokenizer: PreTrainedTokenizerFast) -> JanusConfig:
    """The tower that reads pictures is as small as can be: nothing here trains it."""
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=8 * WIDTH // 3, num_hidden_layers=LAYERS,
        num_attention_heads=WIDTH // HEAD, num_key_value_heads=WIDTH // HEAD,
        max_position_embeddings=LONGEST + codes.N_TOKENS, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    vision = JanusVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=IMAGE_SIZE, patch_size=codes.PATCH,
        num_image_tokens=codes.N_TOKENS, projection_dim=WIDTH, mlp_ratio=2.0, depth=1,
    )  # fmt: skip
    image_id = tokenizer.convert_tokens_to_ids(tokenizer.image_token)
    return JanusConfig(text_config=text, vision_config=vision, vq_config=codes.config(WIDTH), image_token_id=image_id)


def new_model(tokenizer: PreTrainedTokenizerFast, vq: JanusVQVAE, seed: int = 0) -> JanusForConditionalGeneration:
    """An untrained language model around a trained picture tokenizer. What stands for a picture token starts as its row
    of the codebook."""
    torch.manual_seed(seed)
    model = JanusForConditionalGeneration(config(tokenizer))
    model.model.vqmodel.load_state_dict(vq.state_dict())
    with torch.no_grad():
        model.model.generation_embeddings.weight.copy_(vq.quantize.embedding.weight)
    return model


class NextToken(nn.Module):
    """Those parts of a Janus that say the next picture token. What it holds is shared with the model."""

    def __init__(self, janus: JanusForConditionalGeneration) -> None:
        super().__init__()
        model = janus.model
        self.language_model = model.language_model
        self.embeddings, self.aligner = model.generation_embeddings, model.generation_aligner
        self.head = model.generation_head

    def forward(self, ids: Tensor, mask: Tensor, tokens: Tensor) -> Tensor:
        """Logits of every picture token given the prompt and the tokens before it.

        Args:
            ids: Prompts, [n, L].
            mask: 0 where they are padded, [n, L].
            tokens: Of the pictures, [n, 144]; the last one is not read.

        Returns:
            [n, 144, codes].
        """
        said = self.language_model.embed_tokens(ids)
        drawn = self.aligner(self.embeddings(tokens[:, :-1]))
        hidden = self.language_model(
            inputs_embeds=torch.cat([said, drawn.to(said.dtype)], dim=1),
            attention_mask=F.pad(mask, (0, tokens.shape[1] - 1), value=1),
            use_cache=False,
        ).last_hidden_state
        return self.head(hidden[:, ids.shape[1] - 1 :])


def train(
    model: JanusForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, captions: list[str], tokens: Tensor,
    folder: Path, schedule: Schedule, progress: Progress = SILENT, *, seed: int = 0,
) -> JanusForConditionalGeneration:  # fmt: skip
    """Trains the language model in place, on pictures' tokens `[n, 144]` with their captions, where the model is.

    `seed` decides which batches it sees: another one for training that goes on from weights.
    """
    device = model.device
    ids, other_artist = prompts(tokenizer, [*captions, *restyled(captions)]).chunk(2)
    bos, boi, pad = special(tokenizer)
    left_out = unconditional(ids, bos, boi, pad)

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(len(ids), (BATCH,), generator=generator)
        own = step < EXACT * schedule.steps
        said = trimmed(ids[index] if own else loosened(index, ids, other_artist, left_out[index], generator), bos)
        wanted = tokens[index].long().to(device)
        logits = module(said.to(device), attended(said, bos).to(device), wanted)
        return {"next": F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten())}

    fit(NextToken(model), loss, folder, schedule, progress, seed)
    return model.eval()


def special(tokenizer: PreTrainedTokenizerFast) -> tuple[int, int, int]:
    """The ids of begin of sentence, begin of image, and padding."""
    return tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids(tokenizer.boi_token), tokenizer.pad_token_id


def trimmed(ids: Tensor, bos: int) -> Tensor:
    """Prompts without columns that are padding in all of them."""
    first = int(ids.eq(bos).any(0).int().argmax())
    return ids[:, first:]


def restore(model: JanusForConditionalGeneration, averaged: Mapping[str, Tensor]) -> None:
    """Gives a model the weights of a checkpoint of `train`."""
    NextToken(model).load_state_dict(dict(averaged))
