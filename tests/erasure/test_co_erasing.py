"""Co-Erasing: its equations in float64, what is frozen while it trains, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import workbench.erasure.co_erasing as co_erasing
from saes.errors import WorkbenchError
from tests.tiny_adapters import save_tiny_adapter
from tests.tiny_pipelines import save_tiny
from workbench.concepts import Concept
from workbench.edits.bake import bake
from workbench.erasure.co_erasing import (
    CoErasing,
    Seen,
    Subject,
    blurred,
    is_outside_cross_attention,
    refined,
    target,
)
from workbench.fitting.copies import own_denoiser
from workbench.fitting.embedding import encoded
from workbench.fitting.players import generator_of
from workbench.models import load
from workbench.models.diffusion.image_prompt import ImagePrompt
from workbench.testing.state import state_of

FOX = Concept("fox", templates=["a photo of a {}"])
RNG = torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(save_tiny("sd1", tmp_path_factory.mktemp("sd1") / "sd1"), device="cpu", dtype=torch.float64)


@pytest.fixture(scope="module")
def adapter(model, tmp_path_factory):
    return save_tiny_adapter(model, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="module")
def prompter(model, adapter):
    return ImagePrompt.open(adapter, model)


@pytest.fixture
def method(adapter):
    return CoErasing(
        adapter=str(adapter), images=2, steps=3, blur=3, text_iterations=1, iterations=2, lr=1e-3, negative_guidance=0.7
    )


@pytest.fixture
def pictures(model, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def attached_loss(method, prompter, teacher, student, seen, seed=0):
    with prompter.attached(teacher) as frozen, prompter.attached(student) as own:
        return method.loss(frozen, own, seen, generator_of(seed, 0))


def image(n=1):
    return torch.randn(n, 4, 16, generator=RNG, dtype=torch.float64)


def test_refined_rows_are_mixtures_of_the_texts_rows():
    r, text = image(3), torch.randn(12, 16, generator=RNG, dtype=torch.float64)
    got = refined(r, text)
    for n in range(3):
        for row in range(4):
            scores = np.array([float(r[n, row] @ text[i]) / 16**0.5 for i in range(12)])
            weights = np.exp(scores) / np.exp(scores).sum()
            assert_close(got[n, row].numpy(), weights @ text.numpy(), rtol=0, atol=1e-12)
    spread = np.array([float(text[:, i].max() - text[:, i].min()) for i in range(16)])
    assert ((got >= text.amin(0)) & (got <= text.amax(0))).all() and (spread > 0).all()  # within the hull's box


def test_a_text_of_equal_rows_is_what_every_image_becomes():
    row = torch.randn(1, 16, generator=RNG, dtype=torch.float64)
    assert_close(refined(image(2), row.expand(12, -1)), row.expand(2, 4, -1))
    other = refined(image(2), torch.randn(12, 16, generator=RNG, dtype=torch.float64))
    assert (other[0] - other[1]).abs().max() > 1e-3  # otherwise the image decides


def test_the_target_turns_guidance_round():
    cond, uncond = (torch.randn(1, 4, 2, 2, generator=RNG, dtype=torch.float64) for _ in range(2))
    assert_close(target(cond, uncond, 0.7), 1.7 * uncond - 0.7 * cond)
    assert torch.equal(target(cond, uncond, 0.0), uncond)  # whatever the image


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_the_first_loss_is_the_gap_between_with_and_without_the_concept(model, prompter, method, eta):
    """At φ = φ*: (1 + η)² times the mean squared difference of the two frozen outputs, at the latent of (3)."""
    method, seen = replace(method, negative_guidance=eta, noise=0.3), Seen("fox", image())
    got = attached_loss(method, prompter, model, own_denoiser(model), seen)
    draws = generator_of(0, 0)
    words = encoded(model, ["fox"])
    r = torch.softmax(seen.image @ words.embeddings[0].T / 4.0, -1) @ words.embeddings[0]
    r = r + 0.3 * torch.rand(r.shape, generator=draws).double()
    start, k = torch.randn(1, 4, 16, 16, generator=draws), int(torch.randint(3, (), generator=draws))
    z, t = descending(model, "fox", start.double(), k)
    with prompter.attached(model) as beside:
        cond = beside.noise_prediction(blurred(z, 3), t, words, r)
        uncond = beside.noise_prediction(blurred(z, 3), t, model.encode(""), None)
    assert_close(
        got, (1 + eta) ** 2 * (cond - uncond).square().mean(), rtol=1e-6, atol=0
    )  # the scheduler is in float32


def descending(model, prompt, x, k, steps=3):
    """DDIM by hand, from the noisiest timestep on, and the timestep of what comes out."""
    alphas, text = model.pipe.scheduler.alphas_cumprod.double(), model.encode(prompt)
    stride = 1000 // steps
    times = [i * stride + 1 for i in reversed(range(steps))]  # "leading", offset 1
    for t in times[:k]:
        before = alphas[t - stride] if t > stride else model.pipe.scheduler.final_alpha_cumprod.double()
        noise = model.noise_prediction(x, t, text)
        x = before.sqrt() * (x - (1 - alphas[t]).sqrt() * noise) / alphas[t].sqrt() + (1 - before).sqrt() * noise
    return x, times[k]


def test_latents_go_down_from_noise_at_their_own_timesteps(model, prompter):
    """Also with an adapter attached, which must not take the end of the text for an image."""
    start = torch.randn(1, 4, 16, 16, generator=RNG)
    with prompter.attached(model):
        found = [co_erasing.partway(model, "fox", start.double(), k, steps=3) for k in range(3)]
    assert [one.timestep for one in found] == [667, 334, 1]
    for k, (z, t) in enumerate(found):
        expected, wanted = descending(model, "fox", start.double(), k)
        assert t == wanted
        assert_close(z, expected, rtol=0, atol=1e-5)


def test_without_text_the_image_stands_beside_the_empty_one(model, prompter, method):
    seen = Seen("fox", image())
    alone = replace(method, refine=False, beside_text=False)
    losses = [
        attached_loss(one, prompter, model, own_denoiser(model), seen) for one in (alone, replace(method, refine=False))
    ]
    assert losses[0] != losses[1] and all(loss > 0 for loss in losses)


@pytest.mark.parametrize("kernel", [3, 5])
def test_blur_is_a_normalised_gaussian_of_the_usual_width(kernel):
    x = torch.zeros(1, 2, 9, 9, dtype=torch.float64)
    x[0, 0, 4, 4] = 1.0
    got, sigma = blurred(x, kernel), {3: 0.8, 5: 1.1}[kernel]
    assert_close(got.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert_close(got[0, 0, 4, 5] / got[0, 0, 4, 4], torch.tensor(np.exp(-1 / (2 * sigma**2))))
    assert (got[0, 0] > 0).sum() == kernel**2 and not got[0, 1].any()
    assert torch.equal(blurred(x, 0), x)
    flat = torch.ones(1, 1, 9, 9, dtype=torch.float64)
    assert_close(blurred(flat, kernel), flat)  # the borders are mirrored, not dark


def test_fitting_changes_the_denoiser_alone_and_leaves_no_adapter(model, method, tmp_path):
    before = state_of(model)
    edit = method.fit(model, [FOX])
    assert state_of(model) == before
    assert set(edit.names) == {f"unet.{name}" for name, _ in model.pipe.unet.named_parameters()}
    assert all(edit.delta(name).abs().max() > 0 for name in edit.names if name.endswith("to_k.weight"))
    baked = load(bake(model, edit, tmp_path / "baked"), device="cpu", dtype=torch.float64)
    assert set(baked.pipe.unet.state_dict()) == set(model.pipe.unet.state_dict())


def test_adapter_encoders_and_teacher_stay_frozen(model, prompter, method, monkeypatch):
    seen = []
    original = CoErasing.loss

    def watched(self, teacher, student, shown, generator):
        value = original(self, teacher, student, shown, generator)
        seen.append({name: one.clone() for name, one in teacher.model.pipe.unet.named_parameters()})
        frozen = [*teacher.model.pipe.unet.parameters(), *teacher.model.pipe.text_encoder.parameters()]
        processors = [one.image for one in student.model.pipe.unet.attn_processors.values() if hasattr(one, "image")]
        assert len(processors) == len(prompter.adapter.attention)
        frozen += [weight for one in processors for weight in one.parameters()]
        assert not any(one.requires_grad for one in frozen) and value.requires_grad
        return value

    monkeypatch.setattr(CoErasing, "loss", watched)
    edit = replace(method, iterations=3).fit(model, [FOX])
    assert len(seen) == 3 and edit.names
    assert all(torch.equal(seen[0][name], seen[-1][name]) for name in seen[0])
    moved = [name for name in seen[0] if not torch.equal(seen[0][name], model.parameter(f"unet.{name}"))]
    assert moved and not any(".attn2." in name for name in moved)  # the teacher is what stage T made, ESD-u


def test_a_clean_teacher_is_the_model_itself(model, method, monkeypatch):
    teachers = []
    original = CoErasing.loss

    def watched(self, teacher, *rest):
        teachers.append(teacher.model)
        return original(self, teacher, *rest)

    monkeypatch.setattr(CoErasing, "loss", watched)
    replace(method, teacher="clean", iterations=1).fit(model, [FOX])
    assert all(one is model.parameter(f"unet.{name}") for name, one in teachers[0].pipe.unet.named_parameters())


def test_noxattn_is_all_but_cross_attention_and_time(model, method):
    names = [f"unet.{name}" for name, _ in model.pipe.unet.named_parameters()]
    edit = replace(method, train="noxattn").fit(model, [FOX])
    assert set(edit.names) == {name for name in names if ".attn2." not in name and ".time_embedding." not in name}
    assert "unet.conv_out.weight" in edit.names and is_outside_cross_attention("unet.mid_block.attn1.to_q.weight")


def test_pictures_of_a_folder_teach_and_are_drawn_by_the_seed(model, method, pictures):
    method = replace(method, folder=str(pictures), images=9, text_iterations=0)
    edit, again = (method.fit(model, [FOX], seed=1) for _ in range(2))
    assert all(torch.equal(edit.delta(name), again.delta(name)) for name in edit.names)
    own = replace(method, folder="").fit(model, [FOX], seed=1)
    assert any(not torch.equal(edit.delta(name), own.delta(name)) for name in edit.names)
    (pictures / "captions.txt").write_text("a fox")  # passed over
    some = [replace(method, images=1).fit(model, [FOX], seed=seed) for seed in (1, 1, 2)]
    equal = [torch.equal(some[0].delta(name), some[1].delta(name)) for name in edit.names]
    assert all(equal) and any(not torch.equal(some[0].delta(name), some[2].delta(name)) for name in edit.names)


def test_one_text_and_one_of_its_own_images_are_drawn(method):
    subjects = [Subject(["fox"], image(3)), Subject(["cat", "kitty"], image(2))]
    drawn = [method.drawn(subjects, generator_of(0, step)) for step in range(60)]
    assert {one.text for one in drawn} == {"fox", "cat", "kitty"}
    for one in drawn:
        own = subjects[0 if one.text == "fox" else 1].tokens
        assert any(torch.equal(one.image[0], row) for row in own)
    assert len({float(one.image.sum()) for one in drawn}) == 5


def refuses(method, model, words, monkeypatch, concepts=(FOX,)):
    """With this sentence, and before a picture is made or a step is trained."""
    for work in ("generate", "noise_prediction"):
        monkeypatch.setattr(type(model), work, lambda *_, **__: pytest.fail("work began"))
    with pytest.raises(WorkbenchError, match=words):
        method.fit(model, list(concepts))


def test_bad_folders_are_refused_before_any_work(model, method, pictures, tmp_path, monkeypatch):
    refuses(replace(method, folder=str(tmp_path / "absent")), model, "is no folder", monkeypatch)
    (tmp_path / "empty").mkdir()
    refuses(replace(method, folder=str(tmp_path / "empty")), model, "There are no pictures", monkeypatch)
    method = replace(method, folder=str(pictures), images=9)
    refuses(method, model, "2 are to be erased", monkeypatch, (FOX, Concept("cat")))
    Image.new("RGB", (40, 31)).save(pictures / "1.png")
    refuses(method, model, "40×31 pixels", monkeypatch)
    (pictures / "1.png").write_bytes(b"not a picture")
    refuses(method, model, "cannot be read as a picture", monkeypatch)
    whole = (pictures / "0.png").read_bytes()
    (pictures / "1.png").write_bytes(whole[: len(whole) // 2])  # cut short
    refuses(method, model, "cannot be read as a picture", monkeypatch)


def test_an_absent_adapter_is_refused_before_any_work(model, method, tmp_path, monkeypatch):
    refuses(replace(method, adapter=str(tmp_path)), model, "which adapter is meant", monkeypatch)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"blur": 4}, "no middle"),
        ({"images": 0}, "images is 0"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"beside_text": False}, "no text to be refined by"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, words):
    with pytest.raises(WorkbenchError, match=words):
        CoErasing(**wrong)
