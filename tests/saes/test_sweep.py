"""A sweep gives the same SAEs as training each alone, reads each batch once, and survives a kill."""

import pandas as pd
import pytest
import torch

from saes.config import SAEConfig
from saes.errors import WorkbenchError
from saes.files import load
from saes.metrics import evaluate_sae
from saes.store import ActivationStore
from saes.sweep import TABLE, grid, log_density, train_all
from saes.training import train

BASE = {"samples": 64 * 20, "batch_size": 64, "lr": 3e-3, "d_sae": 24, "k": 4}
VARY = {"architecture": ["topk", "batchtopk"], "k": [2, 3]}
FILES = ("cfg.json", "sae_weights.safetensors", "sparsity.safetensors", "metrics.jsonl", "training.json")


@pytest.fixture
def store(make_store) -> ActivationStore:
    """Two sites of unlike rows."""
    return make_store(per_prompt=20)


def stops_after(steps):
    def progress(items, label="", total=None):
        for done, item in enumerate(items):
            if done == steps:
                raise KeyboardInterrupt
            yield item

    return progress


def test_a_grid_is_every_combination_in_one_order_of_rows():
    configs = grid(BASE, {"architecture": ["topk", "gated"], "seed": [0, 5]})
    assert list(configs) == ["topk-seed0", "topk-seed5", "gated-seed0", "gated-seed5"]
    assert configs["gated-seed5"] == SAEConfig(**BASE, architecture="gated", seed=5, order=0)
    assert {config.order_seed for config in configs.values()} == {0}
    assert list(grid(BASE, {})) == ["sae"]
    with pytest.raises(WorkbenchError, match="Did you mean 'lr'"):
        grid(BASE, {"lt": [1.0]})
    with pytest.raises(WorkbenchError, match="k must not exceed d_sae"):
        grid(BASE, VARY | {"k": [25]})


def test_each_sae_has_the_bits_that_it_gets_alone(store, tmp_path):
    configs = grid(BASE, VARY | {"samples": [64 * 12, 64 * 20]})
    train_all(store, store.sites, configs, tmp_path / "sweep")
    for site in store.sites:
        for name, config in configs.items():
            train(store, site, config, tmp_path / "alone" / site / name)
            for file in FILES:
                folders = (tmp_path / each / site / name for each in ("sweep", "alone"))
                assert len({(folder / file).read_bytes() for folder in folders}) == 1, (site, name, file)


def test_every_training_batch_is_read_once_for_all_saes_of_a_site(store, tmp_path, monkeypatch):
    taken: list[str] = []
    whole = ActivationStore.batches

    def counted(self, site, batch_size, **options):
        for batch in whole(self, site, batch_size, **options):
            if options.get("epochs", 1) is None:
                taken.append(site)
            yield batch

    monkeypatch.setattr(ActivationStore, "batches", counted)
    train_all(store, store.sites, grid(BASE, VARY), tmp_path / "sweep")
    assert taken == ["text.1", "text.2"] * 20  # sites take turns, so that the store is gone through once


def test_a_sweep_that_is_killed_twice_ends_with_the_same_bits(store, tmp_path):
    configs = grid(BASE, VARY | {"samples": [64 * 12, 64 * 20]})
    whole = train_all(store, store.sites, configs, tmp_path / "whole")
    for steps in (7, 9):  # in the second run the shorter half has finished
        with pytest.raises(KeyboardInterrupt):
            options = {"checkpoint_every": 5, "progress": stops_after(steps)}
            train_all(store, store.sites, configs, tmp_path / "resumed", **options)
    assert (tmp_path / "resumed/text.1/topk-k2-samples768/cfg.json").exists()
    again = train_all(store, store.sites, configs, tmp_path / "resumed", checkpoint_every=5)
    pd.testing.assert_frame_equal(whole, again)
    for path in (tmp_path / "whole").rglob("*.*"):
        if path.is_file() and path.name != TABLE:
            assert path.read_bytes() == (tmp_path / "resumed" / path.relative_to(tmp_path / "whole")).read_bytes(), path
    assert not list((tmp_path / "resumed").rglob(".*"))  # neither locks nor leftovers
    silent = train_all(store, store.sites, configs, tmp_path / "resumed", progress=stops_after(0))
    pd.testing.assert_frame_equal(whole, silent)  # a finished sweep takes no step


def test_a_kill_between_two_checkpoints_of_one_step_costs_nothing(store, tmp_path):
    import shutil

    configs = grid(BASE, {"k": [2, 3]})
    whole = train_all(store, ["text.1"], configs, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_all(store, ["text.1"], configs, tmp_path / "torn", checkpoint_every=5, progress=stops_after(12))
    (late,) = (tmp_path / "torn/text.1/k3").glob("checkpoint-*")
    shutil.rmtree(late)  # as if this SAE had not yet been saved once
    pd.testing.assert_frame_equal(train_all(store, ["text.1"], configs, tmp_path / "torn"), whole)
    for name in configs:
        files = (tmp_path / each / "text.1" / name / "sae_weights.safetensors" for each in ("whole", "torn"))
        assert len({file.read_bytes() for file in files}) == 1


def test_the_table_says_what_an_evaluation_says(store, tmp_path):
    table = train_all(store, ["text.2"], grid(BASE, VARY), tmp_path / "sweep")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "sweep" / TABLE), table)
    assert table["sae"].tolist() == ["text.2/topk-k2", "text.2/topk-k3", "text.2/batchtopk-k2", "text.2/batchtopk-k3"]
    assert table["k"].tolist() == [2, 3, 2, 3] and set(table["site"]) == {"text.2"}
    for row in table.itertuples():
        sae = load(tmp_path / "sweep" / row.sae)
        measured = evaluate_sae(sae, store.batches("text.2", 64, split="validation"))
        assert (row.l0, row.explained_variance, row.cosine) == (
            measured.l0,
            measured.explained_variance,
            measured.cosine,
        )
        assert (row.dead_share, row.dense_share) == (measured.dead_share, measured.dense_share)
        density = torch.where(measured.density > 0, measured.density.log10(), -10.0)
        torch.testing.assert_close(log_density(tmp_path / "sweep" / row.sae), density)


def test_another_sweep_in_the_folder_is_refused_before_any_step(store, tmp_path):
    train_all(store, ["text.2"], grid(BASE, {"k": [2]}), tmp_path / "sweep")
    with pytest.raises(WorkbenchError, match="something else than this run"):
        train_all(store, ["text.2"], grid(BASE | {"lr": 1e-4}, {"k": [2]}), tmp_path / "sweep")
    with pytest.raises(WorkbenchError, match="Did you mean 'text"):
        train_all(store, ["text.2", "text.3"], grid(BASE, {"k": [2]}), tmp_path / "new")
    assert not (tmp_path / "new").exists()
