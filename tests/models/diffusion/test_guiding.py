"""Guidance is edited at the denoiser's boundary: hooks, clocks and recorders are as they were, and all goes away."""

import numpy as np
import pytest
import torch
from diffusers import LCMScheduler, UNet2DConditionModel

from saes.errors import WorkbenchError
from tests.tiny_pipelines import PIPELINES, save_tiny
from workbench.concepts import Concept
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.erasure.sld import SLD
from workbench.hooks import AttentionRecorder, SiteEdit
from workbench.models import load
from workbench.models.diffusion.guiding import Guide


def away(joined, safe, call):
    return joined._replace(cond=joined.cond - 0.5 * (safe - joined.uncond))


def guide(prompt="fox"):
    return Guide(lambda steps: away, prompt)


PROMPTS, SEEDS = ["a cat", "a red dog"], [1, 2]


@pytest.mark.parametrize(("kind", "first"), [("sd1", "conv_in"), ("sd2", "conv_in"), ("sdxl", "conv_in"),
                                             ("sd3", "pos_embed")])  # fmt: skip
def test_one_more_branch_is_three_rows_a_picture_and_step_instead_of_two(tiny, kind, first):
    model, rows = tiny(kind), []
    layer = model.module(f"{model.architecture.denoiser.path}.{first}")
    hook = layer.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    try:
        model.generate(PROMPTS, SEEDS)
        calls, plain = len(rows), sum(rows)
        with model.guiding.installed(negative="fox"):
            model.generate(PROMPTS, SEEDS)
        with model.guiding.installed(guide()):
            model.generate(PROMPTS, SEEDS)
    finally:
        hook.remove()
    assert calls == (5 if kind == "sd1" else 4)  # PNDM asks once more
    assert plain == 2 * 2 * calls and rows[calls:] == [4] * calls + [6] * calls


def told(clock):
    return clock.component, clock.call, clock.timestep, clock.roles, clock.aside


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3"])
def test_recorders_get_the_rows_that_they_got_before(tiny, kind):
    model = tiny(kind)
    sites, attention = list(model.sites()), list(model.attention_sites().values())

    def seen(*guides):
        with model.guiding.installed(*guides), AttentionRecorder(model, attention) as maps:
            with model.session(record=sites) as session:
                model.generate(PROMPTS, SEEDS, steps=2)
        return {**session.records, **maps.records}

    before, after = seen(), seen(guide())
    for alias, records in before.items():
        assert [told(clock) for clock, _ in after[alias]] == [told(clock) for clock, _ in records]
        assert [x.shape for _, x in after[alias]] == [x.shape for _, x in records]
        torch.testing.assert_close(after[alias][0][1][:2], records[0][1][:2], rtol=1e-4, atol=1e-5)


def test_the_last_layer_hands_over_what_guidance_made_of_it(tiny_sd1):
    def out(*guides):
        with tiny_sd1.guiding.installed(*guides), tiny_sd1.session(record=["unet.up.1", "unet.out"]) as session:
            tiny_sd1.generate("a cat", 1, steps=2)
        return {alias: records[0][1] for alias, records in session.records.items()}

    before, after = out(), out(guide())
    torch.testing.assert_close(after["unet.up.1"], before["unet.up.1"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after["unet.out"][0], before["unet.out"][0], rtol=1e-4, atol=1e-5)
    assert (after["unet.out"][1] - before["unet.out"][1]).abs().max() > 1e-3


def test_edits_inside_see_the_added_rows_as_unconditional_and_of_no_picture(tiny_sd1):
    clocks = []

    def note(x, clock):
        assert len(x) == len(clock.roles)
        clocks.append(clock)
        return x

    edits = [SiteEdit(tiny_sd1.site(alias), note) for alias in ("text.0", "unet.mid", "unet.out")]
    with tiny_sd1.guiding.installed(guide("fox"), guide("dog")), tiny_sd1.session(edits=edits):
        tiny_sd1.generate(PROMPTS, SEEDS, steps=2)
    text = [(clock.roles, clock.aside) for clock in clocks if clock.component == "prompt"]
    assert text == [(("uncond",), 0), (("uncond",), 1), (("uncond",), 1), (("cond", "cond"), 0)]
    mid, out, *_ = (clock for clock in clocks if clock.component == "image")
    assert mid.roles == ("uncond",) * 2 + ("cond",) * 2 + ("uncond",) * 4 and mid.aside == 4
    assert out.roles == mid.own.roles == ("uncond",) * 2 + ("cond",) * 2
    assert (out.aside, out.call, out.timestep) == (0, mid.call, mid.timestep)


def test_rules_come_one_after_another_and_begin_anew_with_each_batch(tiny_sd1):
    told = []

    def begin(steps):
        calls = []
        told.append((steps, calls))

        def rule(joined, safe, call):
            calls.append(call)
            return joined._replace(cond=2 * joined.cond)

        return rule

    def halved(joined, safe, call):
        assert safe is None
        return joined._replace(cond=joined.cond / 2)

    with tiny_sd1.guiding.installed(Guide(begin), Guide(lambda steps: halved)):
        images = tiny_sd1.generate(PROMPTS, SEEDS, batch_size=1, steps=3)
    assert told == [(3, [0, 1, 2, 3])] * 2
    assert np.array_equal(images, tiny_sd1.generate(PROMPTS, SEEDS, batch_size=1, steps=3))


def test_the_denoiser_is_itself_again_also_after_an_error(tiny_sd1, monkeypatch):
    unet = tiny_sd1.pipe.unet
    monkeypatch.delitem(vars(unet), "forward", raising=False)  # nnsight leaves one behind where it has traced
    with pytest.raises(RuntimeError, match="stop"), tiny_sd1.guiding.installed(Guide(_stopping)):
        tiny_sd1.generate("a cat", 1)
    assert "forward" not in vars(unet) and tiny_sd1.guiding.guides == []
    wrapper = unet.forward  # another library's wrapper on the instance, such as accelerate's
    unet.forward = wrapper
    try:
        with tiny_sd1.guiding.installed(guide()):
            tiny_sd1.generate("a cat", 1, steps=1)
        assert vars(unet)["forward"] is wrapper
    finally:
        del unet.forward


def _stopping(steps):
    def rule(joined, safe, call):
        raise RuntimeError("stop")

    return rule


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def distilled(request, tmp_path_factory):
    """A model whose UNet is told the guidance scale, as a latent consistency model is."""
    folder = save_tiny(request.param, tmp_path_factory.mktemp("distilled") / "pipeline")
    pipe = PIPELINES[request.param]()
    said = {name: value for name, value in pipe.unet.config.items() if not name.startswith("_")}
    unet = UNet2DConditionModel.from_config({**said, "time_cond_proj_dim": 8})
    pipe.register_modules(unet=unet, scheduler=LCMScheduler())
    pipe.save_pretrained(folder)
    (folder / "workbench.json").write_text('{"steps": 2, "guidance_scale": 4.0, "image_size": 32}')
    return load(folder, device="cpu")


def test_a_denoiser_that_guides_within_is_told_the_scale(distilled):
    prompt, seen = "a photo of a fox", []
    handle = distilled.pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    )
    with distilled.session(record=["unet.mid"]) as session:
        picture = distilled.generate(prompt, 1)
    assert [tensor.shape[0] for _, tensor in session.records["unet.mid"]] == [1, 1], "there are no unconditional rows"
    (latents, timestep), told = seen[0][0][:2], seen[0][1]
    with torch.no_grad():
        own = distilled.pipe.unet(latents, timestep, **{**told, "return_dict": False})[0]
        torch.testing.assert_close(distilled.noise_prediction(latents, timestep, distilled.encode(prompt)), own)
        other = distilled.pipe.get_guidance_scale_embedding(torch.tensor([8.0]), embedding_dim=8)
        assert not torch.allclose(distilled.pipe.unet(latents, timestep, **{**told, "timestep_cond": other})[0], own)
    handle.remove()
    assert not np.array_equal(picture, distilled.generate(prompt, 1, guidance_scale=9.0))


def test_what_acts_on_branches_is_refused_where_guidance_is_within(distilled):
    with pytest.raises(WorkbenchError, match="without unconditional rows, so a negative prompt has no effect"):
        distilled.generate("a fox", 1, negative_prompt="cat")
    for method in (NegativePrompt(), SLD()):
        with pytest.raises(WorkbenchError, match=r"has no (guidance branches|negative prompt)\. .*that have it"):
            method.fit(distilled, [Concept("fox", anchor="cat")])
