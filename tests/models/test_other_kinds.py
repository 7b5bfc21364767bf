"""What is general works on a model that is no diffusion: sites, edits, readings, stores, identity, evaluation."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.sketch import SIDE, sketch
from workbench.activations.harvest import harvest
from workbench.concepts import Concept
from workbench.erasure import METHODS, find_method
from workbench.hooks import SiteEdit


@pytest.fixture(scope="module")
def model():
    return sketch()


def test_a_picture_depends_on_its_prompt_and_seed_alone(model):
    together = model.generate(["a fox", "a cat"], [1, 2])
    assert np.array_equal(model.generate("a fox", 1), together[:1])
    assert not np.array_equal(together[0], together[1])
    assert np.array_equal(model.generate(model.token_ids("a fox"), 1), together[:1])


def test_the_clock_counts_the_patches_and_has_no_timestep(model):
    with model.session(record=["lm.out"]) as session:
        model.generate(["a fox", "a cat"], [1, 2])
    clocks = [clock for clock, _ in session.records["lm.out"]]
    assert [(clock.step.index, clock.step.of, clock.timestep) for clock in clocks] == [
        (index, SIDE**2, None) for index in range(SIDE**2)
    ]
    assert clocks[3].prompts == ("a fox", "a cat")


def test_sites_of_both_sides_are_edited_and_come_back(model):
    plain = model.generate("a fox", 1)
    for alias in ("text.0", "lm.out"):
        with model.session(edits=[SiteEdit(model.site(alias), lambda x, clock: 3 * x.flip(-1))]):
            assert not np.array_equal(model.generate("a fox", 1), plain)
    assert np.array_equal(model.generate("a fox", 1), plain)


def test_identity_knows_its_weights(model):
    one, other = sketch(), sketch()
    assert one.identity == other.identity == model.identity
    with torch.no_grad():
        other.pipe.writer.head.weight[0, 0] += 1
    assert other.identity.differences(one.identity) == ["weights"]


def test_text_sites_are_harvested(model, tmp_path):
    store = harvest(model, ["a fox", "a cat"], ["text.1"], tmp_path / "store")
    assert store.rows("text.1") == 2 * model.site("text.1").positions


def test_a_picture_site_is_harvested_call_by_call(model, tmp_path):
    store = harvest(model, ["a fox", "a cat"], ["lm.out"], tmp_path / "store", pixel_rate=1.0)
    assert store.rows("lm.out") == 2 * SIDE**2
    assert sorted(set(store.labels("lm.out")["call"].tolist())) == list(range(SIDE**2))


@pytest.mark.parametrize("name", METHODS)
def test_methods_say_what_it_lacks(model, name):
    supports = find_method(name).supports
    if name != "steerer":
        with pytest.raises(WorkbenchError, match="does not work on sketch"):
            supports.check(name, model, [Concept("fox", anchor="cat", retain=["dog"])])
