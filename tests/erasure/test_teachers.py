"""Frozen teachers: until a student has learnt something, it predicts what its teacher does, bit for bit."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from tests.tiny_adapters import save_tiny_adapter
from workbench.concepts import Concept
from workbench.erasure import all_but_one, co_erasing, concept_ablation, doco, esd, spm
from workbench.fitting.players import generator_of
from workbench.models import Diffusion, load

FOX = Concept("fox", anchor="cat", retain=["dog"], templates=["a photo of a {}", "{}"])
FEW = {"steps": 3, "trajectories": 2, "iterations": 2}
CO_ERASING = co_erasing.CoErasing(images=2, steps=2, text_iterations=0, iterations=2)
ABLATION = concept_ablation.ConceptAblation(images=2, batch=2, prior=0.5)
CASES = {
    "esd, online": (esd, esd.ESD(**FEW)),
    "esd, remembered": (esd, esd.ESD(sampler="frozen", train="esd-u", **FEW)),
    "all but one, online": (all_but_one, all_but_one.AllButOne(sampler="student", **FEW)),
    "all but one, remembered": (all_but_one, all_but_one.AllButOne(train="full", **FEW)),
    "spm, online": (spm, spm.SPM(anchors=1, **FEW)),
    "spm, remembered": (spm, spm.SPM(sampler="frozen", anchors=1, **FEW)),
    "concept ablation, frozen": (concept_ablation, replace(ABLATION, teacher="frozen")),
    "concept ablation, self": (concept_ablation, ABLATION),
    "doco": (doco, doco.DoCo(images=2, batch=2)),
    "co-erasing, erased": (co_erasing, CO_ERASING),
    "co-erasing, clean": (co_erasing, replace(CO_ERASING, teacher="clean", train="noxattn")),
}
HALF = [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.gpu)]  # the CPU has no training beside float16


class Reached(Exception):
    """The first loss was computed."""


@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
@pytest.mark.parametrize("name", CASES)
def test_a_student_that_has_learnt_nothing_predicts_what_its_teacher_predicts(tiny, name, dtype, tmp_path, monkeypatch):
    """Every handle that is asked for the first loss, at one place of the fit's own; and all of them compute alike."""
    device = "cuda" if dtype == torch.float16 else "cpu"
    model = load(tiny("sd1").folder, device=device, dtype=dtype)
    for one in model.pipe.unet.parameters():
        one.data = one.data.clone()  # a copy lies elsewhere, and kernels differ with how weights are aligned
    module, method = CASES[name]
    if module is co_erasing:
        method = replace(method, adapter=str(save_tiny_adapter(model, tmp_path / "adapter")))
    asked, autocast = [], set()
    predict = Diffusion.noise_prediction

    def watched(self, *given):
        asked.append((self, given))
        with_hook = self.pipe.unet.conv_in.register_forward_hook(
            lambda *_: autocast.add(torch.is_autocast_enabled(device))
        )
        with with_hook:
            return predict(self, *given)

    def first_loss(players, **_):
        player = players["generator"] if isinstance(players, dict) else players
        given = player.loss(0, generator_of(0, 0))
        list(given if isinstance(given, Iterator) else ())  # each part of a loss is made when it is asked for
        place = asked[-1][1]
        handles = {id(handle): handle for handle, _ in asked}.values()
        with torch.no_grad():
            said = [predict(handle, *place) for handle in handles]
        assert len(said) == (1 if name.endswith("self") else 2)
        assert {one.dtype for one in said} == {torch.float32}
        assert all(torch.equal(one, said[0]) for one in said)
        raise Reached

    monkeypatch.setattr(Diffusion, "noise_prediction", watched)
    monkeypatch.setattr(module, "train", first_loss)
    with pytest.raises(Reached):
        method.fit(model, [FOX])
    assert autocast == {dtype != torch.float32}
