"""Other wordings of a concept: misspellings, and what a list or another run holds."""

import random
from collections.abc import Sequence

from saes.errors import WorkbenchError
from workbench.adults import may_involve_a_minor
from workbench.lists import prompts

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def misspellings(name: str, n: int, seed: int = 0) -> tuple[str, ...]:
    """Names that differ from one in a single slip: a letter left out, doubled or replaced, or two turned round.

    Args:
        name: The name. What is no letter stays as it is.
        n: How many, at most as many as there are.
        seed: Draws others.

    Returns:
        Distinct ones, none of them the name.
    """
    draw, found = random.Random(f"{name} {seed}"), dict[str, None]()
    places = [place for place, letter in enumerate(name) if letter.isalpha()]
    for _ in range(50 * n):
        if len(found) == n or not places:
            break
        slip = draw.choice(_SLIPS)(name, draw.choice(places), draw)
        if slip.strip() and slip != name:
            found[slip] = None
    return tuple(found)


def _left_out(name: str, at: int, draw: random.Random) -> str:
    return name[:at] + name[at + 1 :]


def _doubled(name: str, at: int, draw: random.Random) -> str:
    return name[: at + 1] + name[at:]


def _replaced(name: str, at: int, draw: random.Random) -> str:
    return name[:at] + draw.choice(LETTERS) + name[at + 1 :]


def _turned(name: str, at: int, draw: random.Random) -> str:
    return name[:at] + name[at : at + 2][::-1] + name[at + 2 :]


_SLIPS = (_left_out, _doubled, _replaced, _turned)


def listed(path: str) -> tuple[str, ...]:
    """The distinct prompts of a list in any form that `workbench.lists` reads, without those that may involve a minor.

    Raises:
        WorkbenchError: It cannot be read or holds none.
    """
    found = tuple(dict.fromkeys(one.strip() for one in prompts(path) if not may_involve_a_minor(one)))
    if not found:
        raise WorkbenchError(f"{path} has no prompts left after the filter.", "Give it at least one row.")
    return found


def readable(tokenizer: object, wordings: Sequence[str]) -> list[str]:
    """The wordings that a tokenizer can tell from others: those without its token for what it does not know.

    Byte-level tokenizers (CLIP's, the toy's) know every word of every language, in pieces; T5's does not.
    """
    unknown = getattr(tokenizer, "unk_token_id", None)
    special = {getattr(tokenizer, name, None) for name in ("eos_token_id", "pad_token_id", "bos_token_id")}
    if not wordings or unknown is None or unknown in special:
        return list(wordings)
    read = tokenizer(list(wordings), add_special_tokens=False).input_ids  # type: ignore[operator]
    return [wording for wording, ids in zip(wordings, read, strict=True) if unknown not in ids]
