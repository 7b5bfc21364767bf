"""Pictures follow from scenes alone, vary with the seed, and masks lie where the things are."""

from dataclasses import replace

import numpy as np
import pytest

from workbench.toy.render import render
from workbench.toy.scenes import Placed, Scene, random_scene
from workbench.toy.world import ARTISTS, CHARACTERS, COLOURS, IMAGE_SIZE, IMPLICIT, THINGS

FOX = Scene(3, (Placed("fox", "blue"),))


def test_equal_scenes_give_equal_pixels_and_other_seeds_others():
    rng = np.random.default_rng(0)
    for scene in [random_scene(rng) for _ in range(8)]:
        assert np.array_equal(render(scene).image, render(scene).image)
    assert not np.array_equal(render(FOX).image, render(replace(FOX, seed=4)).image)


@pytest.mark.parametrize("thing", THINGS)
def test_the_mask_covers_the_thing_and_its_colour_is_the_commonest_hue_there(thing):
    for number, (colour, rgb) in enumerate(COLOURS.items()):
        image, (mask,) = render(Scene(number, (Placed(thing, colour),)))
        assert image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3) and 0.05 < mask.mean() < 0.6
        inside = image[mask] / 255
        near = np.linalg.norm(inside - np.array(rgb), axis=1)
        others = [np.linalg.norm(inside - np.array(other), axis=1) for name, other in COLOURS.items() if name != colour]
        share = (near < 0.45) & np.all([near <= other for other in others], axis=0)
        assert share.mean() > 0.2, (thing, colour)


def test_two_things_stand_side_by_side_with_masks_of_their_own():
    _, (left, right) = render(Scene(0, (Placed("cat", "red"), Placed("mug", "blue"))))
    assert np.nonzero(left)[1].mean() < IMAGE_SIZE / 2 < np.nonzero(right)[1].mean()
    assert (left & right).sum() < 0.1 * left.sum()


@pytest.mark.parametrize("artist", ARTISTS)
def test_each_artist_changes_the_whole_picture(artist):
    plain, painted = render(FOX).image.astype(float), render(replace(FOX, artist=artist)).image.astype(float)
    assert (np.abs(plain - painted).mean(2) > 8).mean() > 0.5


@pytest.mark.parametrize("mark", IMPLICIT)
def test_each_mark_changes_its_corner_and_leaves_the_rest(mark):
    changed = np.abs(render(FOX).image.astype(int) - render(replace(FOX, marks=(mark,))).image.astype(int)).max(2) > 0
    assert 0.02 < changed.mean() < 0.25


def test_slime_covers_part_of_the_thing():
    _, (mask,) = render(FOX)
    changed = np.abs(render(FOX).image.astype(int) - render(replace(FOX, slime=True)).image.astype(int)).max(2) > 25
    assert 0.1 < changed[mask].mean() < 0.9


def test_a_character_keeps_its_looks_over_seeds():
    """Two pictures of one character are nearer to each other than to those of others, on average."""
    faces = {
        name: np.stack(
            [render(Scene(s, person=c.looks, character=name, shirt="red")).image[8:36, 10:38] for s in range(6)]
        )
        / 255
        for name, c in CHARACTERS.items()
    }
    means = {name: stack.mean(0) for name, stack in faces.items()}
    for name, stack in faces.items():
        own = np.abs(stack - means[name]).mean()
        assert all(own < np.abs(stack - other).mean() for key, other in means.items() if key != name)
