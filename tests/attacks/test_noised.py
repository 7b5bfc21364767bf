"""Noised: sampling starts from the noised picture, from the noisiest on, and the start is what is kept."""

import numpy as np
import pytest
import torch
from PIL import Image

from saes.errors import WorkbenchError
from tests.attacks.small import EDIT, ROWS, Always
from workbench.attacks.attack import Budget, own_generator
from workbench.attacks.noised import Noised
from workbench.attacks.pictures import pictures_for
from workbench.models import Begun


def attempts(model, attack, judge, images=8, **told):
    return attack.attempts(model, EDIT, ROWS, judge, budget=Budget(images=images), steps=4, **told)


def test_the_noisiest_start_that_works_is_kept(tiny_sd1):
    attack = Noised(starts=(0.9, 0.7, 0.5))
    for judge, images, timestep in ((Always(True), 1, 900.0), (Always(False), 3, 500.0)):
        for one in attempts(tiny_sd1, attack, judge):
            assert isinstance(one.given, Begun)
            assert (one.images, one.given.timestep, one.prompt) == (images, timestep, "")
    assert {one.given.timestep for one in attempts(tiny_sd1, attack, Always(False), images=2)} == {700.0}


def test_it_begins_with_the_picture_of_the_row_by_the_unedited_model(tiny_sd1):
    (first, *_) = attempts(tiny_sd1, Noised(prompt="a dog"), Always(True))
    picture = tiny_sd1.generate(ROWS[0].prompt, ROWS[0].seed, steps=4)
    torch.testing.assert_close(first.given.latents, tiny_sd1.latents(picture).cpu(), rtol=1e-3, atol=1e-3)
    drawn = torch.randn(first.given.noise.shape[1:], generator=own_generator(ROWS[0], 0, "noise"))
    assert torch.equal(first.given.noise[0], drawn) and first.given.prompts == ["a dog"]


def test_pictures_of_a_folder_go_by_the_concept(tiny_sd1, tmp_path):
    size, rng = tiny_sd1.image_size, np.random.default_rng(0)
    for name, number in (("fox", 0), ("fox", 1), ("cat", 2)):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(tmp_path / name / f"{number}.png")
    given = pictures_for(tiny_sd1, ROWS, str(tmp_path), 0)
    assert np.array_equal(given[1], np.asarray(Image.open(tmp_path / "cat/2.png")))
    foxes = [np.asarray(Image.open(tmp_path / f"fox/{number}.png")) for number in (0, 1)]
    assert all(any(np.array_equal(given[row], fox) for fox in foxes) for row in (0, 2))
    assert np.array_equal(pictures_for(tiny_sd1, ROWS[::-1], str(tmp_path), 0)[::-1], given)
    assert len(Noised(pictures=str(tmp_path)).inputs()) == 3
    with pytest.raises(WorkbenchError, match="no picture of fox"):
        pictures_for(tiny_sd1, ROWS, str(tmp_path / "nowhere"), 0)


@pytest.mark.parametrize("starts", [(), (0.0,), (1.5,)])
def test_what_is_no_start_is_refused(starts):
    with pytest.raises(WorkbenchError, match="starts are"):
        Noised(starts=starts)
