"""Evidence survives its files, and torn or foreign files are refused by name."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from tests.reports.made_up import evidence
from workbench.reports.evidence import read_evidence, write_evidence


def test_evidence_reads_back_what_was_written(tmp_path: Path) -> None:
    assert read_evidence(tmp_path) is None
    written = evidence()
    write_evidence(tmp_path, written)
    read = read_evidence(tmp_path)
    assert read is not None
    assert (read.cards, read.saes) == (written.cards, written.saes)
    np.testing.assert_array_equal(read.densities["text.2"], written.densities["text.2"])
    assert read.attention[0].about == written.attention[0].about
    pd.testing.assert_frame_equal(read.tables["neighbours"], written.tables["neighbours"])
    for name in ("before", "after", "map_before", "map_after"):
        np.testing.assert_array_equal(getattr(read.attention[0], name), getattr(written.attention[0], name))


def test_writing_again_replaces_it(tmp_path: Path) -> None:
    write_evidence(tmp_path, evidence())
    write_evidence(tmp_path, evidence(features=(5,)))
    read = read_evidence(tmp_path)
    assert read is not None
    assert [card.feature for card in read.cards] == [5]


def test_unknown_fields_and_torn_files_are_refused(tmp_path: Path) -> None:
    write_evidence(tmp_path, evidence())
    json_path, tensors_path = tmp_path / "evidence" / "evidence.json", tmp_path / "evidence" / "evidence.safetensors"
    whole, tensors = read_json(json_path), tensors_path.read_bytes()
    write_json(json_path, {**whole, "note": "hello"})
    with pytest.raises(WorkbenchError, match=r"evidence\.json: Unknown key 'note'"):
        read_evidence(tmp_path)
    write_json(json_path, whole)
    tensors_path.write_bytes(tensors[:-8])
    with pytest.raises(WorkbenchError, match=r"evidence\.safetensors is not a whole"):
        read_evidence(tmp_path)
    tensors_path.write_bytes(tensors)
    evidence().tables["neighbours"].assign(cosine=0.25).to_parquet(tmp_path / "evidence" / "neighbours.parquet")
    with pytest.raises(WorkbenchError, match=r"neighbours\.parquet is not the file that"):
        read_evidence(tmp_path)
    write_evidence(tmp_path, evidence())
    write_json(json_path, {**whole, "tensors": "0" * 64})
    with pytest.raises(WorkbenchError, match="is not the file that"):
        read_evidence(tmp_path)
