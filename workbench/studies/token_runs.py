"""What a trace in a Janus compares: sentences in three readings, and the pictures drawn of the clean ones."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from workbench.interpret.attribution.likelihood import Codes
from workbench.interpret.attribution.places import positions_of
from workbench.models import Janus
from workbench.settings import settled
from workbench.studies.tracing import readings

BATCH = 8  # pictures at once


class Runs(NamedTuple):
    """Some sentences by their reading ("clean", "corrupted", "unrelated"), the tokens and seeds of the clean pictures,
    and the positions of the word in each prompt."""

    prompts: Mapping[str, list[str]]
    codes: Codes
    seeds: list[int]
    word: list[range]


def token_runs(
    model: Janus,
    prompts: Sequence[str],
    word: str,
    others: Sequence[str],
    sites: Sequence[str],
    seed: int,
    sampling: Mapping[str, Any],
) -> list[Runs]:
    """The sentences batch by batch. Raises `WorkbenchError` as `tracing.trace` says, before any picture is drawn."""
    read = readings(model, prompts, word, others, sites)
    for alias in sites:
        model.site(alias)
    settings, found = settled(model.settings, sampling), []
    for start in range(0, len(prompts), BATCH):
        own = {name: some[start : start + BATCH] for name, some in read.items()}
        seeds = list(range(seed + start, seed + start + len(own["clean"])))
        spans = [positions_of(model, prompt, word) for prompt in own["clean"]]
        codes = model.sample_codes(own["clean"], seeds, batch_size=BATCH, **settings)
        found.append(Runs(own, codes, seeds, [range(span[0], span[-1] + 1) for span in spans]))
    return found
