"""The checks on the toy: factors are what captions ask for, and a trained SAE is told from random weights."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from saes.errors import WorkbenchError
from saes.sweep import grid, train_all
from workbench.toy.captions import examples
from workbench.toy.checks import CHECKS, HUES, OBJECTS, check_all, either, factors, relatives
from workbench.toy.world import ARTISTS, CHARACTERS, COLOURS, THINGS

SHIPPED = Path(__file__).parents[2] / "workbench/toy/weights/saes"
SEEDS = {"seed": [0, 1]}


def test_factors_are_what_captions_ask_for():
    drawn = examples(400, seed=5)
    known = factors(drawn)
    assert set(known) == {*THINGS, *ARTISTS, *CHARACTERS, *COLOURS, "slime"}
    named = {artist: (artist, *ARTISTS[artist].synonyms) for artist in ARTISTS}
    named |= {who: (who, *CHARACTERS[who].synonyms) for who in CHARACTERS}
    named |= {colour: (colour,) for colour in COLOURS}
    for name, words in named.items():
        said = [any(f" {word} " in f" {example.caption} " for word in words) for example in drawn]
        assert known[name].tolist() == said, name
    assert known["slime"].sum() > 5
    left_open = torch.tensor([example.caption.startswith("a painting by") for example in drawn])
    for thing in THINGS:
        shown = torch.tensor([thing in {item.thing for item in example.scene.objects} for example in drawn])
        assert torch.equal(known[thing], shown & ~left_open), thing
    assert left_open.any()


def test_relatives_share_a_concept():
    known = factors(examples(100))
    pairs = relatives(known)
    assert len(pairs) == len(THINGS) / 2 and set(OBJECTS) < set(pairs)
    assert torch.equal(pairs["cat or fox"], known["cat"] | known["fox"])
    assert list(either(known, HUES)) == ["red or pink", "blue or purple", "yellow or green"]


def test_examples_are_the_same_for_one_seed():
    assert examples(20, 3) == examples(20, 3) != examples(20, 4)
    assert [example.caption for example in examples(30, 3)][:20] == [example.caption for example in examples(20, 3)]


@pytest.fixture(scope="module")
def toy_store(tmp_path_factory):
    import workbench as wb

    drawn = examples(1400)
    prompts = [example.caption for example in drawn]
    return drawn, wb.harvest(wb.load("toy"), prompts, ["text.2"], tmp_path_factory.mktemp("toy") / "store")


@pytest.mark.slow
def test_a_trained_sae_holds_factors_that_random_weights_and_neurons_do_not(toy_store, tmp_path):
    drawn, store = toy_store
    shutil.copytree(SHIPPED / "text.2", tmp_path / "text.2")
    checks = check_all(store, pd.DataFrame([{"sae": "text.2", "site": "text.2"}]), tmp_path, drawn)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / CHECKS), checks)
    trained, random = (row for _, row in checks.iterrows())
    assert (trained["weights"], random["weights"]) == ("trained", "random weights")
    assert trained["accuracy_1"] > 0.95 > random["accuracy_1"] + 0.02 > trained["neurons_1"] + 0.04
    assert trained["neurons_1"] == random["neurons_1"] and trained["dense"] > 0.9
    assert trained["tpp"] > 2 * random["tpp"] > 0
    assert trained["latents"] < random["latents"] and 0 <= trained["absorbed"] < 0.1
    assert trained["stability"] != trained["stability"]  # alone


@pytest.mark.slow
def test_stability_is_that_of_saes_of_other_seeds(toy_store, tmp_path):
    drawn, store = toy_store
    table = train_all(store, ["text.2"], grid({"d_sae": 48, "k": 8, "samples": 40_000}, SEEDS), tmp_path)
    checks = check_all(store, table, tmp_path, drawn).set_index(["sae", "weights"])["stability"]
    for seed in (0, 1):
        name = f"text.2/seed{seed}"
        assert checks[name, "trained"] > checks[name, "random weights"] + 0.1
    assert checks["text.2/seed0", "trained"] == pytest.approx(checks["text.2/seed1", "trained"], abs=0.05)


@pytest.mark.slow
def test_a_store_of_other_prompts_and_too_few_captions_are_refused(toy_store, tmp_path):
    drawn, store = toy_store
    table = pd.DataFrame([{"sae": "text.2", "site": "text.2"}])
    with pytest.raises(WorkbenchError, match="other prompts"):
        check_all(store, table, tmp_path, drawn[1:])
    import workbench as wb

    few = wb.harvest(wb.load("toy"), [e.caption for e in drawn[:60]], ["text.2"], tmp_path / "few")
    with pytest.raises(WorkbenchError, match="too few"):
        check_all(few, table, tmp_path, drawn[:60])
