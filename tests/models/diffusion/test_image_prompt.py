"""Image tokens beside the text: equation 2 against its own terms, and nothing at all without an image."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from transformers import CLIPImageProcessor

from saes.disk import read_tensors, write_tensors
from saes.errors import WorkbenchError
from tests.tiny_adapters import save_tiny_adapter
from tests.tiny_pipelines import save_tiny
from workbench.models import load
from workbench.models.diffusion.image_prompt import ImagePrompt, cross_attentions

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(save_tiny("sd1", tmp_path_factory.mktemp("sd1") / "sd1"), device="cpu", dtype=torch.float64)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return save_tiny_adapter(model, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="module")
def prompt(model, folder):
    return ImagePrompt.open(folder, model)


@pytest.fixture(scope="module")
def x(model):
    return model.noise([3, 4]).double()


def test_without_an_image_the_model_is_plain_bit_for_bit(model, prompt, x):
    text, r = model.encode("a photo of a fox"), prompt.tokens(IMAGES[:1])
    plain = model.noise_prediction(x, 500, text)
    with prompt.attached(model) as beside:
        assert torch.equal(beside.noise_prediction(x, 500, text, None), plain)
        assert torch.equal(model.noise_prediction(x, 500, text), plain)
        assert (beside.noise_prediction(x, 500, text, r) - plain).abs().max() > 1e-4
    with prompt.attached(model, scale=0.0) as beside:
        assert_close(beside.noise_prediction(x, 500, text, r), plain, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_an_image_adds_the_second_term_of_equation_2(model, prompt, x, scale):
    text, r = model.encode("a photo of a fox"), prompt.tokens(IMAGES[:1])
    attention, image = cross_attentions(model.pipe.unet)[0], prompt.adapter.attention[0]
    seen = []
    with attention.register_forward_hook(lambda _, given, out: seen.append((given[0], out))):
        plain = model.noise_prediction(x, 500, text)
        with prompt.attached(model, scale) as beside:
            beside.noise_prediction(x, 500, text, r)
    assert plain.isfinite().all()
    (h, without), (same, with_image) = seen[:2]
    assert_close(h, same)  # the first cross-attention, so its input is the same
    heads, d = attention.heads, attention.to_q.out_features // attention.heads
    query, key, value = (
        (rows @ weight.T).reshape(2, -1, heads, d).transpose(1, 2)
        for rows, weight in (
            (h, attention.to_q.weight),
            (r.expand(2, -1, -1), image.to_k_ip[0].weight),
            (r.expand(2, -1, -1), image.to_v_ip[0].weight),
        )
    )
    second = (query @ key.mT / d**0.5).softmax(-1) @ value
    added = second.transpose(1, 2).flatten(2) @ attention.to_out[0].weight.T
    assert_close(with_image - without, scale * added, rtol=0, atol=1e-10)


def test_each_row_sees_its_own_image(model, prompt, x):
    text, r = model.encode("a photo of a fox"), prompt.tokens(IMAGES[:2])
    with prompt.attached(model) as beside:
        both = beside.noise_prediction(x, 500, text, r)
        alone = torch.cat([beside.noise_prediction(x[[i]], 500, text, r[[i]]) for i in range(2)])
    assert_close(both, alone)
    assert (r[0] - r[1]).abs().max() > 1e-4


def test_the_model_is_as_before_also_after_an_error(model, prompt, x):
    processors, names = dict(model.pipe.unet.attn_processors), list(model.pipe.unet.state_dict())
    text, r = model.encode("a fox"), prompt.tokens(IMAGES[:1])
    with pytest.raises(KeyboardInterrupt), prompt.attached(model) as beside:
        assert list(model.pipe.unet.state_dict()) == names
        with pytest.raises(RuntimeError):
            beside.noise_prediction(x, 500, text, r[..., :5])
        plain = beside.noise_prediction(x, 500, text, None)
        raise KeyboardInterrupt
    assert dict(model.pipe.unet.attn_processors) == processors
    assert torch.equal(model.noise_prediction(x, 500, text), plain)


def test_diffusers_own_loader_reads_the_folder_and_agrees(model, prompt, folder, x):
    pipe = deepcopy(model.pipe)
    pipe.register_modules(image_encoder=prompt.encoder.double(), feature_extractor=prompt.processor)
    pipe.load_ip_adapter(str(folder), subfolder="", weight_name="adapter.safetensors", low_cpu_mem_usage=False)
    embeds = pipe.encode_image([Image.fromarray(IMAGES[0])], "cpu", 1)[0]
    text = model.encode("a photo of a fox")
    theirs = pipe.unet.double()(
        x, 500, text.embeddings.expand(2, -1, -1), added_cond_kwargs={"image_embeds": [embeds[None].expand(2, -1, -1)]}
    ).sample
    with prompt.attached(model) as beside:
        assert_close(beside.noise_prediction(x, 500, text, prompt.tokens(IMAGES[:1])), theirs)


def test_images_are_normalised_by_the_encoders_own_statistics(model, folder, tmp_path):
    own = save_tiny_adapter(model, tmp_path / "own")
    CLIPImageProcessor(size=16, crop_size=16, image_mean=[0.2, 0.3, 0.4], image_std=[0.5, 0.6, 0.7]).save_pretrained(
        own / "image_encoder"
    )
    stated, assumed = ImagePrompt.open(own, model), ImagePrompt.open(folder, model)
    pixels = torch.from_numpy(IMAGES[:, :16, :16]).double().permute(0, 3, 1, 2) / 255
    for prompt, mean, std in (
        (stated, (0.2, 0.3, 0.4), (0.5, 0.6, 0.7)),
        (assumed, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),  # CLIP's
    ):
        normalised = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        expected = prompt.adapter.projection(prompt.encoder(normalised).image_embeds)
        assert_close(prompt.tokens(IMAGES[:, :16, :16]), expected, rtol=0, atol=1e-5)


def test_tokens_go_through_the_projection_even_where_their_sizes_agree(model, tmp_path):
    same = ImagePrompt.open(save_tiny_adapter(model, tmp_path / "same", embed_dim=16), model)
    assert same.encoder.config.projection_dim == model.pipe.unet.config.cross_attention_dim
    assert same.tokens(IMAGES).shape == (3, 4, 16)


def test_what_is_missing_or_does_not_fit_is_said(model, tiny_sdxl, tiny_flux, folder, tmp_path):
    with pytest.raises(WorkbenchError, match=r"0 \.safetensors files"):
        ImagePrompt.open(tmp_path, model)
    weights = read_tensors(folder / "adapter.safetensors")
    write_tensors(tmp_path / "one.safetensors", weights)
    with pytest.raises(WorkbenchError, match="no image encoder"):
        ImagePrompt.open(tmp_path, model)
    write_tensors(tmp_path / "two.safetensors", weights)
    with pytest.raises(WorkbenchError, match=r"2 \.safetensors files"):
        ImagePrompt.open(tmp_path, model)
    with pytest.raises(WorkbenchError, match="does not fit the model"):
        ImagePrompt.open(folder, tiny_sdxl)
    with pytest.raises(WorkbenchError, match="no cross-attention"):
        ImagePrompt.open(folder, tiny_flux)
    assert ImagePrompt.open(folder / "adapter.safetensors", model)
