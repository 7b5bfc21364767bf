"""A store that was killed while it was written is finished without loss or duplicates."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from saes.disk import read_json
from saes.errors import WorkbenchError
from saes.store import ActivationStore
from saes.writing import SiteRows, StoreWriter

# Writes the store of conftest.py and dies by SIGKILL at one moment of chunk 3.
KILLED = """
import os, runpy, signal, sys
import saes.disk, saes.writing
from saes.writing import StoreWriter

conftest, store_dir, moment = sys.argv[1:]
build = runpy.run_path(conftest)
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
spec = build["make_spec"]()
writer = StoreWriter(store_dir, spec)
for chunk in range(len(spec.chunks)):
    if chunk in writer.done_chunks:
        continue
    if chunk == 3 and moment == "half a shard":
        import safetensors.torch
        safetensors.torch.save_file = lambda _, path, **__: (path.write_bytes(b"half"), die())
    if chunk == 3 and moment == "shard without manifest":
        saes.writing.sha256_of = die
    if chunk == 3 and moment == "half a manifest":
        saes.disk.to_json = lambda *_: "{"
        saes.disk._flush = lambda path: die() if "manifest" in path.name else None
    writer.write(chunk, build["chunk_rows"](spec, chunk))
"""


def kill_while_writing(store_dir, moment):
    command = [sys.executable, "-c", KILLED, str(Path(__file__).with_name("conftest.py")), str(store_dir), moment]
    return subprocess.run(command, check=False, cwd=Path(__file__).parents[2]).returncode


@pytest.mark.parametrize("moment", ["half a shard", "shard without manifest", "half a manifest"])
def test_a_store_killed_by_sigkill_resumes_to_the_same_bytes(tmp_path, make_store, spec_of, rows_of, moment):
    assert kill_while_writing(tmp_path / "killed", moment) == -signal.SIGKILL
    with pytest.raises(WorkbenchError, match="unfinished: 3 of 9 chunks"):
        ActivationStore.open(tmp_path / "killed")
    spec = spec_of()
    writer = StoreWriter(tmp_path / "killed", spec)
    assert writer.done_chunks == {0, 1, 2}
    for chunk in set(range(9)) - writer.done_chunks:
        writer.write(chunk, rows_of(spec, chunk))
    resumed, whole = writer.finish(), make_store("whole")
    assert resumed.manifest == whole.manifest and resumed.fingerprint == whole.fingerprint
    assert {p.name for p in resumed.store_dir.iterdir()} == {p.name for p in whole.store_dir.iterdir()}


def test_chunks_may_come_in_any_order(tmp_path, make_store, spec_of, rows_of):
    spec = spec_of()
    writer = StoreWriter(tmp_path / "backwards", spec)
    for chunk in reversed(range(len(spec.chunks))):
        writer.write(chunk, rows_of(spec, chunk))
    assert writer.finish().manifest == make_store().manifest


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"model": "model-b"}, "model"),
        ({"n_prompts": 61}, "prompts_sha256"),
        ({"dtype": "float16"}, "dtype"),
        ({"recipe": {"seed": 1}}, "recipe"),
        ({"width": 7}, "sites"),
    ],
)
def test_a_store_of_another_spec_is_never_continued(tmp_path, spec_of, change, name):
    StoreWriter(tmp_path / "store", spec_of())
    with pytest.raises(WorkbenchError, match=f"holds a store with another {name}"):
        StoreWriter(tmp_path / "store", spec_of(**change))


def test_values_that_overflow_half_precision_are_refused_with_a_remedy(tmp_path, spec_of, rows_of):
    for dtype, fits in (("float16", False), ("bfloat16", True)):
        spec = spec_of(dtype=dtype)
        sites = rows_of(spec, 0)
        sites["text.1"].rows[0, 3] = 70_000.0  # float16 ends at 65504
        writer = StoreWriter(tmp_path / dtype, spec)
        if fits:
            writer.write(0, sites)
        else:
            with pytest.raises(WorkbenchError, match=r"text\.1 are not finite as float16.*bfloat16"):
                writer.write(0, sites)
        assert (writer.done_chunks == {0}) == fits


def test_an_empty_prompt_list_and_an_empty_site_list_are_refused(spec_of):
    with pytest.raises(WorkbenchError, match="list of prompts is empty"):
        spec_of(0)
    with pytest.raises(WorkbenchError, match="No site"):
        spec_of(sites={})


def test_a_chunk_may_have_no_rows_at_a_site(tmp_path, spec_of, rows_of):
    spec = spec_of(14)
    writer = StoreWriter(tmp_path / "store", spec)
    empty = rows_of(spec, 0)
    labels = {name: column[:0] for name, column in empty["text.2"].labels.items()}
    writer.write(0, {**empty, "text.2": SiteRows(torch.empty(0, 6), labels)})
    writer.write(1, rows_of(spec, 1))
    store = writer.finish()
    assert store.rows("text.1") == 70 and store.rows("text.2") == 35
    assert sum(len(batch) for batch in store.batches("text.2", 8)) == store.rows("text.2", "train")
    assert read_json(store.store_dir / "manifest.json")["shards"][0]["rows"]["text.2"] == [0, 0]
