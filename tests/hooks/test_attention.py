import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.hooks import AttentionRecorder, AttentionSite
from workbench.hooks.attention import probabilities


def by_definition(query, key, value_free_mask=None, **options):
    """Attention of one-hot values gives back the probabilities: torch's own function as the reference."""
    keys = key.shape[-2]
    values = torch.eye(keys).expand(*query.shape[:-2], keys, keys)
    return F.scaled_dot_product_attention(query, key, values, value_free_mask, **options).mean(1)


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        (None, {}),
        (None, {"is_causal": True}),
        (None, {"scale": 0.3}),
        (torch.eye(5) + torch.eye(5).roll(2, 0) > 0, {}),
        (torch.arange(5)[:, None] * torch.ones(5) > 0, {}),  # the first row sees no key at all
        (torch.randn(2, 1, 5, 5), {}),
        (torch.randn(2, 4, 5, 5), {}),
    ],
)
def test_probabilities_are_those_of_torch(mask, options):
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 2, 4, 5, 8, generator=generator)
    assert_close(probabilities(query, key, attn_mask=mask, **options), by_definition(query, key, mask, **options))
    chosen = probabilities(query, key, slice(1, 4), attn_mask=mask, **options)
    assert_close(chosen, by_definition(query, key, mask, **options)[:, 1:4])
    second = probabilities(query, key, rows=[1], attn_mask=mask, **options)
    assert_close(second, by_definition(query, key, mask, **options)[1:])


def test_heads_give_the_same_one_by_one(monkeypatch):
    query, key = torch.randn(2, 2, 4, 5, 8)
    mask = torch.randn(2, 4, 5, 5)
    monkeypatch.setattr("workbench.hooks.attention.AT_ONCE", 1)
    assert_close(probabilities(query, key, attn_mask=mask), by_definition(query, key, mask))


def test_grouped_heads_share_keys():
    query, key = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8)
    expected = by_definition(query, key.repeat_interleave(2, 1))
    assert_close(probabilities(query, key, enable_gqa=True), expected)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "sd3", "flux"])
def test_every_architecture_shows_where_the_picture_attends(tiny, kind):
    model = tiny(kind)
    sites = list(model.attention_sites().values())
    plain = model.generate("a fox", 1, steps=2)
    with AttentionRecorder(model, sites) as recorder:
        assert (model.generate("a fox", 1, steps=2) == plain).all(), "reading changes nothing"
    tokens = model.encode("a fox").embeddings.shape[1]
    for site in sites:
        clock, seen = recorder.records[site.alias][0]
        assert seen.shape[1:] == (model.site(site.alias).positions if "single" not in site.alias else 64, tokens)
        shares = seen.sum(-1)
        if kind in ("sd3", "flux"):  # the rest goes to the picture itself
            assert (shares > 0).all() and (shares < 1).all()
        else:
            assert_close(shares, torch.ones_like(shares))
        assert len(clock.roles) == len(seen) == (1 if kind == "flux" else 2)


def test_the_columns_of_a_joint_block_are_its_text(tiny_sd3, tiny_flux):
    """Text keys that are all made equal get equal attention; those of the picture stay different."""
    for model in (tiny_sd3, tiny_flux):
        site = model.attention_sites()["transformer.0.attn"]
        text_keys = model.module(f"{site.path}.add_k_proj")
        equal = text_keys.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
        with AttentionRecorder(model, [site]) as recorder:
            model.noise_prediction(model.noise([0]), 500, model.encode("a fox"))
        equal.remove()
        seen = recorder.records[site.alias][0][1]
        assert_close(seen, seen[..., :1].expand_as(seen))
        assert seen[..., 0].std() > 0, "each pixel shares its attention out differently"


def test_keep_thins_a_record(tiny_sd1):
    def keep(site, seen, clock):
        return seen[clock.mask("cond"), :, 1:3] if clock.call == 0 else None

    site = tiny_sd1.attention_sites()["unet.mid.attn2"]
    with AttentionRecorder(tiny_sd1, [site], keep) as recorder:
        tiny_sd1.generate("a fox", [1, 2], steps=2)
    ((_, kept),) = recorder.records["unet.mid.attn2"]
    assert kept.shape == (2, 64, 2) and kept.untyped_storage().nbytes() == kept.nbytes


def test_a_role_is_recorded_alone(tiny_sd1):
    site = tiny_sd1.attention_sites()["unet.mid.attn2"]
    with AttentionRecorder(tiny_sd1, [site]) as both, AttentionRecorder(tiny_sd1, [site], role="uncond") as alone:
        tiny_sd1.generate("a fox", [1, 2], steps=2, guidance_scale=2.0)
        tiny_sd1.generate("a fox", [1], steps=2, guidance_scale=1.0)  # no unconditional rows
    assert {clock.call for clock, _ in alone.records[site.alias]} == {0, 1, 2}  # PNDM: a call more than steps
    assert len(alone.records[site.alias]) == 3 < len(both.records[site.alias])
    for (_, all_rows), (_, own) in zip(both.records[site.alias], alone.records[site.alias], strict=False):
        assert_close(own, all_rows[:2])


def test_torch_has_its_function_back_also_when_the_body_raises(tiny_sd1):
    original = F.scaled_dot_product_attention
    sites = list(tiny_sd1.attention_sites().values())
    with pytest.raises(KeyError), AttentionRecorder(tiny_sd1, sites):
        assert F.scaled_dot_product_attention is not original
        raise KeyError
    with pytest.raises(WorkbenchError, match="no module"), AttentionRecorder(tiny_sd1, [AttentionSite("x", "unet.x")]):
        pass
    assert F.scaled_dot_product_attention is original
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in tiny_sd1.pipe.unet.modules())


def test_a_module_without_attention_is_an_error(tiny_sd1):
    with pytest.raises(WorkbenchError, match="never called scaled_dot_product_attention"):
        with AttentionRecorder(tiny_sd1, [AttentionSite("mlp", "unet.mid_block.resnets.0")]):
            tiny_sd1.generate("a fox", 1, steps=1)


def test_each_head_is_recorded_where_that_is_asked(tiny_sd1):
    site = tiny_sd1.attention_sites()["unet.mid.attn2"]
    with AttentionRecorder(tiny_sd1, [site]) as mean, AttentionRecorder(tiny_sd1, [site], heads=True) as apart:
        tiny_sd1.generate("a fox", 0, steps=1)
    (_, averaged), (_, each) = mean.records[site.alias][0], apart.records[site.alias][0]
    assert each.dim() == 4 and each.shape[1] > 1
    assert_close(each.mean(dim=1), averaged)
    assert_close(each.sum(dim=-1), torch.ones(each.shape[:3]))
