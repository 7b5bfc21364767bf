import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.hooks import SiteEdit

KINDS = ["sd1", "sd2", "sdxl", "sd3", "flux"]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_an_edit_through_text_encoder_and_denoiser(tiny, kind):
    model = tiny(kind)
    text = "text.1" if kind != "flux" else "text2.1"
    push = torch.zeros(model.site(text).channels, requires_grad=True)
    with model.session(edits=[SiteEdit(model.site(text), lambda activation, clock: activation + push)]):
        loss = model.noise_prediction(model.noise([0]), 500, model.encode("a fox")).pow(2).sum()
    (gradient,) = torch.autograd.grad(loss, push)
    step = 1e-2 * gradient / gradient.norm()
    with model.session(edits=[SiteEdit(model.site(text), lambda activation, clock: activation + step)]):
        moved = model.noise_prediction(model.noise([0]), 500, model.encode("a fox")).pow(2).sum()
    assert moved > loss, "a small step along the gradient raises the loss"


def test_weights_are_frozen_so_that_reading_builds_no_graph(tiny_sd1):
    assert not tiny_sd1.encode("a fox").embeddings.requires_grad
    assert not tiny_sd1.noise_prediction(tiny_sd1.noise([0]), 1, tiny_sd1.encode("a fox")).requires_grad


def test_one_encoded_row_stands_for_all_latents(tiny_sdxl):
    latents, encoding = tiny_sdxl.noise([0, 1]), tiny_sdxl.encode("a fox")
    both = tiny_sdxl.noise_prediction(latents, 500, encoding)
    alone = tiny_sdxl.noise_prediction(latents[1:], 500, encoding)
    assert_close(both[1:], alone, atol=1e-5, rtol=1e-5)


def test_prompts_are_padded_to_the_full_length(tiny_sd1):
    model = tiny_sd1
    with model.session(record=["text.0"]) as session:
        encoding = model.encode(["a fox", "a photo of a cat"])
    clock = session.records["text.0"][0][0]
    assert encoding.embeddings.shape == (2, 12, 16) and clock.token_ids.shape == (2, 12)
    row = model.tokens("a fox")[0]
    assert row.words == ("<|startoftext|>", "a", "fox", "<|endoftext|>")
    assert clock.token_ids[0, :4].tolist() == list(row.ids)
    assert set(clock.token_ids[0, 4:].tolist()) == {model.pipe.tokenizer.pad_token_id}


def test_a_word_unknown_to_the_tokenizer_is_several_tokens(tiny_sd1):
    assert tiny_sd1.tokens(["a zoo"])[0].words == ("<|startoftext|>", "a", "z", "o", "o", "<|endoftext|>")


def test_nothing_to_encode_is_an_error(tiny_sd1):
    with pytest.raises(WorkbenchError, match="no prompts"):
        tiny_sd1.encode([])


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_decoded_as_the_pipeline_decodes_them_and_latents_are_the_way_back(tiny, kind):
    model = tiny(kind)
    seen = []
    watch = model.pipe.vae.register_forward_hook(lambda *_: None)
    decode = model.pipe.vae.decode

    def watched(latents, *args, **kwargs):
        seen.append(latents)
        return decode(latents, *args, **kwargs)

    model.pipe.vae.decode = watched
    try:
        image = model.generate("a fox", 1, steps=2)
    finally:
        model.pipe.vae.decode = decode
        watch.remove()
    config = model.pipe.vae.config
    latents = (seen[0] - (config.shift_factor or 0)) * config.scaling_factor
    assert abs(model.images(latents).astype(int) - image).max() <= 1
    mean = model.pipe.vae.encode(torch.from_numpy(image).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mode()
    assert_close(model.latents(image), (mean - (config.shift_factor or 0)) * config.scaling_factor)


def test_the_handle_shows_itself_in_a_notebook(tiny_sdxl):
    shown = tiny_sdxl._repr_html_()
    assert all(text in shown for text in ("sdxl", "StableDiffusionXLPipeline", "5.0", str(len(tiny_sdxl.sites()))))


def test_clip_skip_is_refused_with_a_reason(tiny_sd1):
    with pytest.raises(WorkbenchError, match="clip_skip does not work here"):
        tiny_sd1.pipe("a fox", clip_skip=1, num_inference_steps=1)
