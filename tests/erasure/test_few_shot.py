"""Few-shot erasing: its loss is diffusers' denoising loss turned round, on the very parameters that it names."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.tiny_pipelines import save_tiny
from workbench import toy
from workbench.concepts import Concept
from workbench.erasure.few_shot import (
    FewShot,
    Noised,
    Shot,
    ascent,
    batches,
    drawn,
    member_of,
    shots_of,
    trained_names,
)
from workbench.fitting.copies import own_text_encoder, parameters_of
from workbench.fitting.players import Player
from workbench.fitting.training import train
from workbench.models import load
from workbench.models.diffusion.prediction import aim, noised
from workbench.testing.state import Watch, state_of
from workbench.toy.oracle import Oracle
from workbench.toy.render import render
from workbench.toy.scenes import Placed, Scene

FOX = Concept("fox", templates=["a photo of a {}", "{}"])
CAT = Concept("cat", templates=["a photo of a {}", "{}"])
PROMPTS = ["a photo of a fox", "fox"]
ROLES = ("target", "neighbour")


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def fine(request, tmp_path_factory):
    """A model in float64: one that predicts noise, and one that predicts v."""
    model = load(save_tiny(request.param, tmp_path_factory.mktemp("fine") / request.param), device="cpu")
    model.pipe.to(torch.float64)
    return model


def shots(model, n=2):
    latents = torch.randn(n, *model.noise([0]).shape[1:], generator=torch.Generator().manual_seed(3)).double()
    return [Shot(latent, FOX.prompts()) for latent in latents]


def seen(model):
    return drawn(shots(model), model.pipe.scheduler, torch.Generator().manual_seed(5))


def denoising_loss(pipe, clean, noise, t, prompts, predicts=None):
    """The loss of diffusers' textual inversion script, by diffusers' own schedule."""
    scheduler = pipe.scheduler
    tokens = pipe.tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids
    states = pipe.text_encoder(tokens)[0]
    predicted = pipe.unet(scheduler.add_noise(clean, noise, t), t, encoder_hidden_states=states).sample
    wanted = predicts or scheduler.config.prediction_type
    target = noise if wanted == "epsilon" else scheduler.get_velocity(clean, noise, t)
    return torch.nn.functional.mse_loss(predicted, target)


def parts(model):
    """z₀, ε and t of `seen`, from z_t and u by other equations than those that made them."""
    z, t, prompts, u = seen(model)
    share = model.pipe.scheduler.alphas_cumprod[t].double()[:, None, None, None]
    if model.kind == "sd1":
        return (z - (1 - share).sqrt() * u) / share.sqrt(), u, t, prompts
    return share.sqrt() * z - (1 - share).sqrt() * u, share.sqrt() * u + (1 - share).sqrt() * z, t, prompts


def test_the_loss_is_the_denoising_loss_of_the_cached_latents_turned_round(fine):
    clean, noise, t, prompts = parts(fine)
    assert_close(clean, torch.stack([shot.latent for shot in shots(fine)]))
    assert_close(ascent(fine, seen(fine)), -denoising_loss(fine.pipe, clean, noise, t, prompts))
    assert abs(float(noise.mean())) < 0.2 and 0.9 < float(noise.std()) < 1.1


def test_the_gradient_is_that_of_textual_inversion_turned_round_in_every_parameter(fine):
    student = own_text_encoder(fine)
    weights = [student.parameter(name).requires_grad_() for name in trained_names(fine, "mlp-final-attn")]
    ours = torch.autograd.grad(ascent(student, seen(fine)), weights)
    theirs = torch.autograd.grad(denoising_loss(student.pipe, *parts(fine)), weights)
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, -other)
    assert sum(float(one.norm()) for one in ours) > 0


def test_a_model_that_predicts_v_is_told_v(tiny_sd2):
    clean = torch.randn(2, 4, 16, 16, dtype=torch.float64)
    noise, t = torch.randn_like(clean), torch.tensor([30, 800])
    scheduler = tiny_sd2.pipe.scheduler
    z, v = noised(scheduler, clean, noise, t), aim(scheduler, clean, noise, t)
    assert_close(v, scheduler.get_velocity(clean, noise, t))
    losses = [ascent(tiny_sd2, Noised(z.float(), t, PROMPTS, u.float())) for u in (v, noise)]
    assert abs(float(losses[0] - losses[1])) > 1e-3


@pytest.mark.parametrize("group", ["mlp-final-attn", "mlp", "attn", "mlp-attn", "all"])
def test_a_group_holds_exactly_its_parameters(tiny_sd1, group):
    mlp = {f"{layer}.mlp.fc{n}.{kind}" for layer in "01" for n in "12" for kind in ("weight", "bias")}
    attention = {
        f"{layer}.self_attn.{part}_proj.{kind}" for layer in "01" for part in ("q", "k", "v", "out")
        for kind in ("weight", "bias")
    }  # fmt: skip
    last = {name for name in attention if name.startswith("1.")}
    wanted = {"mlp-final-attn": mlp | last, "mlp": mlp, "attn": attention, "mlp-attn": mlp | attention}
    names = trained_names(tiny_sd1, group)
    if group == "all":
        assert set(names) == set(parameters_of(tiny_sd1, "text_encoder"))
    else:
        assert {name.rpartition(".layers.")[2] for name in names} == wanted[group]


def test_the_final_attention_is_that_of_the_last_layer_however_many_there_are():
    name = "text_encoder.text_model.encoder.layers.{}.self_attn.k_proj.weight"
    assert [layer for layer in range(23) if member_of("mlp-final-attn", 23)(name.format(layer))] == [22]
    assert [layer for layer in range(2) if member_of("mlp-final-attn", 2)(name.format(layer))] == [1]


def test_steps_on_a_fixed_batch_raise_its_denoising_loss_and_move_nothing_else(fine):
    names, fixed = trained_names(fine, "mlp-final-attn"), seen(fine)
    before = state_of(fine)
    student = own_text_encoder(fine, set(names).__contains__)
    trained = {name: student.parameter(name) for name in names}
    untouched = {
        name: one.clone() for part in ("text_encoder", "unet", "vae")
        for name, one in parameters_of(student, part).items() if name not in names
    }  # fmt: skip
    history = train(Player(trained, lambda *_: ascent(student, fixed), FewShot(epochs=6, lr=1e-3).plan(2)))
    assert len(history.losses) == 6
    assert all(later < earlier for earlier, later in zip(history.losses, history.losses[1:], strict=False))
    assert -float(ascent(student, fixed)) > -float(ascent(fine, fixed))
    assert state_of(fine) == before
    assert all(torch.equal(student.parameter(name), one) for name, one in untouched.items())
    assert all(one.grad is None for one in fine.pipe.unet.parameters())
    assert any(not torch.equal(student.parameter(name), fine.parameter(name)) for name in names)


def test_the_first_step_of_adam_is_as_long_as_the_rate_where_there_is_a_gradient(fine):
    names, fixed, lr = trained_names(fine, "mlp-final-attn"), seen(fine), 1e-3
    student = own_text_encoder(fine, set(names).__contains__)
    trained = {name: student.parameter(name) for name in names}
    weights = [one.requires_grad_() for one in trained.values()]
    gradients = torch.autograd.grad(ascent(student, fixed), weights)
    train(Player(trained, lambda *_: ascent(student, fixed), FewShot(epochs=1, lr=lr).plan(2)))
    strong = 0
    for name, gradient in zip(names, gradients, strict=True):
        moved = (student.parameter(name) - fine.parameter(name)).detach()
        assert float(moved.abs().max()) <= lr * (1 + 1e-3)
        assert_close(moved, -lr * gradient / (gradient.abs() + 1e-6), atol=1e-9, rtol=1e-6)  # Adam's ε is 1e-6
        strong += int((gradient.abs() > 1e-4).sum())
    assert strong > 100


def test_every_epoch_sees_every_picture_once_and_epochs_decide_the_number_of_steps(tiny_sd1):
    order = batches(5, 2, 3, torch.Generator().manual_seed(0))
    assert [len(part) for part in order] == [2, 2, 1] * 3
    epochs = [[i for part in order[start : start + 3] for i in part] for start in (0, 3, 6)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in epochs) and len(set(map(tuple, epochs))) > 1
    method = FewShot(epochs=3)
    assert (method.plan(5).steps, method.plan(10).steps) == (9, 15)
    assert FewShot(epochs=3, max_steps=4).plan(5).steps == 4
    published = FewShot().plan(4)
    assert (published.steps, published.lr, published.betas, published.eps) == (10, 1e-5, (0.9, 0.98), 1e-6)
    assert published.weight_decay == 0 and published.schedule == "constant"
    watch = Watch()
    FewShot(epochs=2, pictures=3).fit(tiny_sd1, [FOX], progress=watch)
    assert watch.items == 1 + 4  # one batch of pictures, then 2 · ⌈3 / 2⌉ steps


def test_nothing_can_be_done_zero_times():
    for name in ("pictures", "epochs", "batch", "max_steps"):
        with pytest.raises(WorkbenchError, match=f"{name} is 0"):
            FewShot(**{name: 0})


def test_pictures_are_flipped_or_not_once_and_encoded_once(tiny_sd1):
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    made = torch.stack([one.latent for one in shots_of(tiny_sd1, FOX, images, torch.Generator().manual_seed(1))])
    plain, mirrored = tiny_sd1.latents(images), tiny_sd1.latents(images[:, :, ::-1].copy())
    kinds = [(torch.allclose(a, b), torch.allclose(a, c)) for a, b, c in zip(made, plain, mirrored, strict=True)]
    assert set(kinds) == {(True, False), (False, True)}


def test_the_branch_without_a_prompt_moves_too(tiny_sd1):
    edit = FewShot(pictures=2, lr=1e-2).fit(tiny_sd1, [FOX])
    before = tiny_sd1.encode("", role="uncond").embeddings
    with tiny_sd1.edited(edit):
        assert not torch.equal(tiny_sd1.encode("", role="uncond").embeddings, before)
    assert all(name.startswith("text_encoder.") for name in edit.names)


def folder_of(path, pictures):
    path.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(path / f"{number}.png")
    return str(path)


def test_pictures_of_a_folder_decide_the_edit(tiny_sd1, tmp_path):
    drawn = [render(Scene(seed, (Placed(thing, "red"),))).image for thing in ("fox", "mug") for seed in (0, 1)]
    folders = [folder_of(tmp_path / name, some) for name, some in (("fox", drawn[:2]), ("mug", drawn[2:]))]
    a, b, again = (
        FewShot(folder=folder, epochs=1).fit(tiny_sd1, [FOX]) for folder in (*folders, folders[0])
    )  # fmt: skip
    name = a.names[0]
    assert torch.equal(a.delta(name), again.delta(name)) and not torch.equal(a.delta(name), b.delta(name))


def test_what_cannot_be_used_is_refused_before_any_work(tiny_sd1, tiny_sdxl, tmp_path):
    watch, empty = Watch(), folder_of(tmp_path / "empty", [])
    small = folder_of(tmp_path / "small", [np.zeros((8, 8, 3), np.uint8)])
    for method, model, concepts, words in [
        (FewShot(folder=empty), tiny_sd1, [FOX], "no pictures"),
        (FewShot(folder=small), tiny_sd1, [FOX], "8×8"),
        (FewShot(folder=small), tiny_sd1, [FOX, CAT], "one concept"),
        (FewShot(), tiny_sdxl, [FOX], "sdxl"),
    ]:
        with pytest.raises(WorkbenchError, match=words):
            method.fit(model, concepts, progress=watch)
    assert watch.items == 0


@pytest.mark.slow
def test_four_pictures_that_the_toy_draws_take_the_concept_from_it_and_a_random_edit_of_the_same_size_does_not():
    model, judge, fox = load("toy", device="cpu"), Oracle.load(), toy.concepts()["fox"]
    edit = FewShot(epochs=8, lr=3e-3).fit(model, [fox])  # 6 leave every fox, 10 take three cats of four
    rows = [row for row in toy.suite("fox", 8, 0).rows if row.role in ROLES]

    def shares(*edits):
        with model.edited(*edits):
            images = model.generate([row.prompt for row in rows], [row.seed for row in rows], steps=8)
        present = judge.score(images).present >= judge.threshold
        shown = [present[i, list(judge.concepts).index(row.expected)] for i, row in enumerate(rows)]
        return tuple(np.mean([s for s, row in zip(shown, rows, strict=True) if row.role == role]) for role in ROLES)

    assert min(shares()) > 0.7
    fox_left, cat_left = shares(edit)
    assert fox_left < 0.3 and cat_left > 0.7
    assert shares(edit.random(seed=0))[0] > fox_left + 0.4
