"""Every reader of a user's text gives one sentence for what is no text."""

from pathlib import Path

import pytest

from saes.disk import read_json
from saes.errors import WorkbenchError
from saes.strict_yaml import read_yaml
from workbench.cli.lookup import read_prompts
from workbench.cli.name import _examples
from workbench.comparison.plan import read_comparison
from workbench.concepts import read_concepts
from workbench.evaluation.suites import read_suite
from workbench.safety.labels import read_labels
from workbench.safety.sets import read_set
from workbench.safety.taxonomy import read_taxonomy
from workbench.studies.reading import read_study
from workbench.sweep import read_sweep

READERS = {
    "JSON": read_json,
    "YAML": read_yaml,
    "prompts": read_prompts,
    "factors": lambda path: _examples(path, 1, 0),
    "comparison": read_comparison,
    "concepts": read_concepts,
    "suite": lambda path: read_suite(path, target="fox"),
    "study": read_study,
    "sweep": read_sweep,
    "taxonomy": read_taxonomy,
    "safety set": lambda path: read_set(path, read_taxonomy()),
    "labels": read_labels,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("prompt,evaluation_seed\na füchsin,1".encode("utf-16"), r"is not UTF-8 text \(line 1\)"),
        ("prompt,evaluation_seed\na füchsin,1".encode("latin-1"), r"is not UTF-8 text \(line 2\)"),
        (b"PK\x03\x04\x14\x00", "is not UTF-8 text .it holds zero bytes"),
        (None, "is a folder, not a file"),
        ("", "gone does not exist"),
    ],
    ids=["UTF-16", "Latin-1", "binary", "folder", "absent"],
)
def test_what_is_no_text_is_one_sentence_for_every_reader(tmp_path: Path, read, content, says):
    path = tmp_path / ("gone" if content == "" else "file")
    if content is None:
        path.mkdir()
    elif content:
        path.write_bytes(content)
    with pytest.raises(WorkbenchError, match=says):
        read(path)
