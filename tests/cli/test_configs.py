"""Settings of the command line are texts that are read as YAML values."""

import pytest

from saes.errors import WorkbenchError
from workbench.configs import read_pairs


def test_pairs_are_read_as_yaml_values():
    pairs = ["k=32", "lr=1e-3", "rate=0.5", "on=true", "names=[a, b]", "path=out/a=b", "none=null"]
    read = read_pairs(pairs, "--set")
    assert read["k"] == 32 and read["rate"] == 0.5 and read["on"] is True and read["names"] == ["a", "b"]
    assert read["path"] == "out/a=b" and read["none"] is None
    assert float(read["lr"]) == 1e-3  # YAML 1.1 takes it for text; the field's type makes a number of it
    assert read_pairs(["words=a: b: c"], "--set") == {"words": "a: b: c"}  # no YAML, so the text itself
    with pytest.raises(WorkbenchError, match="'k' has no value"):
        read_pairs(["k"], "--set")
    with pytest.raises(WorkbenchError, match="--set prune has yes without quotes"):
        read_pairs(["prune=yes"], "--set")
