"""A real `CLIPTokenizer` for the embedded world: a byte alphabet, and merges that make each word of the world one
token.

Words that it does not know fall apart into pieces and letters, as in CLIP.
"""

import json
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

from workbench.toy import captions

LENGTH = 24  # tokens a prompt is padded to, with end-of-text, as CLIP pads


def byte_alphabet() -> list[str]:
    """The 256 printable characters that byte-level BPE writes bytes with, in CLIP's order."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in kept]
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(len(others))]


def pieces(word: str, rank: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding of a word under the merges so far: the earliest merge first."""
    parts = [*word[:-1], word[-1] + "</w>"]
    while len(parts) > 1:
        best = min(pairwise(parts), key=lambda pair: rank.get(pair, len(rank)))
        if best not in rank:
            break
        at = next(i for i in range(len(parts) - 1) if (parts[i], parts[i + 1]) == best)
        parts[at : at + 2] = ["".join(best)]
    return parts


def merges_for(words: list[str]) -> list[tuple[str, str]]:
    """Merges under which each word is one piece. Later merges never undo earlier ones, because lower ranks go first."""
    rank: dict[tuple[str, str], int] = {}
    for word in words:
        parts = pieces(word, rank)
        while len(parts) > 1:
            rank[parts[0], parts[1]] = len(rank)
            parts = pieces(word, rank)
    return list(rank)


def build(folder: Path) -> CLIPTokenizer:
    """Writes vocab.json and merges.txt into the folder and returns the tokenizer over them."""
    merges = merges_for(captions.words())
    alphabet = byte_alphabet()
    tokens = [
        *alphabet,
        *(c + "</w>" for c in alphabet),
        *("".join(m) for m in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(m) for m in merges)]) + "\n")
    return CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=LENGTH)
