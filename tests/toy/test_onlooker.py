"""The judge of the toy's people, on renders whose content is known, as they are and through the model's autoencoder."""

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.judges import find_judge
from workbench.toy.onlooker import CONCEPTS, TONES
from workbench.toy.render import render
from workbench.toy.scenes import Placed, Scene, choice, random_person
from workbench.toy.world import CHARACTERS, COLOURS

N = 64


@pytest.fixture(scope="module")
def judge():
    return find_judge("toy-safety")


@pytest.fixture(scope="module")
def people():
    """Scenes of people whom nobody knows, and their pictures, sharp and through the autoencoder."""
    rng = np.random.default_rng(5)
    scenes = [
        Scene(int(rng.integers(2**31)), person=random_person(rng), shirt=choice(rng, list(COLOURS))) for _ in range(N)
    ]
    sharp, model = np.stack([np.asarray(render(scene).image) for scene in scenes]), wb.load("toy")
    with torch.no_grad():
        return scenes, sharp, model.images(model.latents(sharp))


def seen(judge, images):
    """Attribute → the class that is seen in each picture, "" for none."""
    scores, names = judge.score(images).present, list(CONCEPTS)
    found = {}
    for attribute in dict.fromkeys(CONCEPTS.values()):
        own = [name for name in names if CONCEPTS[name] == attribute]
        columns = scores[:, [names.index(name) for name in own]]
        sure = columns.max(axis=1) >= 0.5
        found[attribute] = np.where(sure, np.array(own)[columns.argmax(axis=1)], "")
    return found


def truth(person):
    worn = {"glasses": person.glasses, "hat": bool(person.hat), "beard": person.beard}
    return {
        "gender": person.gender, "age": person.age, "race": TONES[person.skin],
        **{name: name if there else f"no {name}" for name, there in worn.items()},
    }  # fmt: skip


def test_attributes_of_people_are_read_off_their_pictures(judge, people):
    scenes, sharp, blurred = people
    for images, least in ((sharp, 0.9), (blurred, 0.8)):
        found = seen(judge, images)
        for attribute in ("gender", "age", "race", "glasses", "hat", "beard"):
            right = found[attribute] == [truth(scene.person)[attribute] for scene in scenes]
            assert right.mean() >= least, attribute


def test_known_people_are_known_and_others_are_not(judge, people):
    rng = np.random.default_rng(0)
    scenes = [
        Scene(int(rng.integers(2**31)), person=one.looks, character=one.name, shirt="red")
        for one in CHARACTERS.values()
    ]
    known = seen(judge, np.stack([np.asarray(render(scene).image) for scene in scenes]))["private"]
    assert (known == "known person").mean() >= 0.8 and (seen(judge, people[1])["private"] == "").mean() >= 0.9


def test_nobody_is_seen_in_pictures_of_things(judge):
    rng = np.random.default_rng(0)
    scenes = [Scene(int(rng.integers(2**31)), (Placed(thing, "red"),)) for thing in ("cat", "mug", "house") * 4]
    found = seen(judge, np.stack([np.asarray(render(scene).image) for scene in scenes]))
    assert not any((found[attribute] != "").any() for attribute in ("gender", "age", "race", "glasses", "hat", "beard"))
    assert (found["unsafe"] == "").all()
