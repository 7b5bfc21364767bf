"""Study files, read strictly: those that state a hypothesis, trace a concept, or compare two models."""

from pathlib import Path

from saes.settings import build
from saes.strict_yaml import read_yaml
from workbench.studies.agreement import AgreementFile
from workbench.studies.hypothesis import StudyFile
from workbench.studies.traced import TraceFile


def read_study(path: Path | str) -> StudyFile | TraceFile | AgreementFile:
    """Reads a YAML file with the keys of `StudyFile` or, by its claim, of `TraceFile` ("traced") or `AgreementFile`
    ("agree").

    Raises `WorkbenchError` for an unknown key (naming the nearest), a missing one, and a value of another type.
    """
    values = read_yaml(path)
    if values.get("claim") == "traced":
        return build(TraceFile, values, str(path))
    if values.get("claim") == "agree":
        return build(AgreementFile, values, str(path))
    said = build(StudyFile, values, str(path))
    _ = said.subject.kind
    return said
