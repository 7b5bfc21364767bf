"""Site aliases of a Janus.

`lm.in` is what the language model reads; `lm.3` is the residual stream after layer 3, `lm.3.attn` and `.mlp` its parts,
and `lm.3.attn.heads` is what an attention's heads, side by side, hand to its output map. `lm.norm` is what the layers
end in, and `head.in` its last position, from which the next token of the picture is told. Prompt and picture pass all
of them: see `Clock.tokens`.
"""

from collections.abc import Iterator

from workbench.hooks import AttentionSite, Site
from workbench.models.janus.parts import Parts

LM = "language_model"


def sites(parts: Parts) -> Iterator[Site]:
    """All sites; `positions` counts a picture's tokens."""
    config, n = parts.language_model.config, parts.cells
    d, heads = config.hidden_size, config.num_attention_heads * parts.language_model.layers[0].self_attn.head_dim
    yield Site("lm.in", f"{LM}.layers.0", "input", 0, channels=d, positions=n)
    for layer in range(config.num_hidden_layers):
        alias, path = f"lm.{layer}", f"{LM}.layers.{layer}"
        yield Site(alias, path, channels=d, positions=n)
        yield Site(f"{alias}.attn", f"{path}.self_attn", index=0, channels=d, positions=n)
        yield Site(f"{alias}.attn.heads", f"{path}.self_attn.o_proj", "input", 0, channels=heads, positions=n)
        yield Site(f"{alias}.mlp", f"{path}.mlp", channels=d, positions=n)
    yield Site("lm.norm", f"{LM}.norm", channels=d, positions=n)
    yield Site("head.in", "generation_head", "input", 0, channels=d, positions=n)


def attention_sites(parts: Parts) -> Iterator[AttentionSite]:
    """Self-attention of every layer. Keys are all positions so far, those of the prompt first."""
    for layer in range(parts.language_model.config.num_hidden_layers):
        yield AttentionSite(f"lm.{layer}.attn", f"{LM}.layers.{layer}.self_attn")
