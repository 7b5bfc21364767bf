"""The oracle as a voter, on renders whose content is known."""

import numpy as np
import pytest

from saes.errors import WorkbenchError
from workbench.erasure.voters import find_voter
from workbench.toy.render import render
from workbench.toy.scenes import Scene
from workbench.toy.voting import vote
from workbench.toy.world import CHARACTERS


def test_people_are_told_apart_and_what_is_no_picture_has_no_vote():
    people = [who.looks for who in CHARACTERS.values()]
    images = np.stack([render(Scene(seed, person=looks, shirt="blue")).image for seed, looks in enumerate(people)])
    noise = np.random.default_rng(0).integers(0, 256, (2, *images.shape[1:]), dtype=np.uint8)
    votes = vote(np.concatenate([images, noise]), ("man", "woman"))
    expected = [("man", "woman").index(looks.gender) for looks in people]
    assert (votes[: len(people)] == expected).mean() >= 7 / 8
    assert votes[len(people) :].tolist() == [-1, -1]


def test_an_attribute_that_the_oracle_does_not_know_is_refused():
    assert find_voter("toy") is vote
    with pytest.raises(WorkbenchError, match="Did you mean 'woman'"):
        vote(np.zeros((1, 48, 48, 3), np.uint8), ("womn", "man"))
