"""`model.trace`: nnsight at the model's own sites sees, changes and differentiates what a session does."""

import threading

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.hooks import SiteEdit

KINDS = ["sd1", "sd2", "sdxl", "sd3", "flux"]
LAST = {"sd1": "unet.out", "sd2": "unet.out", "sdxl": "unet.out", "sd3": "transformer.out", "flux": "transformer.out"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_reads_every_site_as_a_session_does(tiny, kind):
    model, latents, seen = tiny(kind), tiny(kind).noise([3, 4]), {}
    order = in_order(model)
    with model.trace(["a fox", "a cat"], latents, 500) as look:
        found = {}.save()
        for alias in order:
            found[alias] = look[alias]
    seen.update(found)
    with model.session(record=order) as session, torch.no_grad():
        model.noise_prediction(latents, 500, model.encode(["a fox", "a cat"]))
    for alias in order:
        assert torch.equal(seen[alias].detach(), session.records[alias][0][1]), alias
    denoiser = model.module(model.architecture.denoiser.path)
    assert all(not module._forward_hooks for module in denoiser.modules())


def in_order(model):
    """Whole layers, in the order in which they run; a block that ends with its last transformer hands on its output."""
    wanted = [alias for alias in model.sites() if alias in ("text.0", "unet.down.0", "unet.mid", "unet.up.0",
              "transformer.0", "transformer.1", "transformer.single.0") or alias == LAST[model.kind]]  # fmt: skip
    return sorted(wanted, key=lambda alias: (not alias.startswith("text"), list(model.sites()).index(alias)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("component", ["prompt", "image"])
def test_what_a_trace_writes_acts_as_an_edit_does(tiny, kind, component):
    model, latents = tiny(kind), tiny(kind).noise([3])
    alias = "text.0" if component == "prompt" else in_order(model)[1]
    last = LAST[kind]
    with model.trace("a fox", latents, 500) as look:
        look[alias] = 0.5 * look[alias] + 0.1
        after = look[last].detach().save()
    with model.session(record=[last], edits=[SiteEdit(model.site(alias), lambda x, clock: 0.5 * x + 0.1)]) as session:
        model.noise_prediction(latents, 500, model.encode("a fox"))
    assert_close(after, session.records[last][0][1])
    with model.session(record=[last]) as plain:
        model.noise_prediction(latents, 500, model.encode("a fox"))
    changed = (after - plain.records[last][0][1]).abs().max()
    assert changed > 1e-6 or (kind == "flux" and component == "prompt"), "Flux reads the last token of CLIP alone"


def test_a_gradient_reaches_from_the_picture_to_the_words(tiny_sd1):
    latents, direction = tiny_sd1.noise([3]), torch.randn(16)
    with tiny_sd1.trace("a fox", latents, 500) as look:
        words = look.with_gradient("text.0").save()
        y = look["unet.mid"].square().mean().save()
    (slope,) = torch.autograd.grad(y, words)
    values = []
    for sign in (1, -1):
        shift = [SiteEdit(tiny_sd1.site("text.0"), lambda x, clock, s=sign: x + 0.01 * s * direction)]
        with tiny_sd1.session(record=["unet.mid"], edits=shift), tiny_sd1.session(record=["unet.mid"]) as session:
            tiny_sd1.noise_prediction(latents, 500, tiny_sd1.encode("a fox"))
        values.append(session.records["unet.mid"][0][1].square().mean())
    assert_close((slope @ direction).sum(), (values[0] - values[1]) / 0.02, rtol=2e-2, atol=1e-5)


def test_an_input_is_a_site_too(tiny_sd1):
    alias = next(site.alias for site in tiny_sd1.sites().values() if site.slot == "input")
    latents = tiny_sd1.noise([0])
    with tiny_sd1.trace("a fox", latents, 500) as look:
        look[alias] = 0 * look[alias]
        after = look["unet.out"].detach().save()
    with tiny_sd1.session(edits=[SiteEdit(tiny_sd1.site(alias), lambda x, clock: 0 * x)]):
        assert_close(
            after[0].T.reshape(4, 16, 16), tiny_sd1.noise_prediction(latents, 500, tiny_sd1.encode("a fox"))[0]
        )


def test_sites_out_of_order_are_named(tiny_sd1):
    with pytest.raises(WorkbenchError, match=r"run past 'text\.0'"):
        with tiny_sd1.trace("a fox") as look:
            middle = look["unet.mid"].save()
            words = look["text.0"].save()
            del middle, words


def test_an_unknown_site_is_told_and_the_model_is_free_again(tiny_sd1):
    with pytest.raises(WorkbenchError, match=r"unet\.mid"):
        with tiny_sd1.trace("a fox") as look:
            found = look["unet.mit"].save()
            del found
    with tiny_sd1.trace("a fox") as look:
        middle = look["unet.mid"].save()
    assert middle.shape == (1, 64, 16)


def test_one_trace_at_a_time(tiny_sd1):
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        from workbench.models.diffusion.nnsight_view import nnsight_view

        with nnsight_view(tiny_sd1):
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with pytest.raises(WorkbenchError, match="traced already"):
        with tiny_sd1.trace("a fox") as look:
            middle = look["unet.mid"].save()
            del middle
    done.set()
    thread.join()


def test_a_block_that_is_no_literal_with_is_refused(tiny_sd1):
    with pytest.raises(WorkbenchError, match="literally"):
        tiny_sd1.trace("a fox").__enter__()
    with tiny_sd1.trace("a fox") as look:  # and the model is free
        middle = look["unet.mid"].save()
    assert middle.shape == (1, 64, 16)
