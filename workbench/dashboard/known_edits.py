"""The edits that can be set side by side: those of the run, and those that were saved from the bench."""

from collections import Counter
from pathlib import Path

from workbench.dashboard.cache import FOLDER
from workbench.dashboard.saving import EDITS
from workbench.evaluation.runs import Run


def known_edits(run: Run) -> dict[str, Path]:
    """The edits of a run by what they are called.

    Args:
        run: The run.

    Returns:
        Name → folder. A condition that is another edit in each trial is called with its concept, and the second of the
        same name with the hash of its files.
    """
    of_run = {
        (name, edit.hash): trial.concept for trial in run.spec.trials for name, edit in trial.conditions.items() if edit
    }
    times = Counter(name for name, _ in of_run)
    found: dict[str, Path] = {}
    for (name, hash), concept in of_run.items():
        called = name if times[name] == 1 else f"{name}, {concept}"
        found[called if called not in found else f"{called}, {hash[:6]}"] = run.dir / "edits" / hash
    saved = run.dir / FOLDER / EDITS
    for folder in sorted(saved.iterdir()) if saved.is_dir() else []:
        if (folder / "edit.json").is_file():
            found[f"saved: {folder.name}"] = folder
    return found
