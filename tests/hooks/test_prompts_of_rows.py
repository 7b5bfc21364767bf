"""What hooks are told of the pictures that the rows of a call belong to."""

from workbench.concepts import Concept
from workbench.erasure.sld import SLD
from workbench.hooks import SiteEdit

PROMPTS = ("a photo of a fox", "a red cat")


def prompts_seen(model, run, site="unet.mid"):
    """The prompts of the rows at every call that reaches the site."""
    seen = []

    def look(x, clock):
        seen.append(clock.prompts)
        return x

    with model.session(edits=[SiteEdit(model.site(site), look)]):
        run()
    return seen


def test_both_branches_of_guidance_are_told_the_prompts_of_their_pictures(tiny_sd1):
    seen = prompts_seen(tiny_sd1, lambda: tiny_sd1.generate(PROMPTS, [0, 1], steps=2, negative_prompt="a dog"))
    assert set(seen) == {PROMPTS * 2}


def test_without_guidance_there_is_one_row_a_picture(tiny_sd1):
    seen = prompts_seen(tiny_sd1, lambda: tiny_sd1.generate(PROMPTS, [0, 1], steps=2, guidance_scale=1.0))
    assert set(seen) == {PROMPTS}


def test_a_branch_that_guidance_adds_belongs_to_the_same_pictures(tiny_sd1):
    with tiny_sd1.edited(SLD().fit(tiny_sd1, [Concept("fox")])):
        seen = prompts_seen(tiny_sd1, lambda: tiny_sd1.generate(PROMPTS, [0, 1], steps=2))
    assert set(seen) == {PROMPTS * 3}


def test_a_direct_call_knows_the_prompts_of_conditional_rows_alone(tiny_sd1):
    latents = tiny_sd1.noise([0, 1])
    one, both = tiny_sd1.encode(PROMPTS[0]), tiny_sd1.encode(PROMPTS)
    none = tiny_sd1.encode("", role="uncond")
    assert prompts_seen(tiny_sd1, lambda: tiny_sd1.noise_prediction(latents, 500, both)) == [PROMPTS]
    assert prompts_seen(tiny_sd1, lambda: tiny_sd1.noise_prediction(latents, 500, one)) == [PROMPTS[:1] * 2]
    assert prompts_seen(tiny_sd1, lambda: tiny_sd1.noise_prediction(latents, 500, none)) == [None]
    assert prompts_seen(tiny_sd1, lambda: tiny_sd1.encode(PROMPTS), site="text.0") == [PROMPTS]
