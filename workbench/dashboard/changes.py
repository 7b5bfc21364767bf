"""What is done on the bench, from the texts of a form to an edit and its control."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from saes.errors import WorkbenchError, unknown_name
from workbench.dashboard.library import Library

if TYPE_CHECKING:
    from workbench.edits import ActivationEdit, Edit
    from workbench.models import Model

ACTIONS = {
    "scale": "scale by",
    "clamp": "set to",
    "add": "add",
}  # as interventions know them
NOTHING = {"scale": 1.0, "add": 0.0}  # the strengths that leave everything as it is
ALWAYS = (1000.0, 0.0)
MOST_PICTURES = 256


@dataclass(frozen=True)
class Change:
    """One intervention: `window` is the highest and the lowest timestep at which it acts."""

    sae: str
    features: tuple[int, ...]
    action: str
    strength: float
    window: tuple[float, float] = ALWAYS


@dataclass(frozen=True)
class Request:
    """What is to be generated: every prompt with every seed, without and with the changes, and with a control."""

    changes: tuple[Change, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    control: bool = True

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """The prompts and seeds of the pictures."""
        return [(prompt, seed) for prompt in self.prompts for seed in self.seeds]


def read_request(
    library: Library, rows: Sequence[dict[str, Any]], prompts: str | None, seeds: str | None, control: bool
) -> Request:
    """What the form asks for.

    Args:
        library: Knows the SAEs.
        rows: The changes, as for `read_change`.
        prompts: One a line.
        seeds: Numbers and ranges.
        control: Whether the same change to other features is made too.

    Returns:
        The request.

    Raises:
        WorkbenchError: It has no prompt, no change or no seed, more than `MOST_PICTURES` pictures, or a wrong change.
    """
    lines = read_lines(prompts)
    changes = tuple(read_change(library, row) for row in rows)
    if not changes:
        raise WorkbenchError("There is nothing to change.", "Add a change.")
    request = Request(changes, lines, read_numbers(seeds, "seed"), control)
    check_pairs(request.pairs)
    return request


def read_lines(prompts: str | None) -> tuple[str, ...]:
    """The prompts of a field.

    Args:
        prompts: One a line.

    Returns:
        Those that are not empty.

    Raises:
        WorkbenchError: There is none.
    """
    lines = tuple(line.strip() for line in (prompts or "").splitlines() if line.strip())
    if not lines:
        raise WorkbenchError("There is no prompt.", "Write one a line.")
    return lines


def check_pairs(pairs: Sequence[tuple[str, int]]) -> None:
    """Refuses more pictures than a person looks at.

    Args:
        pairs: A prompt and a seed for each picture of a condition.

    Raises:
        WorkbenchError: There are more than `MOST_PICTURES`.
    """
    if len(pairs) > MOST_PICTURES:
        raise WorkbenchError(f"{len(pairs)} pictures are too many for one look.", f"Ask for {MOST_PICTURES}.")


def read_change(library: Library, row: dict[str, Any]) -> Change:
    """One change of the form.

    Args:
        library: Knows the SAEs.
        row: The texts and numbers `sae`, `features`, `action`, `strength`, `high`, `low`.

    Returns:
        The change; its window is that of all timesteps where the site knows none.

    Raises:
        WorkbenchError: The SAE, a feature or the action is unknown, the strength is missing or changes nothing, or no
            denoising passes the window.
    """
    cache = library.cache(row["sae"] or "")
    features = read_numbers(row["features"], "feature")
    for feature in features:
        cache.check(feature)
    if row["action"] not in ACTIONS:
        raise unknown_name("action", str(row["action"]), ACTIONS)
    if row["strength"] is None:
        raise WorkbenchError("A change has no strength.", "Give a number; scaling by 0 turns features off.")
    if row["strength"] == NOTHING.get(row["action"]):
        raise WorkbenchError(
            f"To {ACTIONS[row['action']]} {row['strength']:g} changes nothing.", "Choose another strength."
        )
    window = (
        ALWAYS
        if not cache.has_steps
        else _window(*(ALWAYS[at] if row[end] is None else float(row[end]) for at, end in enumerate(("high", "low"))))
    )
    return Change(row["sae"], features, row["action"], float(row["strength"]), window)


def _window(high: float, low: float) -> tuple[float, float]:
    if not ALWAYS[0] >= high >= low >= ALWAYS[1]:
        raise WorkbenchError(
            f"No denoising passes a timestep from {high:g} down to {low:g}.",
            "It starts at 1000 (noise) and ends at 0 (picture).",
        )
    return high, low


def read_numbers(text: str | None, kind: str) -> tuple[int, ...]:
    """Numbers and ranges such as "0, 3, 5-8".

    Args:
        text: What was typed.
        kind: What they number, for the sentence.

    Returns:
        Each once, in the order given.

    Raises:
        WorkbenchError: There is none, a part is no number, or a range is very long.
    """
    found: dict[int, None] = {}
    for part in (text or "").replace("–", "-").replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise WorkbenchError(f"{part!r} is no {kind}.", "Write numbers and ranges, such as 0, 3, 5-8.")
        numbers = range(int(first), int(last or first) + 1)
        if len(numbers) > 10_000:
            raise WorkbenchError(f"{part!r} is a very long range.", "Choose fewer.")
        found |= dict.fromkeys(numbers)
    if not found:
        raise WorkbenchError(f"There is no {kind}.", "Write at least one number.")
    return tuple(found)


def edit_of(library: Library, model: "Model", changes: Sequence[Change]) -> "Edit":
    """The changes as one edit, in their order.

    Args:
        library: Knows the SAEs.
        model: The run's.
        changes: At least one.

    Returns:
        An edit that has a control.

    Raises:
        WorkbenchError: An SAE does not fit the model.
    """
    from workbench.edits.composed import ComposedEdit

    parts = [_part(library, model, change) for change in changes]
    return parts[0] if len(parts) == 1 else ComposedEdit(parts)


def _part(library: Library, model: "Model", change: Change) -> "ActivationEdit":
    """An intervention that says how often features fire, so that it has a control."""
    import torch

    from workbench.edits.interventions import intervention

    cache = library.cache(change.sae)
    made = intervention(
        model, cache.source.folder, change.features,
        action=change.action, strength=change.strength, window=change.window,
    )  # fmt: skip
    density = torch.tensor(cache.features["density"].to_numpy(float).copy())
    tensors = {**made.tensors, "density": density}
    return replace(made, tensors=tensors, settings={**made.settings, "sae": cache.source.given})


def words_of(change: Change) -> str:
    """A change as a sentence of few words.

    Args:
        change: The change.

    Returns:
        At most eight of its features are named.
    """
    numbers = ", ".join(map(str, change.features[:8])) + (" …" if len(change.features) > 8 else "")
    window = "" if change.window == ALWAYS else f", timesteps {change.window[0]:g} to {change.window[1]:g}"
    return f"{change.sae}: {ACTIONS[change.action]} {change.strength:g} for {numbers}{window}"
