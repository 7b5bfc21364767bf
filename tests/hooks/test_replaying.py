import pytest
import torch

from saes.errors import WorkbenchError
from workbench.hooks.replaying import replayed, taped


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3", "flux"])
def test_a_replay_sees_the_taped_latents_and_nothing_of_its_own(tiny, kind):
    model = tiny(kind)
    denoiser = model.module(model.architecture.denoiser.path)
    with taped(denoiser) as first:
        image = model.generate("a fox", 1, steps=2)
    with replayed(denoiser, first), model.session(record=[list(model.sites())[-1]]) as session:
        with taped(denoiser) as second:
            model.generate("a fox", 2, steps=2)
    assert len(first) == len(second) and all(map(torch.equal, first, second))
    with model.session(record=[list(model.sites())[-1]]) as own:
        assert (model.generate("a fox", 1, steps=2) == image).all()
    alias = list(model.sites())[-1]
    for (_, replayed_output), (_, output) in zip(session.records[alias], own.records[alias], strict=True):
        assert torch.equal(replayed_output, output)
    assert not denoiser._forward_pre_hooks


def test_another_number_of_steps_or_pictures_is_refused(tiny_sd1):
    with taped(tiny_sd1.pipe.unet) as tape:
        tiny_sd1.generate("a fox", 1, steps=2)
    for seeds, steps in (([1], 3), ([1], 1), ([1, 2], 2)):
        with (
            pytest.raises(WorkbenchError, match="calls the picture side otherwise"),
            replayed(tiny_sd1.pipe.unet, tape),
        ):
            tiny_sd1.generate("a fox", seeds, steps=steps)
    assert not tiny_sd1.pipe.unet._forward_pre_hooks
