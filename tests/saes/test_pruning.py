"""Pruned SAEs do the same with fewer latents."""

from typing import get_args

import pytest
import sae_lens
import torch
from torch.testing import assert_close

from saes.config import Architecture, SAEConfig
from saes.errors import WorkbenchError
from saes.pruning import fires, pruned
from saes.training import train

WIDE = {"d_sae": 64, "k": 3, "batch_size": 256, "lr": 3e-3, "samples": 256 * 40, "dead_window": 1000}


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_only_latents_that_fire_are_left_and_outputs_stay(sparse_store, tmp_path, architecture):
    whole = train(sparse_store, "text.2", SAEConfig(architecture=architecture, **WIDE), tmp_path / "whole")
    rows = next(iter(sparse_store.batches("text.2", 256)))[:2]
    alive = fires(whole, [rows])
    small = pruned(whole, alive)
    assert small.cfg.d_sae == int(alive.sum()) < 64
    assert_close(small.encode(rows), whole.encode(rows)[:, alive])
    assert_close(small(rows), whole(rows))


def test_training_prunes_at_its_end_and_sae_lens_opens_what_is_left(sparse_store, tmp_path):
    ours = train(sparse_store, "text.2", SAEConfig(**WIDE, prune=True), tmp_path / "sae")
    rows = torch.cat(list(sparse_store.batches("text.2", 256)))
    assert bool(fires(ours, [rows]).all()) and ours.cfg.d_sae < 64
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "sae")
    assert_close(theirs(rows), ours(rows))
    assert theirs.cfg.metadata.training["d_sae"] == 64


def test_an_sae_without_enough_living_latents_is_refused(sparse_store, tmp_path):
    whole = train(sparse_store, "text.2", SAEConfig(**WIDE), tmp_path / "sae")
    with pytest.raises(WorkbenchError, match="Only 2 latents"):
        pruned(whole, torch.arange(64) < 2)
