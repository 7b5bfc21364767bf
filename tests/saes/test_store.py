"""Every row comes back, once an epoch, shuffled; a damaged store is named."""

import pytest
import torch

from saes.disk import read_json, write_json
from saes.errors import WorkbenchError
from saes.manifest import prompts_sha256, split_of
from saes.store import ActivationStore


def identities(rows):
    """(prompt, position) of each row, as the rows themselves say."""
    return [tuple(pair) for pair in rows[:, 1:3].int().tolist()]


def test_an_epoch_has_every_row_of_the_split_exactly_once(make_store):
    store = make_store()
    seen = {
        split: identities(torch.cat(list(store.batches("text.2", 16, split=split))))
        for split in ("train", "validation")
    }
    assert len(seen["train"]) == store.rows("text.2", "train") and len(seen["validation"]) > 0
    assert sorted(seen["train"] + seen["validation"]) == [(p, q) for p in range(60) for q in range(5)]


def test_a_prompt_lies_in_one_split_whatever_store_it_is_in(make_store):
    store = make_store()
    held_out = {prompt for prompt, _ in identities(torch.cat(list(store.batches("text.1", 8, split="validation"))))}
    assert held_out == {i for i in range(60) if split_of(f"prompt {i}", 0.1) == "validation"}
    share = sum(split_of(str(i), 0.2) == "validation" for i in range(20_000)) / 20_000
    assert abs(share - 0.2) < 0.012  # four standard deviations


def test_sites_are_kept_apart(make_store):
    store = make_store()
    for number, site in enumerate(store.sites):
        assert all((batch[:, 0] == number).all() for batch in store.batches(site, 16))


def test_labels_and_blocks_agree_with_the_rows(make_store):
    store = make_store()
    blocks = list(store.blocks("text.1", block_rows=4))
    rows, labels = torch.cat([block.rows for block in blocks]), store.labels("text.1")
    assert max(len(block.rows) for block in blocks) == 4
    for column, name in ((1, "prompt"), (2, "position")):
        assert torch.equal(rows[:, column].int(), labels[name])
        assert torch.equal(torch.cat([block.labels[name] for block in blocks]), labels[name])
    held_out = torch.cat([block.labels["prompt"] for block in store.blocks("text.1", split="validation")])
    assert set(held_out.tolist()) == {i for i in range(60) if split_of(f"prompt {i}", 0.1) == "validation"}


@pytest.mark.parametrize("buffer_bytes", [1, 40 * 256, 10**9])
def test_a_restart_at_any_cursor_goes_on_exactly_there(make_store, buffer_bytes):
    store = make_store(n_prompts=200, per_prompt=9)
    options = {"seed": 3, "epochs": None, "buffer_bytes": buffer_bytes}
    stream = store.batches("text.1", 100, **options)
    batches = [next(stream) for _ in range(40)]  # more than two epochs
    assert all(len(batch) == 100 for batch in batches)
    for start in (0, 1, 15, 16, 17, 33):
        again = store.batches("text.1", 100, start=start, **options)
        assert all(torch.equal(next(again), batch) for batch in batches[start:])


def test_epochs_and_seeds_differ_in_order_but_not_in_rows(make_store):
    store = make_store(n_prompts=80, validation_share=0.0)
    orders = [identities(torch.cat(list(store.batches("text.1", 400, seed=seed)))) for seed in (0, 1)]
    second_epoch = identities(torch.cat(list(store.batches("text.1", 400, epochs=2)))[400:])
    assert orders[0] != orders[1] != second_epoch != orders[0]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(second_epoch)


def test_shuffling_through_a_small_buffer_still_mixes_distant_prompts(make_store):
    store = make_store(n_prompts=1200, per_prompt=8, validation_share=0.0, chunk_prompts=400)
    stored = store.labels("text.1")["prompt"][:512].float()
    batch = next(store.batches("text.1", 512, buffer_bytes=8 * 256 * 6 * 4))  # eight pieces of a store of 38
    assert stored.std() < 25 and batch[:, 1].std() > 200  # all prompts: 1200/√12 = 346


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_each_dtype_comes_back_as_it_rounds(make_store, dtype):
    store, exact = make_store(dtype, dtype=dtype), make_store("exact")
    for got, rows in zip(store.blocks("text.1"), exact.blocks("text.1"), strict=True):
        assert got.rows.dtype == torch.float32
        assert torch.equal(got.rows, rows.rows.to(getattr(torch, dtype)).float())


def test_a_truncated_shard_is_named_when_the_store_is_opened(make_store):
    store = make_store()
    path = store.store_dir / "shard-000003.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WorkbenchError, match=r"shard-000003\.safetensors has \d+ bytes instead of"):
        ActivationStore.open(store.store_dir)
    path.unlink()
    with pytest.raises(WorkbenchError, match=r"shard-000003\.safetensors is missing"):
        ActivationStore.open(store.store_dir)


def test_an_altered_shard_is_named_when_it_is_read(make_store):
    store = make_store()
    path = store.store_dir / "shard-000003.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1  # one bit
    path.write_bytes(data)
    with pytest.raises(WorkbenchError, match=r"shard-000003\.safetensors was altered.*harvest again"):
        list(ActivationStore.open(store.store_dir).batches("text.1", 16))


def test_altered_prompts_and_foreign_folders_are_refused(make_store, tmp_path):
    store = make_store()
    write_json(store.store_dir / "prompts.json", ["another", *store.prompts[1:]])
    with pytest.raises(WorkbenchError, match=r"prompts\.json was altered"):
        ActivationStore.open(store.store_dir)
    with pytest.raises(WorkbenchError, match="is no activation store"):
        ActivationStore.open(tmp_path)


def test_a_manifest_with_an_unknown_field_or_format_is_refused(make_store):
    store = make_store()
    path = store.store_dir / "manifest.json"
    manifest = read_json(path)
    write_json(path, {**manifest, "modell": 1})
    with pytest.raises(WorkbenchError, match="'modell'"):
        ActivationStore.open(store.store_dir)
    write_json(path, {**manifest, "format": 99})
    with pytest.raises(WorkbenchError, match="format 99"):
        ActivationStore.open(store.store_dir)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shards": 5}, "shards: Input should be a valid tuple"),
        ({"shards": [{"chunk": 0}]}, r"shards\.0\.file: is missing"),
        ({"chunk_prompts": 0}, "chunk_prompts: Input should be greater than 0"),
        ({"n_prompts": -1}, "n_prompts: Input should be greater than 0"),
        ({"dtype": "int4"}, "dtype: Input should be 'float16'"),
        ({"validation_share": 7}, "validation_share: Input should be less than"),
        ({"sites": []}, "sites: Input should be a valid dict"),
        ({"sites": {"text.1": {"width": "6", "labels": ["prompt"]}}}, r"sites\.text\.1 has no width"),
        ({"sites": {"text.3": {"width": 6, "labels": ["prompt"]}}}, "is no shard of this store"),
        ({"model": 5}, "model: Input should be a valid string"),
    ],
)
def test_a_damaged_manifest_is_one_sentence(make_store, change, says):
    path = make_store().store_dir / "manifest.json"
    write_json(path, {**read_json(path), **change})
    with pytest.raises(WorkbenchError, match=rf"manifest\.json: .*{says}.*Remove the folder and harvest again"):
        ActivationStore.open(path.parent)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"file": "../shard-000000.safetensors"}, "is no shard of this store"),
        ({"chunk": 99, "file": "shard-000099.safetensors"}, "is no shard of this store"),
        ({"sha256": "abc"}, r"shards\.0\.sha256"),
        ({"bytes": -1}, r"shards\.0\.bytes"),
        ({"rows": {"text.1": [1], "text.2": [1, 2]}}, r"shards\.0\.rows\.text\.1"),
    ],
)
def test_a_shard_that_cannot_be_is_one_sentence(make_store, change, says):
    path = make_store().store_dir / "manifest.json"
    manifest = read_json(path)
    write_json(path, {**manifest, "shards": [{**manifest["shards"][0], **change}, *manifest["shards"][1:]]})
    with pytest.raises(WorkbenchError, match=says):
        ActivationStore.open(path.parent)


@pytest.mark.parametrize("content", [5, ["a", 5], {"a": "b"}])
def test_prompts_that_are_no_texts_are_named(make_store, content):
    store = make_store()
    write_json(store.store_dir / "prompts.json", content)
    with pytest.raises(WorkbenchError, match=r"prompts\.json is no list of texts"):
        ActivationStore.open(store.store_dir)


def test_wrong_site_wrong_model_and_an_empty_split_are_clear(make_store):
    store = make_store(validation_share=0.0)
    with pytest.raises(WorkbenchError, match=r"Did you mean 'text\.2'"):
        store.width("text.22")
    with pytest.raises(WorkbenchError, match="another model"):
        store.check_model("model-b")
    store.check_model("model-a")
    with pytest.raises(WorkbenchError, match="no validation rows"):
        next(store.batches("text.1", 4, split="validation"))


def test_the_hash_of_prompts_sees_order_and_borders():
    assert len({prompts_sha256(p) for p in (["ab", "c"], ["a", "bc"], ["c", "ab"], ["ab", "c", ""])}) == 4
