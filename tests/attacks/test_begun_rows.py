"""Noised, of a Janus: pictures begun with the first rows of one of the concept, and what they are held against."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.attacks.janus import moved
from tests.attacks.small import ROWS, Always
from tests.tiny_janus import CELLS, SIDE
from workbench.attacks import attack_of
from workbench.attacks.attack import Budget
from workbench.attacks.begun_rows import GREY, OtherRows, tokens_given
from workbench.attacks.controls import Nothing
from workbench.attacks.noised import Noised
from workbench.concepts import Concept
from workbench.models import Continued

STARTS = (0.75, 0.5)


class Wary(Always):
    """Sees the concept in every picture but those of the given rows with grey behind them."""

    def __init__(self, model):
        object.__setattr__(self, "seen", True)
        own = model.sample_codes([row.prompt for row in ROWS], [row.seed for row in ROWS])
        grey = model.codes(np.full((1, model.image_size, model.image_size, 3), GREY, np.uint8)).expand(len(ROWS), -1)
        whole = [model.pictures(torch.cat([own[:, :n], grey[:, n:]], dim=1)) for n in (SIDE, 2 * SIDE)]
        object.__setattr__(self, "alone", {one.tobytes() for images in whole for one in images})

    def score(self, images, prompts):
        found = Always(True).score(images, prompts)
        found.present[[one.tobytes() in self.alone for one in images]] = 0.0
        return found


def attempts(model, attack, judge, rows=ROWS, images=8, edit=None):
    return attack.attempts(model, edit or moved(model), rows, judge, budget=Budget(images=images))


@pytest.mark.parametrize(
    ("starts", "wanted"),
    [((1.0, 0.75, 0.5), [0, 4, 8]), ((0.9, 0.3, 0.01), [0, 8, 12]), ((0.76, 0.99), [0]), ((0.25,), [12])],
)
def test_whole_rows_are_given_and_at_least_one_is_left(tiny_janus, starts, wanted):
    assert SIDE == 4 and tokens_given(tiny_janus, starts) == wanted


def test_the_edited_model_goes_on_from_the_rows_that_the_unedited_one_wrote(tiny_janus):
    found = attempts(tiny_janus, Noised(starts=STARTS, prompt="a dog"), Always(False))
    own = tiny_janus.sample_codes([row.prompt for row in ROWS], [row.seed for row in ROWS])
    for one, codes in zip(found, own, strict=True):
        assert isinstance(one.given, Continued) and one.given.prompts == ["a dog"] == [one.prompt]
        assert torch.equal(one.given.codes, codes[None, : 2 * SIDE]), "the last start, since none succeeded"
        assert (one.images, one.gradients, one.success) == (2, 0, False)


def test_the_start_with_the_fewest_rows_is_kept(tiny_janus):
    for one in attempts(tiny_janus, Noised(starts=STARTS), Wary(tiny_janus)):
        assert (one.success, one.images, one.given.codes.shape[1]) == (True, 1, SIDE)


def test_a_start_whose_rows_alone_show_the_concept_is_left_out_for_every_model(tiny_janus):
    """What is given is not what is judged."""
    for edit in (moved(tiny_janus), Nothing()):
        for one, row in zip(attempts(tiny_janus, Noised(starts=STARTS), Always(True), edit=edit), ROWS, strict=True):
            assert (one.success, one.images, one.given, one.prompt) == (False, 0, None, row.prompt)


def test_its_control_begins_with_as_many_rows_of_other_pictures(tiny_janus):
    attack = Noised(starts=STARTS, prompt="a dog", others=("bear", "owl"))
    control = attack.control(tiny_janus, ROWS, ())
    assert control == OtherRows(starts=STARTS, prompt="a dog", others=("bear", "owl"))
    asked = [control.asked(row, 0) for row in ROWS]
    assert set(asked) <= {"a photo of a bear", "a photo of an owl"} and asked == [control.asked(row, 0) for row in ROWS]
    assert control.asked(replace(ROWS[0], prompt="a dog"), 0) in ("bear", "owl")
    assert replace(control, others=()).asked(ROWS[0], 0) == "a dog"
    given = []
    with pytest.MonkeyPatch.context() as patch:
        sample = tiny_janus.sample_codes
        patch.setattr(
            tiny_janus, "sample_codes",
            lambda prompts, seeds, **told: given.append((prompts, tiny_janus.is_edited, sample(prompts, seeds, **told)))
            or given[-1][2],
        )  # fmt: skip
        found = attempts(tiny_janus, control, Always(False))
    prompts, edited, codes = given[0]
    assert prompts == asked and not edited, "drawn by the unedited model"
    for one, own in zip(found, codes, strict=True):
        assert torch.equal(one.given.codes, own[None, : 2 * SIDE]) and (one.images, one.success) == (2, False)


def test_a_denoiser_has_no_such_control_and_a_concept_brings_the_others(tiny_sd1):
    assert Noised().control(tiny_sd1, ROWS, ()) is None
    made = attack_of("noised", Concept("fox", anchor="cat", retain=["dog"]))
    assert made.others == ("cat", "dog")


def test_pictures_of_a_folder_are_begun_by_the_models_own_tokens(tiny_janus, tmp_path):
    from PIL import Image

    size, rng = tiny_janus.image_size, np.random.default_rng(0)
    for name in ("fox", "cat"):
        (tmp_path / name).mkdir()
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(tmp_path / name / "0.png")
    found = attempts(tiny_janus, Noised(starts=(0.5,), pictures=str(tmp_path)), Always(False))
    for one, row in zip(found, ROWS, strict=True):
        codes = tiny_janus.codes(np.array(Image.open(tmp_path / row.expected / "0.png"))[None])
        assert torch.equal(one.given.codes, codes[:, : CELLS // 2])
    with pytest.raises(WorkbenchError, match="no picture of fox"):
        attempts(tiny_janus, Noised(pictures=str(tmp_path / "none")), Always(False))
