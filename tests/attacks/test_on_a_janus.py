"""Every attack on a Janus, as people run it: what applies runs through and replays, what does not is one sentence."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.attacks.janus import moved
from tests.attacks.small import ROWS, Always
from tests.attacks.test_refusing import Untouched
from tests.evaluation.small import Brightness
from workbench.attacks import ATTACKS, find_attack
from workbench.attacks.adversarial import adversarial_suite
from workbench.attacks.applying import kinds_of
from workbench.attacks.at_random import RandomAmong, RandomPrefix, RandomPrompt
from workbench.attacks.attack import Budget
from workbench.attacks.attempts import read_attempts
from workbench.attacks.controls import Nothing
from workbench.attacks.relearn import Data, Relearn, writing_loss
from workbench.attacks.running import run_attacks
from workbench.attacks.tables import attack_table
from workbench.attacks.tokens import FREE, content, prefixed, slots, vocabulary
from workbench.attacks.wording import worded
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.input_checks import check_inputs
from workbench.evaluation.inputs import input_hash, read_input
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.fitting.selectors import select
from workbench.models import Begun, Continued, Encoding, TokenEmbeddings, TokenIds

SUITE = Suite("fox", tuple(row for row in ROWS if row.expected == "fox"))
TOLD = {
    "replay": {"wordings": ("dog",)},
    "ring_a_bell": {"unsafe": ("a fox",), "safe": ("a dog",)},
    "unlearn_diff_atk": {"tokens": 2},
    "p4d": {"tokens": 4},
    "mma": {"tokens": 4},
    "cce": {"n": 2, "batch": 2, "accumulate": 1},
    "noised": {"starts": (0.75, 0.5)},
    "relearn": {"steps": (1,), "n": 2, "batch": 1, "lr": 0.01},
    "latent": {},
}
APPLY = sorted(name for name in ATTACKS if "janus" in kinds_of(find_attack(name)))


def attack(name, **told):
    return find_attack(name)(**{**TOLD[name], **told})


def test_those_that_have_a_form_for_it_are_these():
    assert APPLY == ["cce", "noised", "p4d", "relearn", "replay", "unlearn_diff_atk"]
    assert kinds_of(find_attack("latent")) == ["sd1", "sd2", "sdxl"] and len(kinds_of(find_attack("replay"))) == 6


@pytest.mark.parametrize(
    ("name", "lacks"),
    [("ring_a_bell", "denoiser and text encoder"), ("mma", "noise schedule and text encoder"),
     ("latent", "noise schedule")],
)  # fmt: skip
def test_those_of_diffusion_alone_name_the_others_before_any_work(tiny_janus, tmp_path, name, lacks):
    says = rf"The attack {name} does not work on .* \(janus\), which has no {lacks}\. These do: {', '.join(APPLY)}\."
    given = ({"edit": moved(tiny_janus)}, SUITE, {"it": attack(name)}, Untouched(True), tmp_path / "run")
    with pytest.raises(WorkbenchError, match=says):
        run_attacks(tiny_janus, *given, budget=Budget(2, 4))
    assert not (tmp_path / "run").exists()
    with pytest.raises(WorkbenchError, match=says):
        attack(name).attempts(tiny_janus, Nothing(), ROWS, Untouched(True), budget=Budget(2, 4))


def test_the_prompts_of_ring_a_bell_are_tried_on_any_model(tiny_janus):
    found = attack("ring_a_bell", variant="pairs").attempts(
        tiny_janus, Nothing(), ROWS, Always(False), budget=Budget(images=2)
    )
    assert {(one.prompt, one.images) for one in found} == {("a fox", 1)}


def test_a_run_of_all_of_them_has_its_controls_and_replays_as_it_was(tiny_janus, tmp_path):
    """What was found is no text for the most part, of several lengths; its pictures come out the same again."""
    edit, judge, asked = moved(tiny_janus), Always(False), {name: attack(name) for name in APPLY}
    told = {"budget": Budget(1, 2), "floor": 0.0}
    run = run_attacks(tiny_janus, {"moved": edit}, SUITE, asked, judge, tmp_path / "run", **told)
    made = read_attempts(run.dir)
    assert set(attack_table(run)["attack"]) == set(APPLY)
    assert set(made.loc[made["control"] == "new seeds", "attack"]) == set(APPLY)
    assert set(made.loc[made["control"] == "at random", "attack"]) == {"unlearn_diff_atk", "p4d", "cce", "noised"}
    kinds = made[(made["control"] == "") & (made["condition"] == "moved")].groupby("attack")["given"].agg(set)
    assert kinds["noised"] == {"start"} and kinds["relearn"] == {"edit"} and kinds["cce"] == {"embeddings"}
    suite = adversarial_suite(run, "moved")
    again = evaluate(tiny_janus, {"moved": edit}, suite, judge, tmp_path / "again", floor=0.0)
    attacked = [one for one in again.spec.cells() if one.edit and one.input]
    assert len(attacked) >= 3 * 2 and {one.key for one in attacked} <= {one.key for one in run.spec.cells()}
    for one in attacked:
        assert np.array_equal(again.read_image(one.key).pixels, run.read_image(one.key).pixels)


def test_inputs_of_all_lengths_are_drawn_as_by_hand_and_kept(tiny_janus, tmp_path):
    model = tiny_janus
    codes = torch.arange(8)[None]
    given = [
        model.token_ids("a fox"), model.token_ids("a photo of a fox"), model.token_embeddings("a red fox"),
        model.token_embeddings("a cat"), Continued(["a fox"], codes[:, :4]), Continued([""], codes),
        Continued(model.token_ids("a photo of a cat"), codes[:, :4]),
    ]  # fmt: skip
    named = {input_hash(one): one for one in given}
    assert len(named) == len(given)
    suite = Suite("more", tuple(SuiteRow("a fox", "target", "fox", 1, input=name) for name in named), inputs=named)
    run = evaluate(model, {}, suite, Brightness(), tmp_path / "run", floor=0.0)
    for image, one in zip(run.images("unedited"), given, strict=True):
        assert np.array_equal(image, model.generate(one, 1)[0])
    for name, one in named.items():
        assert type(read_input(run.dir, name)) is type(one) and input_hash(read_input(run.dir, name)) == name


def holding(given):
    return Suite("given", (SuiteRow("a fox", "target", "fox", 1, input="x" * 20),), inputs={"x" * 20: given})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda model: Continued(["a fox"], torch.zeros(1, 16, dtype=torch.int64)), "of shape 16, and .* takes 15"),
        (lambda model: TokenEmbeddings(model.token_ids("a fox").ids, (torch.ones(1, 8, 9),)), "8×9, and .* 8×32"),
        (lambda model: Begun(["a fox"], torch.ones(1, 4, 8, 8)), "holds starts of pictures of .* takes none"),
        (lambda model: Encoding(torch.ones(1, 8, 32), None, ("cond",)), "holds encoded prompts of .* takes none"),
    ],
    ids=["whole picture", "width", "start", "encoding"],
)
def test_a_suite_of_what_it_cannot_draw_is_refused(tiny_janus, given, says):
    with pytest.raises(WorkbenchError, match=says):
        check_inputs(tiny_janus, holding(given(tiny_janus)))


def test_a_suite_of_beginnings_is_refused_by_a_denoiser(tiny_sd1):
    with pytest.raises(WorkbenchError, match=r"holds beginnings of pictures in tokens of shape 4, and .* takes none"):
        check_inputs(tiny_sd1, holding(Continued(["a fox"], torch.zeros(1, 4, dtype=torch.int64))))


def test_free_tokens_stand_before_the_words_within_the_template(tiny_janus):
    model, fox = tiny_janus, content(tiny_janus, "a fox")
    (plain,), (row,) = model.token_ids("a fox").ids[0].tolist(), slots(model, [prefixed(fox, 2)]).ids[0].tolist()
    at = plain.index(fox[0])
    assert row == [*plain[:at], FREE, FREE, *plain[at:]]
    both = slots(model, [prefixed(fox, 2), fox])
    red, dog = content(model, "red dog")
    assert both.filled(torch.tensor([red, dog])).same(model.token_ids(["red dog a fox", "a fox"]))
    assert both.of([1]).filled(torch.tensor([], dtype=torch.int64)).same(model.token_ids("a fox")), "padded no more"


@pytest.mark.parametrize("control", [RandomPrefix(length=2), RandomPrompt(length=3), RandomAmong(every=2)])
def test_random_tokens_keep_the_template_and_stand_for_words(tiny_janus, control):
    model, row = tiny_janus, ROWS[0]
    layout, words = model.architecture.layout, vocabulary(model, Nothing()).allowed
    (one,) = control.attempts(model, Nothing(), [row], Always(False), budget=Budget(images=3))
    ids = (model.token_ids(one.prompt) if one.given is None else one.given).ids[0][0]
    own = layout.words(ids).tolist()
    assert ids.tolist() == layout.around(layout.row("x"), own) and words[own].all()
    left = [token for token in own if token not in content(model, row.prompt)]
    assert left and (isinstance(control, RandomPrompt) or len(own) > len(content(model, row.prompt)))


def test_tokens_of_the_template_may_not_be_chosen(tiny_janus):
    model, free = tiny_janus, vocabulary(tiny_janus, Nothing()).allowed
    frame = set(model.token_ids("a fox").ids[0][0].tolist()) - set(content(model, "a fox"))
    known = model.pipe.tokenizer.get_vocab()
    assert not free[[known[name] for name in ("<bos>", "<pad>", "<image>", "<|User|>", "<begin_of_image>")]].any()
    assert frame and free[content(model, "a fox")].all()


def test_ids_that_no_text_gives_are_kept_and_read_without_the_template(tiny_janus):
    text, given = worded(tiny_janus, tiny_janus.token_ids("a fox"))
    assert (text, given) == ("a fox", None)
    unknown = tiny_janus.pipe.tokenizer.unk_token_id
    ids = slots(tiny_janus, [[FREE, *content(tiny_janus, "a fox")]]).filled(torch.tensor([unknown]))
    text, given = worded(tiny_janus, ids)
    assert text == "a fox" and given.same(ids)


def test_a_prompt_without_room_is_refused(tiny_janus):
    room = tiny_janus.architecture.room
    with pytest.raises(WorkbenchError, match=rf"has no room for {room} more: .* reads {room}"):
        slots(tiny_janus, [prefixed(content(tiny_janus, "a fox"), room)])
    full = slots(tiny_janus, [[FREE] * room]).filled(torch.full((room,), content(tiny_janus, "fox")[0]))
    assert full.ids[0].shape[1] == tiny_janus.architecture.layout.longest
    tiny_janus.generate(full, 0)


@torch.no_grad()
def test_relearning_is_on_the_next_token_of_pictures_after_their_prompts(tiny_janus):
    """(2), token after token, each picture alone."""
    model = tiny_janus
    codes = torch.randint(64, (3, 16), generator=torch.Generator().manual_seed(0))
    data = Data(codes, ["a fox", "a photo of a cat", "a dog"])
    total = []
    for place in (2, 1):
        logits = model.logits(codes[[place]], data.prompts[place])[0].double()
        p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
        total += [-torch.log(p[i, c]) for i, c in enumerate(codes[place].tolist())]
    assert_close(writing_loss(model, data, [2, 1]).double(), torch.stack(total).mean(), rtol=1e-5, atol=1e-6)


def test_relearning_moves_the_attention_that_ear_trains_and_the_pictures_become_likelier(tiny_janus):
    model, edit = tiny_janus, moved(tiny_janus)
    told = {"n": 2, "batch": 2, "lr": 0.003, "templates": ("a {}",)}
    (found,) = Relearn(steps=(1, 20), **told).attempts(model, edit, ROWS[:1], Always(False), budget=Budget(4, 20))
    delta = found.given.edit.tensors
    assert (found.images, found.gradients) == (2, 20)
    assert {name.removesuffix(":delta") for name in delta} == set(select(model, "ear")) and len(delta) == 4 * 3
    from workbench.fitting.pictures import drawn_seeds

    data = Data(model.sample_codes(["a fox"] * 2, drawn_seeds(2, 0)), ["a fox"] * 2)
    with torch.no_grad(), model.edited(edit):
        before = writing_loss(model, data, [0, 1])
        with model.edited(found.given.edit):
            assert writing_loss(model, data, [0, 1]) < before - 0.1


def test_other_weights_of_it_are_named_if_they_are_unknown(tiny_janus):
    with pytest.raises(WorkbenchError, match="set of parameters 'esd-x'"):
        Relearn(layers="esd-x").check(tiny_janus, ROWS, Budget(4, 200))
    assert len(select(tiny_janus, "full")) > len(select(tiny_janus, "ear"))


def test_ids_are_those_of_texts_again(tiny_janus):
    texts = ["a fox", "a photo of a cat"]
    framed = tiny_janus.architecture.framed([content(tiny_janus, text) for text in texts])
    assert isinstance(framed, TokenIds) and framed.same(tiny_janus.token_ids(texts))
