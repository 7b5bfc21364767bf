"""The tables of aliases of all five architectures, against what their modules really hand over."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.hooks import SiteEdit

KINDS = ["sd1", "sd2", "sdxl", "sd3", "flux"]
EXPECTED = {
    "sd1": ["text.1", "text.1.mlp", "text.1.attn", "text.1.attn.heads", "unet.down.0", "unet.down.0.0", "unet.mid",
            "unet.mid.attn2", "unet.mid.attn2.heads",
            "unet.up.1.1.attn1", "unet.up.1.1.attn2", "unet.up.1.1.mlp", "unet.out"],
    "sd2": ["text.0.attn", "unet.down.1", "unet.mid.mlp", "unet.up.1.0.attn2"],
    "sdxl": ["text.1", "text2.2.mlp", "unet.mid.1", "unet.mid.1.attn2", "unet.up.0.1.1.attn2"],
    "sd3": ["text.1", "text2.1.attn", "text3.1", "text3.1.attn", "text3.1.mlp", "transformer.0", "transformer.0.text",
            "transformer.0.attn", "transformer.0.text.attn", "transformer.1.mlp", "transformer.out"],
    "flux": ["text.1", "text2.1.mlp", "transformer.1", "transformer.1.text.mlp", "transformer.single.1.attn",
             "transformer.single.0.text", "transformer.single.1.mlp", "transformer.out"],
}  # fmt: skip
WITHOUT_EFFECT = {  # what the architecture itself throws away: SDXL reads its first encoder one layer before the last
    "sdxl": {"text.2", "text.2.attn", "text.2.attn.heads", "text.2.mlp"},
    "flux": {"transformer.single.1.text"},
}


def prediction(model):
    return model.noise_prediction(model.noise([0]), 500, model.encode("a photo of a fox"))


@pytest.mark.parametrize("kind", KINDS)
def test_aliases_exist_and_declare_the_shapes_that_modules_hand_over(tiny, kind):
    model = tiny(kind)
    sites = model.sites()
    assert set(EXPECTED[kind]) <= set(sites)
    with model.session(record=list(sites)) as session:
        prediction(model)
    for alias, site in sites.items():
        ((clock, activation),) = session.records[alias]
        assert activation.shape == (1, site.positions, site.channels), alias
        assert clock.component == site.component == ("prompt" if alias.startswith("text") else "image"), alias


@pytest.mark.parametrize("kind", KINDS)
def test_every_site_that_the_architecture_uses_reaches_the_prediction(tiny, kind):
    model = tiny(kind)
    plain = prediction(model)
    without_effect = set()
    for alias, site in model.sites().items():
        with model.session(edits=[SiteEdit(site, lambda activation, clock: activation * 1.5 + 0.5)]):
            if torch.equal(prediction(model), plain):
                without_effect.add(alias)
    assert without_effect == WITHOUT_EFFECT.get(kind, set())
    assert torch.equal(prediction(model), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_that_does_nothing_at_all_sites_leaves_every_bit(tiny, kind):
    model = tiny(kind)
    plain = model.generate("a photo of a fox", [1, 2], steps=2)
    same_object = [SiteEdit(site, lambda activation, clock: activation) for site in model.sites().values()]
    rewritten = [SiteEdit(site, lambda a, clock: a.contiguous().clone()) for site in model.sites().values()]
    for edits in (same_object, rewritten):
        with model.session(edits=edits):
            assert (model.generate("a photo of a fox", [1, 2], steps=2) == plain).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_recorded_is_not_overwritten_later_in_the_forward_pass(tiny, kind):
    """Records are views; a module further on that worked in place would alter them."""
    model = tiny(kind)
    sites = list(model.sites())
    with model.session(record=sites) as views:
        prediction(model)
    with model.session(record=sites, keep=lambda site, activation, clock: activation.clone()) as copies:
        prediction(model)
    for alias in sites:
        assert torch.equal(views.records[alias][0][1], copies.records[alias][0][1]), alias


def test_the_penultimate_text_layer_can_be_edited_where_transformers_collects_it(tiny_sdxl):
    """transformers collects hidden states with hooks of its own; an ordinary hook comes too late."""
    model = tiny_sdxl
    plain = model.encode("a fox").embeddings  # from now on transformers has its hooks installed
    site = model.site("text.1")
    late = model.module(site.path).register_forward_hook(lambda module, args, output: output + 1)
    assert torch.equal(model.encode("a fox").embeddings, plain), "what hooks.md measured has changed"
    late.remove()
    with model.session(edits=[SiteEdit(site, lambda activation, clock: activation + 1)]):
        edited = model.encode("a fox").embeddings
    d_first = site.channels
    assert_close(edited[..., :d_first], plain[..., :d_first] + 1)
    assert torch.equal(edited[..., d_first:], plain[..., d_first:])


def test_text_sites_are_found_with_and_without_an_inner_text_model(tiny_sdxl):
    assert not hasattr(tiny_sdxl.pipe.text_encoder, "text_model")
    assert hasattr(tiny_sdxl.pipe.text_encoder_2, "text_model")
    assert tiny_sdxl.site("text.0").path == "text_encoder.encoder.layers.0"
    assert tiny_sdxl.site("text2.0").path == "text_encoder_2.text_model.encoder.layers.0"


def test_an_unknown_site_names_the_nearest(tiny_sd1):
    with pytest.raises(WorkbenchError, match=r"Unknown site 'unet.mid.attn3'.*'unet\.mid\.attn"):
        tiny_sd1.site("unet.mid.attn3")
    with pytest.raises(WorkbenchError, match="Unknown site"):
        tiny_sd1.session(record=["txt.1"])
    with pytest.raises(WorkbenchError, match=r"no module 'unet\.middle'"):
        tiny_sd1.module("unet.middle")


def test_prompt_maps_are_the_weights_that_read_the_prompt(tiny_sd1, tiny_sdxl, tiny_sd3):
    maps = tiny_sd1.prompt_maps()
    sites = [alias for alias in tiny_sd1.sites() if alias.endswith(".attn2")]
    assert len(maps) == 2 * len(sites) > 0
    for name, weight in maps.items():
        assert weight is tiny_sd1.parameter(name) and weight.shape[1] == 16
    assert len(tiny_sdxl.prompt_maps()) == 2 * (2 + 2 + 4) and tiny_sdxl.prompt_maps("pooled") == {}
    for reads, name in (("embeddings", "context_embedder"), ("pooled", "time_text_embed.text_embedder.linear_1")):
        assert list(tiny_sd3.prompt_maps(reads)) == [f"transformer.{name}.weight"]
    with pytest.raises(WorkbenchError, match="no parameter"):
        tiny_sd1.parameter("unet.mid_block.weight")


def test_gradient_checkpointing_of_a_real_denoiser_keeps_gradients_and_counts(tiny_sd1):
    model, gradients = tiny_sd1, []
    encoding, latents = model.encode("a fox"), model.noise([0])
    for checkpointing in (False, True):
        strength = torch.ones(16, requires_grad=True)
        if checkpointing:
            model.pipe.unet.enable_gradient_checkpointing()
        sites = [model.site("unet.mid.attn2"), model.site("unet.mid")]
        edits = [SiteEdit(site, lambda a, clock, s=strength: a * s) for site in sites]
        with model.session(record=["unet.mid"], edits=edits) as session:
            model.noise_prediction(latents.clone().requires_grad_(), 500, encoding).pow(2).sum().backward()
        model.pipe.unet.disable_gradient_checkpointing()
        assert session.hits["unet.mid.attn2"] == 1 and len(session.records["unet.mid"]) == 1
        gradients.append(strength.grad)
    assert_close(*gradients)
    assert gradients[0].abs().sum() > 0


def test_a_site_is_found_by_its_module_too_where_that_says_which(tiny_sd1):
    for alias in ("text.1", "unet.mid", "unet.up.1.0.attn2", "unet.up.1.0.mlp"):
        assert tiny_sd1.site(tiny_sd1.site(alias).path) is tiny_sd1.site(alias)
    with pytest.raises(WorkbenchError, match=r"Unknown site 'unet\.mid_blocks'"):
        tiny_sd1.site("unet.mid_blocks")
