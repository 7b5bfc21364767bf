"""Study files, read strictly: those that state a hypothesis, and those that trace where a concept is decided."""

from pathlib import Path

from workbench.configs import build, read_yaml
from workbench.studies.hypothesis import StudyFile


def read_study(path: Path | str) -> StudyFile:
    """Reads a YAML file with the keys of `StudyFile`.

    Raises `WorkbenchError` for an unknown key (naming the nearest), a missing one, and a value of another type.
    """
    said = build(StudyFile, read_yaml(path), str(path))
    _ = said.subject.kind
    return said
