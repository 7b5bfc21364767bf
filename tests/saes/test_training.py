"""Training with sae-lens's classes: it learns, resumes to the same bits, and leaves a folder that sae-lens opens."""

import json
import multiprocessing
import os
import resource
import socket
from pathlib import Path
from typing import get_args

import pytest
import sae_lens
import torch

import saes
from saes.architectures import make_trainer
from saes.calibration import moments
from saes.config import Architecture, SAEConfig
from saes.disk import read_tensors
from saes.errors import WorkbenchError
from saes.files import load
from saes.training import train

ARCHITECTURES = get_args(Architecture)


def config(architecture="topk", steps=300, **changes):
    values = {"d_sae": 32, "k": 3, "batch_size": 256, "lr": 3e-3, "samples": 256 * steps}
    return SAEConfig(**{"architecture": architecture, **values, **changes})


def stops_after(steps, watch=lambda: None):
    """A progress that interrupts the run as Ctrl-C would."""

    def progress(items, label="", total=None):
        for done, item in enumerate(items):
            watch()
            if done == steps:
                raise KeyboardInterrupt
            yield item

    return progress


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_architecture_learns_and_plain_sae_lens_opens_it(sparse_store, tmp_path, architecture):
    ours = train(sparse_store, "text.2", config(architecture), tmp_path / "sae")
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "sae")
    rows = torch.cat(list(sparse_store.batches("text.2", 256, split="validation")))
    assert torch.equal(theirs(rows), ours(rows))
    error = float((ours(rows).double() - rows).square().sum() / (rows - rows.mean(0)).double().square().sum())
    assert 1 - error > 0.75  # the mean alone, from which every run begins, explains 0
    metadata = theirs.cfg.metadata
    assert metadata.metrics["explained_variance"] == pytest.approx(1 - error, abs=1e-6)
    assert metadata.metrics["l0"] == pytest.approx(float((ours.encode(rows) != 0).sum(1).double().mean()))
    if architecture not in ("standard", "gated"):  # these have a penalty only; the others have a k, which was 3
        assert metadata.metrics["l0"] == pytest.approx(3, abs=0.75)
    assert metadata.training_architecture == architecture
    assert (metadata.hook_name, metadata.hf_hook_name) == ("text.2", "text_encoder.layers.2")
    assert (metadata.model_name, metadata.harvest) == ("model-a", {"seed": 0})
    assert int(metadata.sae_lens_version.split(".")[0]) >= 6


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_interrupted_run_ends_with_the_same_bits(sparse_store, tmp_path, architecture):
    settings = config(architecture, steps=60, warm_up=0.3, decay=0.4, dead_window=10)
    options = {"checkpoint_every": 16, "log_every": 4}
    train(sparse_store, "text.2", settings, tmp_path / "whole", **options)
    for steps in (21, 25):  # at step 21, back to 16; then at step 41, back to 32
        with pytest.raises(KeyboardInterrupt):
            train(sparse_store, "text.2", settings, tmp_path / "resumed", progress=stops_after(steps), **options)
        assert not (tmp_path / "resumed" / "cfg.json").exists()
    train(sparse_store, "text.2", settings, tmp_path / "resumed", **options)
    files = {path.name for path in (tmp_path / "whole").iterdir()}
    assert files == {path.name for path in (tmp_path / "resumed").iterdir()}
    tensors = {"sae_weights.safetensors", "sparsity.safetensors"}
    assert files == tensors | {"cfg.json", "hashes.json", "metrics.jsonl", "training.json"}
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes(), name


def test_another_seed_gives_other_weights(sparse_store, tmp_path):
    first, second = (train(sparse_store, "text.2", config(steps=5, seed=s), tmp_path / str(s)) for s in (0, 1))
    assert not torch.equal(first.W_enc, second.W_enc)


def test_metrics_are_written_live_and_nothing_is_pickled(sparse_store, tmp_path):
    seen = []

    def watch():
        seen.extend(path.suffix for path in (tmp_path / "sae").rglob("[!.]*") if path.is_file())
        counts.append(len((tmp_path / "sae" / "metrics.jsonl").read_text().splitlines()))

    counts: list[int] = []
    options = {"checkpoint_every": 10, "log_every": 5, "progress": stops_after(1000, watch)}
    train(sparse_store, "text.2", config(steps=30), tmp_path / "sae", **options)
    assert counts == [step // 5 for step in range(30)]
    assert set(seen) == {".json", ".jsonl", ".safetensors"}
    lines = [json.loads(line) for line in (tmp_path / "sae" / "metrics.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines] == [256 * step for step in range(5, 31, 5)]
    assert lines[-1]["explained_variance"] > lines[0]["explained_variance"]
    assert set(lines[0]) == {"step", "samples", "loss", "mse", "explained_variance", "l0", "dead", "lr"}


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk"])
def test_the_threshold_of_a_short_run_gives_the_l0_that_was_trained(sparse_store, tmp_path, architecture):
    short = config(architecture, steps=60)
    ours = train(sparse_store, "text.2", short, tmp_path / "sae")
    rows = torch.cat(list(sparse_store.batches("text.2", 256, split="validation")))
    assert (ours.encode(rows) != 0).sum(1).double().mean() == pytest.approx(3, abs=0.01)
    # What sae-lens's own moving average would have left behind:
    trainer = make_trainer(short, *moments(sparse_store.batches("text.2", 256)), "cpu")
    batches = sparse_store.batches("text.2", 256, epochs=None)
    for _ in range(60):
        trainer.step(next(batches))
    trainer.sae.fold_activation_norm_scaling_factor(trainer.activation_scaler.scaling_factor)
    trainer.sae.save_inference_model(tmp_path / "theirs")
    assert (load(tmp_path / "theirs").encode(rows) != 0).sum(1).double().mean() > 4.5


def test_the_decoder_bias_begins_at_the_mean_of_the_data(sparse_store):
    rows = torch.cat(list(sparse_store.batches("text.2", 256)))
    mean, scale = moments(sparse_store.batches("text.2", 256))
    trainer = make_trainer(config(), mean, scale, "cpu")
    torch.testing.assert_close(mean, rows.mean(0))
    assert ((rows - mean) * scale).square().mean().item() == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(trainer.sae.b_dec.data / scale, rows.mean(0))
    assert rows.mean(0).norm() > 5


def test_a_finished_run_is_opened_not_trained_again(sparse_store, tmp_path):
    first = train(sparse_store, "text.2", config(steps=5), tmp_path / "sae")
    again = train(sparse_store, "text.2", config(steps=5), tmp_path / "sae", progress=stops_after(0))
    assert torch.equal(first.W_dec, again.W_dec)


def test_a_folder_of_another_run_is_refused(sparse_store, tmp_path):
    train(sparse_store, "text.2", config(steps=5), tmp_path / "sae")
    with pytest.raises(WorkbenchError, match="something else than this run"):
        train(sparse_store, "text.2", config(steps=6), tmp_path / "sae")
    with pytest.raises(WorkbenchError, match="exists already"):
        train(sparse_store, "text.2", config(steps=5), tmp_path / "sae", resume=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(WorkbenchError, match="something else than this run"):
        train(sparse_store, "text.2", config(steps=5), tmp_path / "mine")


def test_a_folder_killed_before_it_was_named_is_taken(sparse_store, tmp_path):
    (tmp_path / "sae").mkdir()
    for left in (".lock", ".training.json.0123abcd.part"):
        (tmp_path / "sae" / left).touch()
    train(sparse_store, "text.2", config(steps=5), tmp_path / "sae")
    assert not list((tmp_path / "sae").glob(".*"))


def test_what_a_kill_left_of_a_finished_run_is_swept(sparse_store, tmp_path):
    train(sparse_store, "text.2", config(steps=5), tmp_path / "sae")
    whole = {path.name for path in (tmp_path / "sae").iterdir()}
    (tmp_path / "sae" / "checkpoint-00000004").mkdir()
    (tmp_path / "sae" / ".checkpoint-00000004.0123abcd.part").mkdir()
    train(sparse_store, "text.2", config(steps=5), tmp_path / "sae", progress=stops_after(0))
    assert {path.name for path in (tmp_path / "sae").iterdir()} == whole


def test_of_two_trainings_in_one_folder_one_works_and_the_other_says_so(sparse_store, tmp_path):
    said = multiprocessing.get_context("fork").Queue()

    def second():
        try:
            train(sparse_store, "text.2", config(steps=20), tmp_path / "sae")
        except WorkbenchError as error:
            said.put(str(error))

    def watch():
        if not said_so:
            child = multiprocessing.get_context("fork").Process(target=second)
            child.start()
            said_so.append(said.get(timeout=60))
            child.join()

    said_so: list[str] = []
    options = {"checkpoint_every": 5, "log_every": 5}
    train(sparse_store, "text.2", config(steps=20), tmp_path / "sae", progress=stops_after(1000, watch), **options)
    assert said_so == [
        f"{tmp_path / 'sae'} is being worked in by process {os.getpid()} on {socket.gethostname()}. "
        "Wait until it ends, or choose another folder."
    ]
    lines = [json.loads(line) for line in (tmp_path / "sae" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]


@pytest.mark.parametrize("every", [1, 1000])
def test_a_training_that_diverges_ends_with_a_sentence(sparse_store, tmp_path, every):
    wild = config("standard", sparsity=1e38, warm_up=0.0, steps=20)
    says = r"sae diverged: at step \d+ .*(the loss is (nan|inf)|weights are no longer finite)\. Choose a smaller lr"
    with pytest.raises(WorkbenchError, match=says):
        train(sparse_store, "text.2", wild, tmp_path / "sae", checkpoint_every=every, log_every=every)
    left = {path.suffix for path in (tmp_path / "sae").rglob("*.*")}
    assert not (tmp_path / "sae" / "cfg.json").exists() and left <= {".json", ".jsonl", ".safetensors"}
    for path in (tmp_path / "sae").rglob("state.safetensors"):  # no checkpoint holds what cannot be trained on
        assert all(tensor.isfinite().all() for tensor in read_tensors(path).values())


def test_a_log_goes_on_after_half_a_line(sparse_store, tmp_path):
    options = {"checkpoint_every": 10, "log_every": 5}
    with pytest.raises(KeyboardInterrupt):
        train(sparse_store, "text.2", config(steps=20), tmp_path / "sae", progress=stops_after(12), **options)
    with (tmp_path / "sae" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 15, "samp')
    train(sparse_store, "text.2", config(steps=20), tmp_path / "sae", **options)
    lines = [json.loads(line) for line in (tmp_path / "sae" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]


@pytest.fixture
def half_a_gigabyte():
    """The process may take half a GiB more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**29, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_an_sae_that_memory_has_no_room_for_is_one_sentence(sparse_store, tmp_path, half_a_gigabyte):
    large = SAEConfig(d_sae=2**24, batch_size=256, samples=256)
    with pytest.raises(WorkbenchError, match=r"not enough memory to train this\. Choose a smaller d_sae"):
        train(sparse_store, "text.2", large, tmp_path / "sae")


def test_unknown_sites_and_empty_splits_fail_before_any_work(sparse_store, make_store, tmp_path):
    with pytest.raises(WorkbenchError, match="Did you mean"):
        train(sparse_store, "text.3", config(), tmp_path / "sae")
    with pytest.raises(WorkbenchError, match="no validation rows"):
        train(make_store(validation_share=0.0), "text.1", config(), tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


def test_constant_activations_are_refused():
    with pytest.raises(WorkbenchError, match="All activations are equal"):
        moments([torch.full((4, 3), 7.0)] * 2)


def test_the_package_offers_what_the_contract_names():
    assert saes.train is train and saes.load is load and saes.SAEConfig is SAEConfig
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = saes.trian
