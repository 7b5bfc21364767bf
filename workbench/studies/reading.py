"""Study files, read strictly: those that state a hypothesis, and those that trace a concept through a model."""

from pathlib import Path

from saes.settings import build
from saes.strict_yaml import read_yaml
from workbench.studies.hypothesis import StudyFile
from workbench.studies.traced import TraceFile


def read_study(path: Path | str) -> StudyFile | TraceFile:
    """Reads a YAML file with the keys of `StudyFile` or, if its claim is "traced", of `TraceFile`.

    Raises `WorkbenchError` for an unknown key (naming the nearest), a missing one, and a value of another type.
    """
    values = read_yaml(path)
    if values.get("claim") == "traced":
        return build(TraceFile, values, str(path))
    said = build(StudyFile, values, str(path))
    _ = said.subject.kind
    return said
