"""A model card for an edit: Markdown whose front matter programs read, and the same as JSON.

card.md      front matter (base model, method, concepts, figures), then the same for people
card.json    all of it
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from saes.config import StrictConfig
from saes.disk import new_folder, write_json
from saes.errors import WorkbenchError
from workbench.cards.sources import Row, found_in
from workbench.edits import Edit
from workbench.erasure import shown

FORMAT: Literal["erasure-workbench card 1"] = "erasure-workbench card 1"
MARKDOWN, JSON = "card.md", "card.json"


class Card(StrictConfig):
    """The content of card.json.

    Args:
        base: The model that was edited: name, kind and fingerprint.
        kind: What the edit changes, as files say it.
        method: How it was found; reconstructions are marked.
        concepts: What it erases.
        changes: What it changes, in words.
        settings: What the method was told.
        seed: Of the fit.
        run: The folder of the figures.
        made: When the run began, and on what.
        sampling: How its pictures were sampled.
        judges: Name, version and validation of each.
        figures: See `sources.KEPT`; what is void or not said has no value.
        limits: What the figures do not show.
    """

    format: Literal["erasure-workbench card 1"] = FORMAT
    base: dict[str, str]
    kind: str
    method: str
    concepts: tuple[str, ...]
    changes: str
    settings: dict[str, Any]
    seed: int
    run: str
    made: dict[str, str]
    sampling: dict[str, Any]
    judges: tuple[dict[str, str], ...]
    figures: tuple[dict[str, Any], ...]
    limits: tuple[str, ...]


def card_of(edit: Edit, folder: Path | str) -> Card:
    """The card of an edit, with the figures of a run.

    Args:
        edit: The edit.
        folder: Of `workbench evaluate`, `compare`, `safety` or `protocol`, with this very edit among its conditions.

    Returns:
        The card.

    Raises:
        WorkbenchError: The folder has no figure of the edit.
    """
    found = found_in(Path(folder), edit)
    spec = found.runs[0].spec
    judges = {(name, one.version): one for run in found.runs for name, one in run.judges.items()}
    return Card(
        base={"name": spec.model.name, "kind": spec.model.kind, "fingerprint": spec.model.fingerprint},
        kind=edit.kind, method=shown(edit.method), concepts=tuple(edit.concepts), changes=edit.summary().changes,
        settings=_plain(edit.settings), seed=edit.seed, run=str(folder),
        made={"started": spec.started, **spec.environment}, sampling=dict(spec.settings),
        judges=tuple(
            {"name": name, "version": version, "validated": one.validated} for (name, version), one in judges.items()
        ),
        figures=tuple(map(_finite, found.figures)), limits=found.limits,
    )  # fmt: skip


def write_card(card: Card, folder: Path | str) -> None:
    """Writes the card.

    Args:
        card: What is written.
        folder: A new folder.

    Raises:
        WorkbenchError: It exists, or cannot be written.
    """
    with new_folder(folder) as place:
        (place / MARKDOWN).write_text(markdown(card), encoding="utf-8")
        write_json(place / JSON, card.model_dump(mode="json"))


def markdown(card: Card) -> str:
    """The card in Markdown.

    Args:
        card: The card.

    Returns:
        Front matter between two lines of dashes, then the text.
    """
    whole = card.model_dump(mode="json")
    front = {name: whole[name] for name in ("format", "method", "concepts", "kind", "seed", "run", "judges", "figures")}
    front = {"base_model": card.base["name"], "tags": ["concept-erasure", card.kind], **front}
    head = "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in front.items())
    erased = ", ".join(card.concepts)
    parts = [
        f"---\n{head}---\n", f"# {erased}, erased from {card.base['name']} by {card.method}\n",
        _table([{"what": name, "": value} for name, value in _about(card).items()]),
        "## Figures\n", f"Of `{card.run}`, with 95 % intervals over prompts.\n",
        _table([_readable(row) for row in card.figures]),
        "## Settings\n", _table([{"setting": name, "value": value} for name, value in card.settings.items()]),
        "## What this does not show\n", "\n".join(f"- {sentence}" for sentence in card.limits) + "\n",
    ]  # fmt: skip
    return "\n".join(parts)


def _about(card: Card) -> dict[str, str]:
    judged = "; ".join(f"{one['name']} {one['version']}" for one in card.judges)
    return {
        "base model": f"{card.base['name']} ({card.base['kind']}, {card.base['fingerprint'][:12]})",
        "method": card.method, "changes": card.changes, "seed": str(card.seed), "judges": judged,
        "pictures": ", ".join(f"{name} {value}" for name, value in card.sampling.items()),
        "measured": f"{card.made['started']}, {card.made.get('machine', '')}",
    }  # fmt: skip


def _readable(row: Mapping[str, Any]) -> dict[str, str]:
    """A figure with its interval, and what it is of."""
    of = [str(row[name]) for name in ("domain", "task", "concept", "target") if name in row]
    return {
        "of": " / ".join(dict.fromkeys(of)), "judge": str(row["judge"]), "figure": str(row["metric"]).replace("_", " "),
        "value": _interval(row, "value", "low", "high") or str(row.get("mark", "–")),
        "unedited": _number(row.get("unedited")),
        "change": _interval(row, "difference", "difference_low", "difference_high") or "–",
        "pictures": str(row["n"]), "prompts": str(row["prompts"]), "mark": str(row.get("mark", "")),
    }  # fmt: skip


def _interval(row: Mapping[str, Any], value: str, low: str, high: str) -> str:
    if row.get(value) is None:
        return ""
    return f"{row[value]:.3f} ({_number(row.get(low))} to {_number(row.get(high))})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "None.\n"
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(map(_cell, row.values())) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("|", "\\|").replace("\n", " ")


def _finite(row: Row) -> Row:
    """As JSON has it: numbers without numpy, and nothing in the place of what is not a number."""
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
    return {name: None if value != value else value for name, value in plain.items()}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dict(settings)))
    except TypeError:
        raise WorkbenchError(
            "The settings of the edit are not those of a file.", "Save it and load it again."
        ) from None
