"""Edits of guidance as values, and their controls: nothing at all, or as much at a right angle."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.edits import ComposedEdit, load_edit
from workbench.edits.bake import bake
from workbench.edits.controls import right_angle, rotation
from workbench.edits.guidance import GuidanceEdit, turned
from workbench.edits.prompt import turned_prompt
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.erasure.sld import SLD
from workbench.models.diffusion.guiding import Guide, Joined

FOX = Concept("fox")


@pytest.fixture(params=[SLD(strength="max"), NegativePrompt()], ids=["guidance", "prompt"])
def edit(request, tiny_sd1):
    return request.param.fit(tiny_sd1, [FOX])


def images(model, edit):
    with model.edited(edit):
        return model.generate("a red dog", [1, 2], guidance_scale=30.0)


def at(change, place):
    return change[0, :, place, place]


@pytest.mark.parametrize("width", [2, 4, 16])
def test_a_right_angle_keeps_every_length_and_is_orthogonal_to_every_vector(width):
    turn = right_angle(rotation(width, torch.Generator().manual_seed(1)))
    x = torch.randn(50, width, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert_close((x @ turn.T).norm(dim=1), x.norm(dim=1))
    assert (x * (x @ turn.T)).sum(dim=1).abs().max() < 1e-12


def test_the_control_moves_a_prediction_as_far_at_every_place_and_at_a_right_angle(tiny_sd1):
    edit = SLD(strength="max").fit(tiny_sd1, [FOX])
    turn = edit.random(seed=3).tensors["turn"]
    draw = torch.Generator().manual_seed(0)
    uncond, cond, safe = (torch.randn(1, 4, 3, 3, generator=draw) for _ in range(3))
    guide = Guide(lambda steps: lambda joined, safe, call: joined._replace(cond=joined.cond - safe), "fox")
    own = guide.begin(1)(Joined(uncond, cond), safe, 0).cond - cond
    got = turned(guide, turn)
    assert got.prompt == "fox"
    change = got.begin(1)(Joined(uncond, cond), safe, 0)
    assert torch.equal(change.uncond, uncond)
    for place in range(3):
        assert_close(at(change.cond - cond, place).norm(), at(own, place).norm())
        assert abs(float(at(change.cond - cond, place) @ at(own, place))) < 1e-5
    negative = turned_prompt(turn)
    assert negative.prompt == ""
    change = negative.begin(1)(Joined(uncond, cond), safe, 0)  # the negative prompt's row, and the empty prompt's
    assert torch.equal(change.cond, cond)
    for place in range(3):
        assert_close(at(change.uncond - safe, place).norm(), at(uncond - safe, place).norm())
        assert abs(float(at(change.uncond - safe, place) @ at(uncond - safe, place))) < 1e-5


def test_controls_in_pictures(tiny_sd1, edit):
    plain = tiny_sd1.generate("a red dog", [1, 2], guidance_scale=30.0)
    assert np.array_equal(images(tiny_sd1, edit.no_op()), plain)
    control = edit.random(seed=1)
    assert control.method.startswith("random directions like") and control.text == edit.text
    made = [images(tiny_sd1, one) for one in (edit, control, edit.random(seed=2))]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not np.array_equal(made[first], made[second])
    assert not any(np.array_equal(one, plain) for one in made)


def test_a_control_survives_the_disk_within_a_composed_edit(tiny_sd1, edit, tmp_path):
    whole = ComposedEdit([edit.random(seed=1), edit])
    whole.save(tmp_path / "edit")
    loaded = load_edit(tmp_path / "edit")
    assert torch.equal(loaded.parts[0].tensors["turn"], whole.parts[0].tensors["turn"])
    assert loaded.settings == whole.settings and loaded.method == whole.method
    assert np.array_equal(images(tiny_sd1, loaded), images(tiny_sd1, whole))


def test_contents_name_the_branch_and_nothing_can_be_baked(tiny_sd1, edit, tmp_path):
    (row,) = edit.rows(tiny_sd1)
    assert row["text"] == "fox"
    with pytest.raises(WorkbenchError, match="acts while the model runs and is not in weights"):
        bake(tiny_sd1, edit, tmp_path / "baked")
    assert "fox" in edit._repr_html_()


def test_other_models_and_unknown_rules_are_refused(tiny_sd2, tiny_flux, edit):
    with pytest.raises(WorkbenchError, match="another model"), tiny_sd2.edited(edit):
        pass
    there = type(edit)(**{**vars(edit), "base_fingerprint": tiny_flux.fingerprint})
    with pytest.raises(WorkbenchError, match="without unconditional rows"):
        there.check(tiny_flux)
    if isinstance(edit, GuidanceEdit):
        with pytest.raises(WorkbenchError, match="sld:RULE'"):
            GuidanceEdit(**{**vars(edit), "rule": "workbench.erasure.sld:RULES"})
