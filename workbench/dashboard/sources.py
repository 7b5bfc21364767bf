"""Which autoencoders a dashboard shows: those of a run's edits, and others that are named."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saes.disk import read_json
from saes.errors import WorkbenchError
from saes.files import CONFIG, WEIGHTS
from workbench.evaluation.runs import Run
from workbench.shipped import sae_folder


@dataclass(frozen=True)
class Source:
    """An autoencoder: `name` is short and unique on the dashboard, `given` what the user or the edit wrote."""

    name: str
    given: str
    folder: Path
    site: str
    d_sae: int


def sources_of(run: Run, more: Sequence[str] = ()) -> tuple[Source, ...]:
    """The SAEs of the run's edits and those named, each once.

    One that only an edit names and that is gone is passed over: the edit carries what it needs.

    Args:
        run: The run.
        more: Folders or shipped names.

    Returns:
        The SAEs, those of the edits first.

    Raises:
        WorkbenchError: A named one cannot be opened, one was trained on other weights than the run's model, or none is
            left.
    """
    settings = [edit.settings for trial in run.spec.trials for edit in trial.conditions.values() if edit]
    of_edits = [given for given in _named(settings) if (sae_folder(given) / CONFIG).is_file()]
    chosen = list(dict.fromkeys([*of_edits, *more]))
    if not chosen:
        raise WorkbenchError(
            f"The edits of {run.dir} name no autoencoder that is still there.", "Name one, such as --sae toy/text.2."
        )
    folders = {given: sae_folder(given) for given in chosen}
    names = short_names(folders)
    return tuple(_source(names[given], given, folder, run) for given, folder in folders.items())


def _named(settings: Iterable[Any]) -> list[str]:
    """The values of every key "sae", also in the parts of composed edits."""
    found: list[str] = []
    for each in settings:
        if given := each.get("sae"):
            found.append(str(given))
        found += _named(each.get("parts", ()))
    return found


def short_names(folders: dict[str, Path]) -> dict[str, str]:
    """What SAEs are called on the dashboard: a shipped one by its name, others by their folder.

    Args:
        folders: The folder of each, by what was given.

    Returns:
        A name for each, with as many parents of the folder as tell them apart.
    """
    names = {}
    for given, folder in folders.items():
        others = [other for other in folders.values() if other != folder]
        parts = folder.absolute().parts
        depth = next(
            (n for n in range(1, len(parts)) if all(other.absolute().parts[-n:] != parts[-n:] for other in others)), 1
        )
        names[given] = given if given.startswith("toy/") else "/".join(parts[-depth:])
    return names


def _source(name: str, given: str, folder: Path, run: Run) -> Source:
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise WorkbenchError(f"{folder} is no SAE folder.", f"Give one with {CONFIG} and {WEIGHTS}, or a shipped name.")
    config = read_json(folder / CONFIG)
    about = config.get("metadata", {})
    trained_on = about.get("model_name") or ""
    if len(trained_on) == len(run.spec.model.fingerprint) and trained_on != run.spec.model.fingerprint:
        raise WorkbenchError(
            f"The SAE {given} was trained on a model of other weights than the run's {run.spec.model.name}.",
            "Its features mean nothing here: leave it out, or open a run of the model that it belongs to.",
        )
    if not (site := about.get("hook_name")):
        raise WorkbenchError(f"The SAE {given} does not say its site.", "Set `hook_name` in its metadata.")
    return Source(name, given, folder, site, config["d_sae"])
