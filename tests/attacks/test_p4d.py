"""P4D: its loss against the unedited model, nearest tokens with a straight gradient, where its free tokens stand."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.attacks.double import FOX, double
from tests.attacks.small import EDIT, ROWS, Always
from workbench.attacks.attack import Budget
from workbench.attacks.controls import Nothing
from workbench.attacks.p4d import P4D, Points
from workbench.attacks.pursuit import Chase
from workbench.attacks.reach import Lesson, Noisy, reaching, unedited
from workbench.attacks.token_search import TokenSearch
from workbench.attacks.tokens import FREE, content, slots, vocabulary
from workbench.erasure.sld import SLD
from workbench.models.diffusion.prediction import noised


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return double("sd1", tmp_path_factory.mktemp("double"))


def points(model, count=3, chases=2):
    return Points.drawn(
        P4D(), vocabulary(model, Nothing()), [count] * chases, [torch.Generator().manual_seed(n) for n in range(chases)]
    )


def test_free_tokens_are_alone_or_before_every_three_of_the_prompt():
    assert P4D(tokens=4).prompt([1, 2, 3]) == [FREE] * 4
    assert P4D(variant="k").prompt([1, 2, 3, 4]) == [FREE, 1, 2, 3, FREE, 4]
    assert P4D(variant="k", every=1).prompt([1, 2]) == [FREE, 1, FREE, 2]


def test_the_model_is_shown_the_nearest_token_and_its_gradient_moves_the_point(model):
    free = points(model)
    table, moved = free.words.table, free.parameters[1]
    with torch.no_grad():
        moved += 0.1 * torch.randn(moved.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ids, embeddings = free.chosen([1])
    unit = torch.nn.functional.normalize
    cosines = (unit(moved) @ unit(table).T).masked_fill(~free.words.allowed, -2)
    assert torch.equal(ids, cosines.argmax(dim=1)) and torch.equal(ids, free.settled(1))
    assert_close(embeddings, table[ids])
    upstream = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    (embeddings * upstream).sum().backward()
    assert_close(moved.grad, upstream)


def lesson_of(model, edit, rows, draw):
    x0, noise = torch.randn(2, len(rows), 4, 16, 16, generator=draw, dtype=torch.float64)
    seen = Noisy(x0, noise, 333)
    with torch.no_grad():
        return Lesson(seen, unedited(model, edit)(seen, [row.prompt for row in rows]).noise)


@pytest.mark.parametrize("edit", ["nothing", "guidance"])
def test_the_loss_is_nothing_for_the_prompt_itself_in_a_model_that_is_not_edited(model, edit):
    """(1) with ε̂ = ε_b, E_e = E_b and P = p, in plain and in guided predictions; it is something for other words."""
    change = EDIT.no_op() if edit == "nothing" else SLD().fit(model, [FOX]).no_op()
    rows = ROWS[:2]
    own = [content(model, row.prompt) for row in rows]
    prompts = slots(model, [[FREE] * len(ids) for ids in own])
    free = points(model, 5)
    lesson = lesson_of(model, change, rows, torch.Generator().manual_seed(6))
    found = TokenSearch(
        model, change, "hard", None, rows, [Chase(0, None), Chase(1, None)], prompts, free, lambda *_: [lesson]
    )
    with torch.no_grad(), reaching(model, change, "hard") as reach:
        assert found.losses(reach, [0, 1], lesson).min() > 1e-6
        for parameter, ids in zip(free.parameters, own, strict=True):
            parameter.data = free.words.table[ids].clone()
        assert found.losses(reach, [0, 1], lesson).max() < 1e-20


def test_what_is_wanted_is_what_the_unedited_model_predicts_of_its_own_picture(tiny_sd1, monkeypatch):
    """(1) for the lessons of a real attack: z_t from the model's own picture, at timesteps that all prompts share."""
    seen = []
    improve = TokenSearch.improve

    def noted(self, chases, number):
        seen.append((chases, self.lessons(chases, number)))
        improve(self, chases, number)

    monkeypatch.setattr(TokenSearch, "improve", noted)
    P4D(tokens=2).attempts(tiny_sd1, EDIT, ROWS[:2], Always(False), budget=Budget(2, 6), steps=2)
    x0 = tiny_sd1.latents(tiny_sd1.generate([row.prompt for row in ROWS[:2]], [0, 1], steps=2))
    times = [lesson.seen.timestep for _, lessons in seen for lesson in lessons]
    assert len(times) == 6 and len(set(times)) == 6 and all(0 <= t < 1000 for t in times)
    for lesson in seen[0][1]:
        assert_close(lesson.seen.x0, x0)
        z = noised(tiny_sd1.pipe.scheduler, x0, lesson.seen.noise, lesson.seen.timestep)
        with torch.no_grad():
            wanted = tiny_sd1.noise_prediction(z, lesson.seen.timestep, tiny_sd1.encode([r.prompt for r in ROWS[:2]]))
        assert_close(lesson.aim, wanted)


def test_points_begin_at_tokens_that_may_be_chosen(model):
    free = points(model, 40, 1)
    ids = free.settled(0)
    assert free.words.allowed[ids].all() and torch.equal(free.parameters[0].detach(), free.words.table[ids])
    assert len(set(ids.tolist())) > 10


def test_bad_input_is_a_sentence_each(tiny_sd1):
    with pytest.raises(WorkbenchError, match="every 50 is never"):
        P4D(steps=40)
    with pytest.raises(WorkbenchError, match="no room for 16 more"):
        P4D().attempts(tiny_sd1, EDIT, ROWS, Always(True), budget=Budget(1, 1))
    for wrong in ({"every": 0}, {"lr": -1.0}):
        with pytest.raises(WorkbenchError):
            P4D(**wrong)
