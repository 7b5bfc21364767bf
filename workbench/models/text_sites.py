"""Site aliases of text encoders: `text.3` is the residual stream after layer 3, `text.3.attn` and `text.3.mlp` its parts."""

from typing import Any

from workbench.hooks import Site


def text_sites(pipe: Any, encoder: str, alias: str) -> list[Site]:
    """The sites of the pipeline's text encoder at attribute `encoder`; none if a reduced pipeline lacks it."""
    module = getattr(pipe, encoder)
    if module is None:
        return []
    positions = tokenizer_of(pipe, encoder).model_max_length
    table = _t5_table if hasattr(module.config, "d_model") else _clip_table
    channels = module.config.hidden_size
    return [
        Site(f"{alias}.{name}", f"{encoder}.{path}", index=index, channels=channels, positions=positions, component="text")
        for name, path, index in table(module)
    ]


def tokenizer_of(pipe: Any, encoder: str) -> Any:
    """The tokenizer that belongs to a text encoder: they carry the same number."""
    return getattr(pipe, encoder.replace("text_encoder", "tokenizer"))


def _clip_table(module: Any) -> list[tuple[str, str, int | None]]:
    # CLIPTextModel lost its inner `text_model` in transformers 5.6; CLIPTextModelWithProjection still has one.
    inner, prefix = (module.text_model, "text_model.") if hasattr(module, "text_model") else (module, "")
    rows: list[tuple[str, str, int | None]] = []
    for layer in range(len(inner.encoder.layers)):
        path = f"{prefix}encoder.layers.{layer}"
        rows += [(f"{layer}", path, None), (f"{layer}.attn", f"{path}.self_attn", 0), (f"{layer}.mlp", f"{path}.mlp", None)]
    return rows


def _t5_table(module: Any) -> list[tuple[str, str, int | None]]:
    rows: list[tuple[str, str, int | None]] = []
    for layer in range(len(module.encoder.block)):
        path = f"encoder.block.{layer}"
        attention, mlp = f"{path}.layer.0.SelfAttention", f"{path}.layer.1.DenseReluDense"
        rows += [(f"{layer}", path, 0), (f"{layer}.attn", attention, 0), (f"{layer}.mlp", mlp, None)]
    return rows
