"""CCE: only the new token learns, from the noise of pictures or, through guidance, from guided predictions."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.attacks.double import FOX, double
from tests.attacks.small import EDIT, ROWS, Always
from workbench.attacks.attack import Budget
from workbench.attacks.cce import CCE, Inversion, Key, lengths_of, replaced
from workbench.attacks.reach import reaching, unedited
from workbench.attacks.tokens import FREE, content
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.erasure.sld import SLD
from workbench.models import TokenEmbeddings
from workbench.models.diffusion.prediction import noised

SMALL = {"n": 3, "batch": 2, "accumulate": 1, "steps": 40, "checks": 1, "lr": 0.02, "history": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return double("sd1", tmp_path_factory.mktemp("double"))


def inversion(model, edit, rows=ROWS, monkeypatch=None, **told):
    """The search of an attack, as it is after its rounds."""
    made = []
    attack = CCE(**{**SMALL, **told})
    with pytest.MonkeyPatch.context() as patch:
        improve = Inversion.improve
        patch.setattr(Inversion, "improve", lambda self, *given: (made.append(self), improve(self, *given))[1])
        attempts = attack.attempts(model, edit, rows, Always(False), budget=Budget(1, attack.steps), steps=2)
    return made[0], attempts


def test_only_the_new_vector_learns_and_the_loss_of_its_pictures_falls(model):
    table = model.architecture.token_tables[0].weight
    before = table.detach().clone()
    found, attempts = inversion(model, EDIT)
    assert torch.equal(table, before)
    fox = found.vectors[Key("fox", None)]
    start = before[content(model, "art")].mean(dim=0)
    assert not torch.allclose(fox.v, start)
    (whole,) = attempts[0].given.embeddings
    plain = model.token_embeddings(ROWS[0].prompt)
    (place,) = (~(whole[0] == plain.embeddings[0][0]).all(dim=1)).nonzero().tolist()
    assert place == [5] and torch.equal(whole[0, 5], fox.v), "a photo of a <v>"
    lessons = [found.lesson([Key("fox", None)], 1000 + number) for number in range(12)]
    with torch.no_grad(), reaching(model, EDIT, "hard") as reach:
        after = torch.stack([found.losses(reach, [Key("fox", None)], one) for one in lessons]).mean()
        fox.v.data = start.clone()
        earlier = torch.stack([found.losses(reach, [Key("fox", None)], one) for one in lessons]).mean()
    assert after < earlier


def test_rows_of_one_concept_share_a_vector_and_other_concepts_have_their_own(model):
    found, attempts = inversion(model, EDIT, steps=2)
    assert list(found.vectors) == [Key("fox", None), Key("cat", None)]
    first, second, third = (one.given.embeddings[0][0, 5] for one in attempts)
    assert torch.equal(first, third) and not torch.allclose(first, second)
    assert [one.gradients for one in attempts] == [2, 2, 2]
    assert [one.prompt for one in attempts] == ["a photo of a <v>"] * 3


def test_the_loss_is_the_noise_that_the_edited_model_does_not_see(model):
    """(1) for the template with v in the place of the name."""
    found, _ = inversion(model, EDIT, rows=ROWS[:1], steps=2)
    key = Key("fox", None)
    lesson = found.lesson([key], 7)
    assert lesson.aim is lesson.seen.noise and len(lesson.seen.x0) == 2
    given = model.token_embeddings(["a photo of a fox"] * 2)
    embeddings = given.embeddings[0].clone()
    embeddings[:, 5] = found.vectors[key].v.detach()
    with torch.no_grad(), reaching(model, EDIT, "hard") as reach:
        got = found.losses(reach, [key], lesson)
        z = noised(model.pipe.scheduler, *lesson.seen)
        wanted = model.noise_prediction(
            z, lesson.seen.timestep, model.encode(TokenEmbeddings(given.ids, (embeddings,)))
        )
    assert_close(got, (lesson.seen.noise - wanted).square().mean()[None])


@pytest.mark.parametrize("method", [SLD, NegativePrompt])
def test_through_an_edit_of_guidance_guided_predictions_of_the_concept_are_wanted(model, method):
    """(2): of the unedited model, and with the concept's own words."""
    edit = method().fit(model, [FOX])
    found, _ = inversion(model, edit, rows=ROWS[:1], steps=2)
    key = Key("fox", None)
    lesson = found.lesson([key], 3)
    z, t = noised(model.pipe.scheduler, *lesson.seen), lesson.seen.timestep
    with torch.no_grad():
        uncond = model.noise_prediction(z, t, model.encode("", "uncond"))
        cond = model.noise_prediction(z, t, model.encode(["a photo of a fox"] * 2))
        assert_close(lesson.aim, uncond + 7.5 * (cond - uncond))
        fox = found.vectors[key]
        fox.v.data = model.token_embeddings("fox").embeddings[0][0, 1].clone()
        with reaching(model, edit, "hard") as reach:
            through = found.losses(reach, [key], lesson)
        plain = found.losses(unedited(model, edit), [key], lesson)
    assert plain < 1e-20 < 1e-6 < through, "without the edit the name itself is the answer"


def test_v_takes_the_place_of_the_name_wherever_it_is_and_that_of_a_prompt_without_it(tiny_sd1):
    template, row = "a photo of a {} by a dog", replace(ROWS[0], expected="red fox")
    words = {word: content(tiny_sd1, word)[0] for word in ("a", "photo", "of", "fox", "red", "by", "dog")}

    def found(prompt):
        names = {token: word for word, token in words.items()} | {FREE: "<v>"}
        return " ".join(names[token] for token in replaced(tiny_sd1, replace(row, prompt=prompt), template))

    assert found("a fox by a red fox") == "a fox by a <v>"
    assert found("red fox of a red fox by a dog") == "red fox of a <v> by a dog", "the last name counts"
    assert found("a dog") == found("a fox") == "a photo of a <v> by a dog"


def test_its_control_is_as_long_and_in_the_same_place_and_nothing_is_drawn_before_there_is_a_length(model):
    attack = CCE(**SMALL)
    assert attack.control(model, ROWS, ()) is None
    attempts = attack.attempts(model, EDIT, ROWS, Always(False), budget=Budget(1, 8), steps=2)
    control = attack.control(model, ROWS, attempts)
    own = [lengths_of(model, row, attack.template, one.given)[0] for row, one in zip(ROWS, attempts, strict=True)]
    assert control.lengths == (pytest.approx(sum(own) / len(own), abs=1e-5),)
    first, second = (
        control.attempts(model, EDIT, ROWS[:1], Always(False), budget=Budget(images), steps=2)[0] for images in (1, 2)
    )
    plain = model.token_embeddings(ROWS[0].prompt).embeddings[0]
    for one in (first, second):
        assert one.prompt == "a photo of a <v>" and lengths_of(model, ROWS[0], attack.template, one.given) == [
            pytest.approx(control.lengths[0], rel=1e-5)
        ]
        assert (one.given.embeddings[0] != plain).any(dim=-1).nonzero().tolist() == [[0, 5]]
    assert not torch.equal(first.given.embeddings[0], second.given.embeddings[0]), "each draw is another direction"


def test_a_step_is_taken_after_so_many_passes_and_after_the_last(model):
    found, _ = inversion(model, EDIT, rows=ROWS[:1], steps=2, accumulate=1)
    steps = []
    found.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    found.attack, found.passes = replace(found.attack, accumulate=3), 7
    found.improve([0], 5)
    assert len(steps) == 3


def test_bad_input_is_a_sentence_each(tiny_sd1):
    with pytest.raises(WorkbenchError, match="no single place"):
        CCE(template="a photo")
    with pytest.raises(WorkbenchError, match="is no token"):
        CCE(**{**SMALL, "init": ""}).attempts(tiny_sd1, EDIT, ROWS, Always(True), budget=Budget(1, 1), steps=2)
    for wrong in ({"n": 0}, {"lr": 0.0}, {"history": -1}):
        with pytest.raises(WorkbenchError):
            CCE(**wrong)
