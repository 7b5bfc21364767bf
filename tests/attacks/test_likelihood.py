"""What a Janus says of a picture's tokens, in float64 against transformers called directly; attacks that go by it."""

import pytest
import torch
from torch.testing import assert_close

from tests.attacks.janus import janus, moved
from tests.attacks.small import ROWS, Always
from tests.tiny_janus import CELLS, CODES, PAD
from workbench.attacks.attack import Budget
from workbench.attacks.cce import CCE, Inversion, Key
from workbench.attacks.controls import Nothing
from workbench.attacks.lessons import teacher_for
from workbench.attacks.likelihood import Likelihood, Written, surprise
from workbench.attacks.p4d import P4D
from workbench.attacks.reach import check_reached, reaching
from workbench.attacks.token_search import TokenSearch
from workbench.attacks.tokens import FREE, content, prefixed, slots, vocabulary
from workbench.attacks.unlearn_diff_atk import UnlearnDiffAtk
from workbench.evaluation.suites import SuiteRow
from workbench.hooks import SiteEdit
from workbench.models import TokenEmbeddings, load

PROMPTS = ["a photo of a fox", "a cat"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return janus(tmp_path_factory.mktemp("double"))


@pytest.fixture(scope="module")
def edit(model):
    return moved(model)


def pictures(rows, seed=0):
    return torch.randint(CODES, (rows, CELLS), generator=torch.Generator().manual_seed(seed))


def direct(model, embeddings, codes):
    """Logits of one picture behind one prompt, by transformers alone."""
    whole = model.pipe.whole
    drawn = whole.prepare_embeddings_for_image_generation(codes[None, :-1])
    out = model.pipe.language_model(inputs_embeds=torch.cat([embeddings, drawn], dim=1)).last_hidden_state
    return whole.model.generation_head(out[:, -len(codes) :])[0]


def words(model, text):
    """A prompt alone, with its unconditional row: pads between the begin tokens of text and image."""
    (ids,) = model.token_ids(text).ids
    others = ids.clone()
    others[0, 1:-1] = PAD
    table = model.pipe.language_model.embed_tokens
    return table(ids), table(others)


@pytest.mark.parametrize("scale", [1.0, 3.0, -0.5])
@torch.no_grad()
def test_the_likelihood_is_that_of_guided_logits_after_the_tokens_before(model, edit, scale):
    """(1) and (2), each picture alone and without padding, token after token."""
    codes = pictures(2)
    with reaching(model, edit, "hard", guidance_scale=scale) as reach:
        got = reach.losses(Written(codes, codes), PROMPTS)
        wanted = []
        for text, own in zip(PROMPTS, codes, strict=True):
            cond, uncond = (direct(model, one, own) for one in words(model, text))
            z = uncond + scale * (cond - uncond)
            p = z.exp() / z.exp().sum(dim=1, keepdim=True)
            wanted.append(-sum(torch.log(p[i, c]) for i, c in enumerate(own.tolist())) / CELLS)
    assert_close(got, torch.stack(wanted), rtol=1e-9, atol=1e-9)
    with reaching(model, Nothing(), "hard", guidance_scale=scale) as plain:
        assert (plain.losses(Written(codes, codes), PROMPTS) - got).abs().min() > 1e-3, "the edit is seen"


def test_the_scale_is_the_models_own_if_nobody_says_another(model):
    codes = pictures(1)
    with torch.no_grad():
        given = [Likelihood(model, scale).said(codes, "a fox") for scale in (None, model.defaults.guidance_scale, 1.0)]
    assert torch.equal(given[0], given[1]) and not torch.allclose(given[0], given[2])


def test_the_divergence_is_nothing_for_the_same_distributions_and_by_hand_for_others():
    """(3), where some tokens are impossible to the other model."""
    p = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]], dtype=torch.float64)
    q = torch.tensor([[[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]]], dtype=torch.float64)
    assert_close(surprise(p.log(), q), torch.tensor([0.5 * torch.log(torch.tensor(2.0)).double() / 2]))
    assert surprise(p.log(), p).abs().max() < 1e-15
    codes = torch.tensor([[2, 0]])
    one_hot = torch.nn.functional.one_hot(codes, 3).double()
    assert_close(surprise(p.log(), codes), surprise(p.log(), one_hot))


def test_gradients_of_a_prompt_are_those_of_finite_differences(model, edit):
    codes, given = pictures(1), model.token_embeddings("a fox")
    leaf = given.embeddings[0].clone().requires_grad_()
    direction = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with reaching(model, edit, "hard") as reach:

        def loss(x):
            return reach.losses(Written(codes, codes), TokenEmbeddings(given.ids, (x,))).sum()

        (gradient,) = torch.autograd.grad(loss(leaf), leaf)
        with torch.no_grad():
            h = 1e-3  # the norms of the language model compute in float32
            slope = (loss(leaf + h * direction) - loss(leaf - h * direction)) / (2 * h)
    assert_close((gradient * direction).sum(), slope, rtol=2e-3, atol=0)
    assert slope.abs() > 1e-3


def test_an_edit_of_the_unconditional_rows_alone_is_seen(model):
    """As a negative prompt is one: without guidance in the loss nothing would tell it from no edit."""

    class Uncond:
        def installed(self, model):
            def change(x, clock):
                mine = torch.tensor([role == "uncond" for role in clock.roles])[:, None, None]
                return torch.where(mine, x * 2, x)

            return model.session(edits=[SiteEdit(model.site("lm.1"), change)])

    codes, losses = pictures(1), []
    for one in (Uncond(), Nothing()):
        with torch.no_grad(), reaching(model, one, "hard") as reach:
            losses.append(float(reach.losses(Written(codes, codes), ["a fox"])))
    assert abs(losses[0] - losses[1]) > 1e-3


def test_what_no_gradient_passes_is_refused(model, edit):
    class Blocking:
        def installed(self, model):
            return model.session(edits=[SiteEdit(model.site("lm.0"), lambda x, clock: x.detach() * 1.5)])

    from saes.errors import WorkbenchError

    with pytest.raises(WorkbenchError, match="P4D follows gradients, and through this edit none comes back"):
        check_reached(model, Blocking(), "a fox", "P4D", "hard")
    check_reached(model, edit, "a fox", "P4D", "hard")


def noted(monkeypatch):
    """What attacks on tokens are taught."""
    seen = []
    improve = TokenSearch.improve

    def watch(self, chases, number):
        seen.append((self, self.lessons(chases, number)))
        improve(self, chases, number)

    monkeypatch.setattr(TokenSearch, "improve", watch)
    return seen


def test_a_prefix_is_to_make_the_tokens_likely_that_the_unedited_model_wrote(model, edit, monkeypatch):
    """Not those that its decoder and encoder make of them."""
    seen = noted(monkeypatch)
    attack = UnlearnDiffAtk(tokens=2, lr=0.2)
    (found, *_) = attack.attempts(model, edit, ROWS[:2], Always(False), budget=Budget(2, 8))
    wanted = model.sample_codes([row.prompt for row in ROWS[:2]], [row.seed for row in ROWS[:2]])
    assert [len(lessons) for _, lessons in seen] == [4, 4]
    for _, lessons in seen:
        assert all(torch.equal(one.codes, wanted) and one.aim is one.codes for one in lessons)
    assert (found.images, found.gradients) == (2, 8)


def test_the_likelihood_of_the_concepts_tokens_rises_by_a_search_and_less_by_chance():
    """Of the toy, whose values have been moved: 36 gradients against the best of 20 random prefixes."""
    model = load("toy-janus", device="cpu")
    edit, row = moved(model, 0.06), SuiteRow("a photo of a fox", "target", "fox", 3)
    attack = UnlearnDiffAtk(tokens=3, lr=0.2, steps=36)
    (found,) = attack.attempts(model, edit, [row], Always(False), budget=Budget(1, 36))
    codes, own = model.sample_codes(row.prompt, row.seed), prefixed(content(model, row.prompt), 3)
    known = vocabulary(model, edit).allowed.nonzero()[:, 0]
    draws = known[torch.randint(len(known), (20, 3), generator=torch.Generator().manual_seed(3))]
    with torch.no_grad(), reaching(model, edit, "hard") as reach:

        def loss(given):
            return float(reach.losses(Written(codes, codes), given))

        chance = [loss(slots(model, [own]).filled(one)) for one in draws]
        got, plain = loss(found.prompt if found.given is None else found.given), loss(row.prompt)
    with torch.no_grad():
        assert plain > Likelihood(model, None).losses(Written(codes, codes), row.prompt) + 0.1, (
            "the edit costs something"
        )
    assert got < min(*chance, plain), f"{got}, by chance {sorted(chance)[:3]}, and {plain} without"


def test_p4d_wants_what_the_unedited_model_says_and_the_prompt_itself_says_it(model, edit, monkeypatch):
    seen = noted(monkeypatch)
    P4D(tokens=5).attempts(model, edit, ROWS[:2], Always(False), budget=Budget(1, 4))
    search, lessons = seen[0]
    assert len({id(one) for one in lessons}) == 1, "what is the same at each step is computed once"
    codes = model.sample_codes([row.prompt for row in ROWS[:2]], [row.seed for row in ROWS[:2]])
    with torch.no_grad():
        for row, own, told in zip(ROWS, codes, lessons[0].aim, strict=False):
            cond, uncond = (direct(model, one, own) for one in words(model, row.prompt))
            assert_close(told, (uncond + 3.0 * (cond - uncond)).softmax(dim=1), rtol=1e-8, atol=1e-12)
        with reaching(model, Nothing(), "hard") as reach:
            assert reach.losses(lessons[0], [row.prompt for row in ROWS[:2]]).max() < 1e-12
            assert search.losses(reach, [0, 1], lessons[0]).min() > 1e-3


def test_a_word_is_learnt_that_makes_pictures_of_the_concept_likely(model, edit):
    """Only v moves, and the loss of the pictures that it is learnt from falls."""
    made = []
    with pytest.MonkeyPatch.context() as patch:
        improve = Inversion.improve
        patch.setattr(Inversion, "improve", lambda self, *given: (made.append(self), improve(self, *given))[1])
        attack = CCE(n=3, batch=2, accumulate=1, steps=30, checks=1, lr=0.05)
        (found,) = attack.attempts(model, edit, ROWS[:1], Always(False), budget=Budget(1, 30))
    own = made[0].vectors[Key("fox", None)]
    (whole,), plain = found.given.embeddings, model.token_embeddings(ROWS[0].prompt).embeddings[0]
    (place,) = (whole[0] != plain[0]).any(dim=1).nonzero()[:, 0].tolist()
    fox = content(model, "fox")
    assert [int(found.given.ids[0][0, place])] == [own.token] and torch.equal(whole[0, place], own.v)
    assert model.token_ids(ROWS[0].prompt).ids[0][0, place] == fox[0], "where the name stood"
    codes = own.pictures
    assert torch.equal(codes[:1], model.sample_codes(own.prompt, seeds_of(ROWS[0], attack)[:1]))
    before = slots(model, [[FREE if one in fox else one for one in content(model, own.prompt)]] * 3)
    start = vocabulary(model, edit).table[content(model, "art")].mean(dim=0)
    ids = torch.tensor([own.token] * 3)
    with torch.no_grad(), reaching(model, edit, "hard") as reach:
        first, last = (
            reach.losses(Written(codes, codes), before.embedded(ids, v.expand(3, -1))).mean() for v in (start, own.v)
        )
    assert last < first - 0.01


def seeds_of(row, attack):
    """Those of the pictures that a word is learnt from."""
    from dataclasses import replace

    from workbench.attacks.attack import own_generator

    asked = replace(row, prompt=attack.template.format(row.expected), seed=0)
    return torch.randint(2**31, (attack.n,), generator=own_generator(asked, 0, "cce None")).tolist()


def test_lessons_of_tokens_hold_nothing_random(model, edit):
    teacher, codes = teacher_for(model, edit, None), pictures(2)
    draw = torch.Generator().manual_seed(0)
    state = draw.get_state()
    own = teacher.own(codes, [draw, draw], [0, 0])
    assert teacher.times == 1 and len(own) == 2 and torch.equal(draw.get_state(), state)
    assert teacher.taught(codes, [draw, draw], [0], PROMPTS)[0].aim is codes
