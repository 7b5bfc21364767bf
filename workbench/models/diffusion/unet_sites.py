"""Site aliases of the UNet of Stable Diffusion 1, 2 and XL.

`unet.down.1`, `unet.mid`, `unet.up.2` are what whole blocks hand on; `unet.up.1.2` is what the transformer number 2
within a block hands on; `.attn1` (self-attention), `.attn2` (cross-attention) and `.mlp` are its parts, and
`.attn2.heads` is what an attention's heads, side by side, hand to its output map. Where such a transformer is several
layers deep, as in SDXL, the layer stands between: `unet.up.0.1.7` and `unet.up.0.1.7.attn2`. `unet.out` is the
prediction itself.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from workbench.hooks import AttentionSite, Site
from workbench.models.wrapped import acting_weight, check_unfused

PARTS = {  # what is read at a module's output, and of heads at the input of the map that joins them
    "attn1.heads": "attn1.to_out.0", "attn1": "attn1", "attn2.heads": "attn2.to_out.0", "attn2": "attn2", "mlp": "ff",
}  # fmt: skip


def unet_sites(unet: Any, latent_size: int) -> list[Site]:
    """All sites of a UNet whose latents are `latent_size` pixels wide."""
    sites = []
    for alias, path, block, size, size_after in _blocks(unet, latent_size):
        tuple_index = 0 if alias.startswith("unet.down") else None
        sites.append(_pixels(alias, path, block.resnets[-1].out_channels, size_after, index=tuple_index))
        for number, transformer in enumerate(getattr(block, "attentions", [])):
            sites += _transformer_sites(alias, path, number, transformer, size)
    return [*sites, _pixels("unet.out", "unet", unet.config.out_channels, latent_size, index=0)]


def unet_attention_sites(unet: Any, latent_size: int) -> list[AttentionSite]:
    """The cross-attention modules."""
    sites = unet_sites(unet, latent_size)
    return [AttentionSite(site.alias, site.path) for site in sites if site.alias.endswith(".attn2")]


def key_value_maps(unet: Any) -> dict[str, nn.Parameter]:
    """Weights `[out, d_text]` of the key and value maps of every cross-attention, by name, as they act.

    Raises `WorkbenchError` where they are fused into one layer.
    """
    attentions = [(f"unet.{path}", module) for path, module in unet.named_modules() if path.endswith(".attn2")]
    for path, module in attentions:
        check_unfused(module, path, "be edited")
    return {
        f"{path}.{name}.weight": acting_weight(getattr(module, name))
        for path, module in attentions
        for name in ("to_k", "to_v")
    }


def _blocks(unet: Any, size: int) -> Iterator[tuple[str, str, Any, int, int]]:
    """Alias, path, block, and the picture's side within the block and after it."""
    for number, block in enumerate(unet.down_blocks):
        after = size // 2 if block.downsamplers else size
        yield f"unet.down.{number}", f"unet.down_blocks.{number}", block, size, after
        size = after
    if unet.mid_block is not None:  # small distilled ones have none
        yield "unet.mid", "unet.mid_block", unet.mid_block, size, size
    for number, block in enumerate(unet.up_blocks):
        after = size * 2 if block.upsamplers else size
        yield f"unet.up.{number}", f"unet.up_blocks.{number}", block, size, after
        size = after


def _transformer_sites(block_alias: str, block_path: str, number: int, transformer: Any, size: int) -> list[Site]:
    path = f"{block_path}.attentions.{number}"
    channels = transformer.config.num_attention_heads * transformer.config.attention_head_dim
    alias = block_alias if block_alias == "unet.mid" else f"{block_alias}.{number}"
    sites = [] if alias == "unet.mid" else [_pixels(alias, path, channels, size, index=0)]
    layers = transformer.transformer_blocks
    for layer in range(len(layers)):
        layer_alias, layer_path = alias, f"{path}.transformer_blocks.{layer}"
        if len(layers) > 1:
            layer_alias = f"{alias}.{layer}"
            sites.append(_tokens(layer_alias, layer_path, channels, size))
        for part, name in PARTS.items():
            site = _tokens(f"{layer_alias}.{part}", f"{layer_path}.{name}", channels, size)
            sites.append(replace(site, slot="input", index=0) if part.endswith(".heads") else site)
    return sites


def _pixels(alias: str, path: str, channels: int, size: int, index: int | None) -> Site:
    return Site(alias, path, index=index, layout="pixels", channels=channels, positions=size * size)


def _tokens(alias: str, path: str, channels: int, size: int) -> Site:
    return Site(alias, path, channels=channels, positions=size * size)
