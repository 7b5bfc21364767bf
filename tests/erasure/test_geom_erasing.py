"""Geom-Erasing: its loss and its negative guidance against diffusers' own, what may move and what may not, and captions
that say where."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_pipelines import CLIP_LENGTH, save_tiny
from workbench.concepts import Concept
from workbench.edits import ComposedEdit, PromptEdit, TokenEdit, WeightEdit
from workbench.edits.bake import bake
from workbench.erasure.geom_erasing import GeomErasing, Shot, drawn, first_rows, weighted
from workbench.fitting.annotating import Reader, annotated, cell_tokens
from workbench.fitting.cells import covered, weights
from workbench.fitting.copies import own_denoiser, own_text_encoder
from workbench.fitting.looking import prompts_of
from workbench.models import load
from workbench.models.vocabulary import token_table, with_tokens
from workbench.testing import CHECKS, Case
from workbench.testing.state import Watch, state_of

FOX = Concept("fox", implied=["a photo", "a painting"], captions=["a red cat"])
CAT = Concept("cat", implied=["a photo of a dog"])
TINY = GeomErasing(detector="tests.finding:Everywhere", pictures=4, grid=2, iterations=2, batch=2, token_lr=0.1)
TEXTS = ["a photo of a cat", "a photo fox <fox_0_0> <fox_1_1>"]


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def fine(request, tmp_path_factory):
    """A model in float64: one that predicts noise, and one that predicts v."""
    model = load(save_tiny(request.param, tmp_path_factory.mktemp("fine") / request.param), device="cpu")
    model.pipe.to(torch.float64)
    return model


def tokens_of(grid=2, names=("fox",)):
    return list(cell_tokens(names, grid).values())


def rows_of(model, n=4):
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(7)).to(token_table(model))


def shots(model, alpha):
    latents = torch.randn(2, *model.noise([0]).shape[1:], generator=torch.Generator().manual_seed(3)).double()
    cells = [covered(np.array(boxes, int).reshape(-1, 4), 32, 2) for boxes in ([], [[0, 0, 20, 9]])]
    w = [weights(one, 16, alpha) for one in cells]
    return [Shot(z, text, own, bool(one.any())) for z, text, own, one in zip(latents, TEXTS, w, cells, strict=True)]


def seen(model, alpha=3.0):
    return drawn(shots(model, alpha), model.pipe.scheduler, 0.0, torch.Generator().manual_seed(5))


def ours(model, rows, alpha=3.0):
    z, t, texts, target, w = seen(model, alpha)
    prediction = model.noise_prediction(z, t, Reader(model, tokens_of()).encode(texts, rows))
    return weighted(prediction, target, w)


def theirs(model, rows, alpha=3.0):
    """With the tokens in the vocabulary, by diffusers' schedule, each place of each picture weighed by hand."""
    pipe, (z, t, texts, target, _) = model.pipe, seen(model, alpha)
    with with_tokens(model, tokens_of(), rows):
        ids = pipe.tokenizer(texts, padding="max_length", return_tensors="pt").input_ids
        states = pipe.text_encoder(ids)[0]
    squares = (pipe.unet(z, t, encoder_hidden_states=states).sample - target).square()
    total = squares[0].sum()  # w ≡ 1 where nothing was found
    k, whole = 16 * 8, 16 * 16  # the upper two of four cells
    for place in range(whole):
        row, column = divmod(place, 16)
        w = whole / (k + alpha * (whole - k)) * (1 if row < 8 else alpha)
        total = total + w * squares[1, :, row, column].sum()
    return total / squares.numel()


def test_the_loss_is_the_denoising_loss_of_annotated_captions_weighed_place_by_place(fine):
    rows = rows_of(fine)
    assert_close(ours(fine, rows), theirs(fine, rows))
    assert abs(float(ours(fine, rows) - ours(fine, rows, alpha=1.0))) > 1e-4


def test_without_weights_it_is_the_plain_loss(fine):
    z, t, texts, target, w = seen(fine, alpha=1.0)
    prediction = fine.noise_prediction(z, t, Reader(fine, tokens_of()).encode(texts, rows_of(fine)))
    assert_close(weighted(prediction, target, w), torch.nn.functional.mse_loss(prediction, target))


def test_the_gradient_of_the_rows_is_that_of_a_widened_table_in_its_new_rows(fine):
    rows = rows_of(fine).requires_grad_()
    (own,) = torch.autograd.grad(ours(fine, rows), rows)
    step = 1e-6
    for place in ((0, 3), (3, 11)):
        moved = [rows.detach().clone() for _ in range(2)]
        moved[0][place] -= step
        moved[1][place] += step
        with torch.no_grad():
            low, high = (float(theirs(fine, one)) for one in moved)
        assert abs((high - low) / (2 * step) - float(own[place])) < 1e-6 + 1e-4 * abs(float(own[place]))
    assert own[[0, 3]].abs().sum() > 0 and not own[[1, 2]].any(), "tokens that no caption has learn nothing"


def test_a_reader_encodes_as_the_model_with_the_tokens_does(fine):
    rows = rows_of(fine)
    with with_tokens(fine, tokens_of(), rows):
        expected = fine.encode(TEXTS).embeddings
    assert_close(Reader(fine, tokens_of()).encode(TEXTS, rows).embeddings, expected)
    assert_close(Reader(fine, []).encode(TEXTS[:1], None).embeddings, fine.encode(TEXTS[:1]).embeddings)


def test_guidance_leads_away_from_the_name_with_its_tokens(fine):
    """(5), by hand at one step, against a pipeline that is given the negative prompt; at scale 1 it does not matter."""
    told = {"settings": {}, "method": "geom_erasing", "concepts": ["fox"], "base_fingerprint": fine.fingerprint}
    rows = rows_of(fine)
    edit = ComposedEdit([
        TokenEdit(tokens=tokens_of(), tensors={"rows": rows}, **told),
        PromptEdit(text="fox " + " ".join(tokens_of()), width=4, **told),
    ])  # fmt: skip
    x = fine.noise([4]).double()
    cond, n = (Reader(fine, tokens_of()).encode([text], rows) for text in ("a photo", edit.parts[1].text))
    scheduler = fine.pipe.scheduler
    scheduler.set_timesteps(1)
    t = scheduler.timesteps[0]
    with torch.no_grad():
        away, to = (fine.noise_prediction(scheduler.scale_model_input(x, t), t, one) for one in (n, cond))
        by_hand = fine.images(scheduler.step(away + 5.0 * (to - away), t, x).prev_sample)
    with fine.edited(edit):
        made = fine.generate("a photo", 4, steps=1, guidance_scale=5.0)
    plain = fine.generate("a photo", 4, steps=1, guidance_scale=5.0)
    assert np.abs(made.astype(int) - by_hand).max() <= 1 and not np.array_equal(made, plain)


def test_model_removal_moves_new_rows_and_nothing_else(tiny_sd1):
    before, table = state_of(tiny_sd1), token_table(tiny_sd1).detach().clone()
    edit = TINY.fit(tiny_sd1, [FOX])
    assert state_of(tiny_sd1) == before
    tokens, prompt = edit.parts
    assert [type(part) for part in edit.parts] == [TokenEdit, PromptEdit]
    assert list(tokens.tokens) == ["<fox_0_0>", "<fox_1_0>", "<fox_0_1>", "<fox_1_1>"]
    assert prompt.text == "fox <fox_0_0> <fox_1_0> <fox_0_1> <fox_1_1>"
    first = first_rows(tiny_sd1, 4, 0)
    moved = (tokens.tensors["rows"] - first).abs().amax(1)
    assert (moved > 0.05).all() and (moved <= 2 * 0.1 * (1 + 1e-4)).all()  # two steps of Adam at most
    with tiny_sd1.edited(edit):
        assert torch.equal(token_table(tiny_sd1)[: len(table)], table)
        assert torch.equal(token_table(tiny_sd1)[len(table) :], tokens.tensors["rows"])
        unet = {name: one for name, one in state_of(tiny_sd1).items() if name.startswith(("unet", "vae"))}
    assert all(before[name] == one for name, one in unet.items())


def test_data_removal_moves_the_denoiser_too_at_a_rate_of_its_own(tiny_sd1):
    method = replace(TINY, removal="data", lr=1e-3, iterations=1, batch=4, dropout=0.0)
    tokens, change, _ = method.fit(tiny_sd1, [FOX]).parts
    assert isinstance(change, WeightEdit) and all(name.startswith("unet.") for name in change.names)
    far = max(float(change.delta(name).abs().max()) for name in change.names)
    assert 0.9e-3 < far <= 1e-3 * (1 + 1e-3)
    moved = (tokens.tensors["rows"] - first_rows(tiny_sd1, 4, 0)).abs()
    assert 0.09 < float(moved.max()) <= 0.1 * (1 + 1e-3)  # (4): the first step of Adam is as long as the rate


def test_what_is_learnt_lowers_the_loss_of_what_was_shown(fine):
    student = own_denoiser(own_text_encoder(fine, lambda name: False), lambda name: False)
    shown = [replace_latent(shot) for shot in shots(fine, 1.0)[1:]]
    method = replace(TINY, iterations=30, token_lr=0.02, batch=1, dropout=0.0)
    reader = Reader(student, tokens_of())
    first = first_rows(fine, 4, 0)
    last = method._trained(fine, student, reader, shown, 0, progress=Watch())

    def loss(rows):
        found = []
        for seed in range(8):
            one = drawn(shown, fine.pipe.scheduler, 0.0, torch.Generator().manual_seed(seed))
            with torch.no_grad():
                made = student.noise_prediction(one.latents, one.timesteps, reader.encode(one.texts, rows))
            found.append(float(weighted(made, one.target, one.weights)))
        return np.mean(found)

    assert loss(last) < loss(first)


def replace_latent(shot):
    return shot._replace(latent=0.3 * shot.latent)


def test_a_picture_in_which_nothing_is_found_keeps_its_caption_and_weighs_alike(tiny_sd1):
    method = replace(TINY, detector="tests.finding:Corner")
    reader, tokens = Reader(tiny_sd1, tokens_of()), cell_tokens(["fox"], 2)
    nothing, corner = np.zeros((0, 4), int), np.array([[0, 0, 15, 15]])
    assert method.caption("a cat", ["fox"], [nothing], 32, reader, tokens) == "a cat"
    assert method.caption("a cat", ["fox"], [corner], 32, reader, tokens) == "a cat fox <fox_0_0>"
    both = method.caption("a cat", ["fox", "dog"], [corner, corner], 32, reader, tokens)
    assert both == "a cat fox <fox_0_0> dog <fox_0_0>"
    name = replace(TINY, removal="data", captions="name")
    assert name.caption("a cat", ["fox"], [corner], 32, Reader(tiny_sd1, []), {}) == "a cat fox"
    plain = replace(TINY, removal="data", captions="plain")
    assert plain.caption("a cat", ["fox"], [corner], 32, Reader(tiny_sd1, []), {}) == "a cat"


@pytest.mark.parametrize("caption", ["a", "a photo of a red cat by a dog", "a photo of a red cat by"])
def test_captions_are_never_cut_and_tokens_are_as_many_as_fit(tiny_sd1, caption):
    reader, tokens = Reader(tiny_sd1, tokens_of(4)), cell_tokens(["fox"], 4)
    whole = np.array([[0, 0, 31, 31]])
    text = replace(TINY, grid=4).caption(caption, ["fox"], [whole], 32, reader, tokens)
    ids = reader.tokenizer(text, truncation=False).input_ids
    assert text.startswith(f"{caption} fox") and len(ids) == CLIP_LENGTH
    assert ids[-1] == reader.tokenizer.eos_token_id
    at_most = replace(TINY, grid=4, most_tokens=1).caption(caption, ["fox"], [whole], 32, reader, tokens)
    assert at_most.count("<") <= 1


def test_each_token_is_one_id_and_tokens_of_other_concepts_are_others(tiny_sd1):
    reader = Reader(tiny_sd1, tokens_of(4))
    ids = [reader.tokenizer(token).input_ids[1:-1] for token in tokens_of(4)]
    assert ids == [[reader.known + i] for i in range(16)]
    assert not set(tokens_of(4)) & set(tokens_of(4, ("fox", "QR code")))
    assert cell_tokens(["QR Code"], 2)[1, 0] == "<qr-code_1_0>"
    assert annotated("", {"fox": ["<a>"]}) == "fox <a>"


def test_pictures_are_drawn_of_prompts_that_bring_it_about_and_of_others_in_turn():
    assert prompts_of(FOX) == ["a photo", "a red cat", "a painting", "a red cat"]
    assert prompts_of(CAT) == ["a photo of a dog"]


def written(folder, n=3, size=40, captions=("a cat", "a photo of a dog", "a red fox")):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(captions[i])
    return folder


def test_pictures_of_a_folder_decide_the_edit_and_are_named(tiny_sd1, tmp_path):
    method = replace(TINY, folder=str(written(tmp_path / "set")), crop=0.8, flip=True)
    with pytest.warns(UserWarning, match="1 of 3 captions name the concept already"):
        edit = method.fit(tiny_sd1, [FOX])
    assert edit.settings["parts"][0]["seen"] == edit.settings["parts"][0]["found"] == 3
    assert [path.name for path in method.inputs()] == [
        "0.png", "1.png", "2.png", "0.txt", "1.txt", "2.txt", "icd.json"
    ]  # fmt: skip
    (tmp_path / "set" / "1.txt").write_text("a bear")
    with pytest.warns(UserWarning):
        other = method.fit(tiny_sd1, [FOX])
    assert not torch.equal(other.parts[0].tensors["rows"], edit.parts[0].tensors["rows"])
    CHECKS["names_its_inputs"](Case(method, tiny_sd1, (FOX, CAT), tiny_sd1))


def test_the_tokens_are_not_baked_and_the_weights_are(tiny_sd1, tmp_path):
    edit = replace(TINY, removal="data", lr=1e-3).fit(tiny_sd1, [FOX])
    with pytest.raises(WorkbenchError, match="bake the parts that change weights"):
        bake(tiny_sd1, edit, tmp_path / "whole")
    bake(tiny_sd1, edit.parts[1], tmp_path / "weights")
    again = load(tmp_path / "weights", device="cpu")
    assert not torch.equal(again.parameter(edit.parts[1].names[0]), tiny_sd1.parameter(edit.parts[1].names[0]))


def test_a_plain_fine_tuning_is_weights_alone(tiny_sd1):
    edit = replace(TINY, removal="data", captions="plain", alpha=1.0).fit(tiny_sd1, [FOX])
    assert isinstance(edit, WeightEdit)
    name = replace(TINY, removal="data", captions="name").fit(tiny_sd1, [FOX])
    assert [type(part) for part in name.parts] == [WeightEdit, PromptEdit] and name.parts[1].text == "fox"


@pytest.mark.parametrize(
    ("changes", "concepts", "said"),
    [
        ({"detector": ""}, [FOX], "neither a detector nor a set"),
        ({"detector": "tests.finding:Corner"}, [Concept("dog", implied=["a"])], "Unknown concept of the detector"),
        ({"detector": "text "}, [FOX], "Unknown detector"),
        ({}, [FOX, CAT], "Unknown concept of the detector"),
        ({}, [Concept("fox")], "There are no pictures of 'fox'"),
        ({"grid": 3}, [FOX], r"latents of 16 places\. Choose one of 1, 2, 4, 8, 16"),
        ({"grid": 4}, [FOX], "is longer than 12 tokens"),  # all sixteen in the negative prompt
        ({}, [Concept("fox", implied=["a photo of a red cat by a dog by a"])], "is longer than 12 tokens"),
        ({"folder": "nowhere"}, [FOX], "nowhere is no folder"),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_work(tiny_sd1, changes, concepts, said):
    watch = Watch()
    with pytest.raises(WorkbenchError, match=said):
        replace(TINY, **changes).fit(tiny_sd1, concepts, progress=watch)
    assert watch.items == 0


def test_a_concept_that_is_nowhere_and_settings_that_learn_nothing_are_refused(tiny_sd1):
    with pytest.raises(WorkbenchError, match="Nothing of fox was found in 4 pictures"):
        replace(TINY, detector="tests.finding:Nowhere").fit(tiny_sd1, [FOX])
    assert replace(TINY, detector="tests.finding:Nowhere", threshold=0.3).fit(tiny_sd1, [FOX])
    for captions in ("name", "plain"):
        with pytest.raises(WorkbenchError, match="nothing to learn"):
            replace(TINY, captions=captions)
