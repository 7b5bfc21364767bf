"""Site aliases of the transformers of SD3 and Flux, in whose blocks text and picture attend to each other.

`transformer.3` is the picture's stream after block 3, `transformer.3.text` the text's; `.attn` and `.mlp` are the parts
of each. `transformer.single.3` are the blocks of Flux that keep both streams in one sequence: their parts cover text
and picture together. Blocks return the text first, attention returns the picture first: hence the indices.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from workbench.hooks import Site


class Streams(NamedTuple):
    """Positions of the two streams, and their width."""

    pixels: int
    text: int
    channels: int


def double_stream_sites(blocks: Iterable[Any], streams: Streams) -> list[Site]:
    """Blocks with separate weights for picture and text; the last one of SD3 lets the text stream end."""
    sites = []
    for number, block in enumerate(blocks):
        alias, path = f"transformer.{number}", f"transformer.transformer_blocks.{number}"
        sites += [
            _site(alias, path, streams.pixels, streams, index=1),
            _site(f"{alias}.attn", f"{path}.attn", streams.pixels, streams, index=0),
            _site(f"{alias}.mlp", f"{path}.ff", streams.pixels, streams),
        ]
        if block.ff_context is not None:
            sites += [
                _site(f"{alias}.text", path, streams.text, streams, index=0),
                _site(f"{alias}.text.attn", f"{path}.attn", streams.text, streams, index=1),
                _site(f"{alias}.text.mlp", f"{path}.ff_context", streams.text, streams),
            ]
        if getattr(block, "attn2", None) is not None:
            sites.append(_site(f"{alias}.attn2", f"{path}.attn2", streams.pixels, streams))
    return sites


def single_stream_sites(blocks: Iterable[Any], streams: Streams) -> list[Site]:
    """Blocks that see one sequence, first the text, then the picture."""
    sites = []
    both = streams.pixels + streams.text
    for number, block in enumerate(blocks):
        alias, path = f"transformer.single.{number}", f"transformer.single_transformer_blocks.{number}"
        mlp = streams._replace(channels=block.mlp_hidden_dim)
        sites += [
            _site(alias, path, streams.pixels, streams, index=1),
            _site(f"{alias}.text", path, streams.text, streams, index=0),
            _site(f"{alias}.attn", f"{path}.attn", both, streams),
            _site(f"{alias}.mlp", f"{path}.act_mlp", both, mlp),
        ]
    return sites


def _site(alias: str, path: str, positions: int, streams: Streams, index: int | None = None) -> Site:
    return Site(alias, path, index=index, channels=streams.channels, positions=positions)
