"""A store that was killed while it was written is finished without loss or duplicates."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from saes.locks import working_in
from saes.store import ActivationStore
from saes.writing import SiteRows, StoreWriter, finished

# Writes the store of conftest.py, or every second chunk of it, and dies by SIGKILL at one moment.
WRITES = """
import os, runpy, signal, sys
import saes.disk, saes.writing
from saes.locks import working_in
from saes.writing import StoreWriter

conftest, store_dir, moment, first, step = sys.argv[1:]
build = runpy.run_path(conftest)
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
spec = build["make_spec"]()
with working_in(store_dir, together=step != "1"):
    writer = StoreWriter(store_dir, spec)
    for chunk in range(int(first), len(spec.chunks), int(step)):
        if chunk in writer.done_chunks:
            continue
        if chunk == 3 and moment == "half a shard":
            import safetensors.torch
            safetensors.torch.save_file = lambda _, path, **__: (path.write_bytes(b"half"), die())
        if chunk == 3 and moment == "a shard without its record":
            saes.writing.write_record = die
        if chunk == 3 and moment == "half a record":
            saes.disk.to_json = lambda *_: "{"
            saes.disk._flush = lambda path: die() if path.name.startswith(".shard-000003.json") else None
        writer.write(chunk, build["chunk_rows"](spec, chunk))
    if moment == "records beside the manifest":
        saes.writing.remove_records = die
    writer.finish() if step == "1" else print("through", flush=True)
"""


def writing(store_dir, moment="", first=0, step=1):
    """A process that writes every `step`-th chunk from `first` on."""
    words = [str(Path(__file__).with_name("conftest.py")), str(store_dir), moment, str(first), str(step)]
    return subprocess.Popen([sys.executable, "-c", WRITES, *words], cwd=Path(__file__).parents[2])


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("moment", ["half a shard", "a shard without its record", "half a record"])
def test_a_store_killed_by_sigkill_resumes_to_the_same_bytes(tmp_path, make_store, spec_of, rows_of, moment):
    assert writing(tmp_path / "killed", moment).wait() == -signal.SIGKILL
    with pytest.raises(WorkbenchError, match="unfinished: 3 of 9 chunks"):
        ActivationStore.open(tmp_path / "killed")
    spec = spec_of()
    assert finished(tmp_path / "killed", spec) is None
    with working_in(tmp_path / "killed"):
        writer = StoreWriter(tmp_path / "killed", spec)
        assert writer.done_chunks == {0, 1, 2}
        for chunk in set(range(9)) - writer.done_chunks:
            writer.write(chunk, rows_of(spec, chunk))
        resumed = writer.finish()
    whole = make_store("whole")
    assert resumed.manifest == whole.manifest and resumed.fingerprint == whole.fingerprint
    assert names(resumed.store_dir) == names(whole.store_dir)
    assert finished(tmp_path / "killed", spec).fingerprint == whole.fingerprint


def test_a_store_killed_while_it_was_finished_is_whole(tmp_path, make_store, spec_of):
    assert writing(tmp_path / "killed", "records beside the manifest").wait() == -signal.SIGKILL
    whole = make_store("whole")
    assert ActivationStore.open(tmp_path / "killed").fingerprint == whole.fingerprint
    assert finished(tmp_path / "killed", spec_of()) is None  # records are left to be removed
    with working_in(tmp_path / "killed"):
        StoreWriter(tmp_path / "killed", spec_of()).finish()
    assert names(tmp_path / "killed") == names(whole.store_dir)


@pytest.mark.slow
def test_two_processes_fill_one_store_and_a_kill_of_one_loses_nothing_of_the_other(tmp_path, make_store):
    odd, even = (writing(tmp_path / "shared", "half a shard", first, 2) for first in (1, 0))
    assert (odd.wait(), even.wait()) == (-signal.SIGKILL, 0)
    with pytest.raises(WorkbenchError, match="unfinished: 6 of 9 chunks"):  # 0, 2, 4, 6, 8 and 1
        ActivationStore.open(tmp_path / "shared")
    again = [writing(tmp_path / "shared", "", first, 2) for first in (1, 0)]
    assert [child.wait() for child in again] == [0, 0]
    assert writing(tmp_path / "shared").wait() == 0
    shared, whole = ActivationStore.open(tmp_path / "shared"), make_store("whole")
    assert shared.manifest == whole.manifest and names(shared.store_dir) == names(whole.store_dir)
    for name in names(whole.store_dir):
        assert (shared.store_dir / name).read_bytes() == (whole.store_dir / name).read_bytes(), name


def test_an_unfinished_store_of_an_earlier_version_goes_on(tmp_path, make_store, spec_of, rows_of):
    """Its manifest names the shards that are there; records did not exist."""
    whole = make_store("whole")
    old = tmp_path / "old"
    shutil.copytree(whole.store_dir, old)
    manifest = read_json(old / "manifest.json")
    write_json(old / "manifest.json", {**manifest, "shards": manifest["shards"][:4]})
    for number in range(4, 9):
        (old / f"shard-{number:06d}.safetensors").unlink()
    writer = StoreWriter(old, spec_of())
    assert writer.done_chunks == {0, 1, 2, 3}
    for chunk in range(4, 9):
        writer.write(chunk, rows_of(spec_of(), chunk))
    assert writer.finish().manifest == whole.manifest and names(old) == names(whole.store_dir)


def test_a_second_writer_with_other_prompts_harms_nothing(tmp_path, make_store, spec_of):
    whole = make_store("store")
    with pytest.raises(WorkbenchError, match="another prompts_sha256"):
        StoreWriter(whole.store_dir, spec_of(61))
    assert ActivationStore.open(whole.store_dir).prompts == whole.prompts


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


def test_what_no_store_can_be_is_refused(spec_of):
    for changes in ({"chunk_prompts": 0}, {"validation_share": 1.5}, {"validation_share": float("nan")}):
        with pytest.raises(WorkbenchError, match="cannot be"):
            spec_of(**changes)
    with pytest.raises(WorkbenchError, match=r"Prompt 1: a text holds half a character .U\+D800"):
        spec_of(prompts=("a fox", "a \ud800 fox"))
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
