"""Site aliases of text encoders.

`text.in` is what the token table looks up, before positions are added; `text.3` is the residual stream after layer 3,
`text.3.attn` and `.mlp` its parts; `text.3.attn.heads` (CLIP) is what the attention's heads, side by side, hand to its
output map.
"""

from dataclasses import dataclass
from typing import Any, Literal

from workbench.hooks import Site


@dataclass(frozen=True)
class Within:
    """A site within an encoder, whichever of the pipeline's that is."""

    alias: str
    path: str
    index: int | None = None
    slot: Literal["output", "input"] = "output"


def text_sites(pipe: Any, encoder: str, alias: str, positions: int | None = None) -> list[Site]:
    """The sites of the pipeline's text encoder at attribute `encoder`; none if a reduced pipeline lacks it.

    `positions` is what prompts are padded to, unless that is the full length of the encoder's own tokenizer.
    """
    module = getattr(pipe, encoder)
    if module is None:
        return []
    # an encoder and its tokenizer carry the same number
    positions = positions or getattr(pipe, encoder.replace("text_encoder", "tokenizer")).model_max_length
    table = _t5_table if hasattr(module.config, "d_model") else _clip_table
    channels = module.config.hidden_size
    return [
        Site(
            f"{alias}.{row.alias}",
            f"{encoder}.{row.path}",
            row.slot,
            row.index,
            "tokens",
            channels,
            positions,
            "prompt",
        )
        for row in table(module)
    ]


def token_table(encoder: Any) -> str:
    """The path of the module that looks tokens up, within a text encoder."""
    is_t5 = hasattr(encoder.config, "d_model")
    return "encoder.embed_tokens" if is_t5 else f"{_prefix(encoder)}embeddings.token_embedding"


def _prefix(encoder: Any) -> str:
    # CLIPTextModel lost its inner `text_model` in transformers 5.6; CLIPTextModelWithProjection still has one.
    return "text_model." if hasattr(encoder, "text_model") else ""


def _clip_table(module: Any) -> list[Within]:
    prefix = _prefix(module)
    inner = module.text_model if prefix else module
    rows = [Within("in", token_table(module))]
    for layer in range(len(inner.encoder.layers)):
        path = f"{prefix}encoder.layers.{layer}"
        rows += [
            Within(f"{layer}", path),
            Within(f"{layer}.attn", f"{path}.self_attn", 0),
            Within(f"{layer}.attn.heads", f"{path}.self_attn.out_proj", 0, "input"),
            Within(f"{layer}.mlp", f"{path}.mlp"),
        ]
    return rows


def _t5_table(module: Any) -> list[Within]:
    rows = [Within("in", token_table(module))]
    for layer in range(len(module.encoder.block)):
        path = f"encoder.block.{layer}"
        rows += [Within(f"{layer}", path, 0), Within(f"{layer}.attn", f"{path}.layer.0.SelfAttention", 0)]
        rows += [Within(f"{layer}.mlp", f"{path}.layer.1.DenseReluDense")]
    return rows
