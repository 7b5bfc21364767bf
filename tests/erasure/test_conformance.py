"""Every method of the table against the public conformance suite."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from saes.errors import WorkbenchError
from tests.tiny_adapters import save_tiny_adapter
from tests.tiny_saes import memorising_sae, random_sae, save_tiny_sae
from workbench.concepts import Concept
from workbench.erasure import METHODS, find_method
from workbench.erasure.advunlearn import AdvUnlearn
from workbench.erasure.all_but_one import AllButOne
from workbench.erasure.co_erasing import CoErasing
from workbench.erasure.concept_ablation import ConceptAblation
from workbench.erasure.detect_replace import DetectReplace
from workbench.erasure.doco import DoCo
from workbench.erasure.ear import EAR
from workbench.erasure.esd import ESD
from workbench.erasure.few_shot import FewShot
from workbench.erasure.geom_erasing import GeomErasing
from workbench.erasure.itd import ItD
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.erasure.realera import RealEra
from workbench.erasure.rece import RECE
from workbench.erasure.saeuron import SAeUron
from workbench.erasure.sld import SLD
from workbench.erasure.spm import SPM
from workbench.erasure.steerer import ConceptSteerer
from workbench.erasure.trce import TRCE
from workbench.erasure.uce import UCE
from workbench.erasure.uce_debias import UCEDebias
from workbench.knobs import Opens, hints_of
from workbench.testing import CHECKS, NEED_A_GPU, Case

FOX = Concept("fox", anchor="cat", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
CAT = Concept("cat", anchor="dog", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
UNASKED = tuple(replace(one, implied=["a photo of a dog"]) for one in (FOX, CAT))


PROMISES = [pytest.param(name, marks=pytest.mark.gpu) if name in NEED_A_GPU else name for name in CHECKS]


@pytest.fixture(scope="module")
def cases(tiny_sd1, tiny_sd2, tiny_flux, tiny_janus, tmp_path_factory) -> dict[str, Case]:
    """The one table: how each method is set up for the tiny pipeline, and what it must refuse."""
    folder = tmp_path_factory.mktemp("sae")
    sae = save_tiny_sae(memorising_sae(tiny_sd1, "text.0"), folder / "text.0")
    picture_sae = save_tiny_sae(random_sae(tiny_sd1, "unet.mid"), folder / "unet.mid")
    unsupported = [(tiny_flux, FOX), (tiny_sd1, Concept("fox"))]
    trce = TRCE(trajectories=2, unconditional=2, epochs=1, steps=4, early=2, keep_batch=2, lr=1e-3)
    abo = AllButOne(trajectories=2, steps=3, iterations=2, batch=2, lr=1e-2)
    adv = AdvUnlearn(iterations=3, warmup=1, attack_steps=2, retain_batch=2, trajectories=2, steps=3, lr=3e-3)
    return {
        "advunlearn": Case(adv, tiny_sd1, (FOX, CAT), tiny_sd2, unsupported),
        "all_but_one": Case(
            abo, tiny_sd1, (FOX, CAT), tiny_sd2, [(tiny_flux, FOX), (tiny_sd1, Concept("fox", anchor="Fox "))]
        ),
        "co_erasing": Case(
            CoErasing(
                adapter=str(save_tiny_adapter(tiny_sd1, folder / "adapter")),
                images=2,
                steps=2,
                text_iterations=1,
                iterations=2,
                lr=1e-2,
            ),
            tiny_sd1,
            (FOX, CAT),
            tiny_sd2,
            [(tiny_flux, FOX)],
        ),
        "concept_ablation": Case(
            ConceptAblation(images=2, iterations=2, batch=2, lr=1e-2),
            tiny_sd1,
            (FOX, CAT),
            tiny_sd2,
            [*unsupported, (tiny_sd1, Concept("fox", anchor="Fox "))],
        ),
        "detect_replace": Case(
            DetectReplace(sae=sae, m=12),
            tiny_sd1,
            (FOX, CAT),
            tiny_sd2,
            [*unsupported, (tiny_sd1, Concept("fox", retain=["dog"]))],
        ),
        "doco": Case(
            DoCo(images=2, iterations=4, warmup=1, batch=2, lr=1e-2),
            tiny_sd1,
            (FOX, CAT),
            tiny_sd2,
            [*unsupported, (tiny_sd1, Concept("fox", anchor="Fox "))],
        ),
        "ear": Case(
            EAR(visits=2, window=8, layers=2, threshold=0.0, lr=1e-2),
            tiny_janus,
            (FOX, CAT),
            tiny_sd1,
            [(tiny_sd1, FOX), (tiny_janus, Concept("fox"))],
            sampling={},
        ),
        "few_shot": Case(FewShot(pictures=2, epochs=2, lr=1e-2), tiny_sd1, (FOX, CAT), tiny_sd2, [(tiny_flux, FOX)]),
        "geom_erasing": Case(
            GeomErasing(
                detector="tests.finding:Corner", pictures=8, grid=1, removal="data", iterations=2, batch=2, lr=1e-2
            ),
            tiny_sd1,
            UNASKED,
            tiny_sd2,
            [(tiny_flux, UNASKED[0]), (tiny_sd1, FOX)],
        ),
        "esd": Case(ESD(iterations=3, steps=3, lr=3e-3), tiny_sd1, (FOX, CAT), tiny_sd2, [(tiny_flux, FOX)]),
        "itd": Case(ItD(sae=sae, m=12), tiny_sd1, (FOX, CAT), tiny_sd2, unsupported),
        "realera": Case(
            RealEra(neighbours=3, beyond=2, lora_steps=2, lora_images=2),
            tiny_sd1,
            (FOX, CAT),
            tiny_sd2,
            [(tiny_flux, FOX), (tiny_sd1, Concept("fox", anchor="Fox "))],
        ),
        "rece": Case(RECE(), tiny_sd1, (FOX, CAT), tiny_sd2, [(tiny_flux, FOX)]),
        "saeuron": Case(
            SAeUron(sae=picture_sae, multiplier=-30.0, steps=2), tiny_sd1, (FOX, CAT), tiny_sd2, unsupported[1:]
        ),
        "negative_prompt": Case(NegativePrompt(), tiny_sd1, (FOX, CAT), tiny_sd2, [(tiny_flux, FOX)]),
        "sld": Case(SLD(strength="max"), tiny_sd1, (FOX, CAT), tiny_sd2, [(tiny_flux, FOX)]),
        "spm": Case(
            SPM(sampler="frozen", trajectories=2, steps=3, iterations=2, warmup=0, anchors=1, lr=0.1),
            tiny_sd1,
            (FOX, CAT),
            tiny_sd2,
            [(tiny_flux, FOX)],
        ),
        "steerer": Case(ConceptSteerer(sae=sae, alpha=-2.0), tiny_sd1, (FOX, CAT), tiny_sd2),
        "trce": Case(trce, tiny_sd1, (FOX, CAT), tiny_sd2, unsupported),
        "uce": Case(UCE(), tiny_sd1, (FOX, CAT), tiny_sd2, [(tiny_sd1, Concept("fox", anchor="Fox "))]),
        "uce_debias": Case(
            UCEDebias(voter="tests.voters:first", attributes=("red", "blue"), images=2, rounds=2),
            tiny_sd1,
            (FOX, CAT),
            tiny_sd2,
            [(tiny_sd1, Concept("red"))],
        ),
    }


@pytest.mark.parametrize("check", PROMISES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_its_promises(method, check, cases):
    CHECKS[check](cases[method])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_control_that_changes_the_target_otherwise(method, cases):
    case = cases[method]
    control = case.images(case.edit.random(seed=1))
    assert not np.array_equal(control, case.images())
    assert not np.array_equal(control, case.images(case.edit))


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(WorkbenchError, match="'itd'"):
        find_method("itdd")
    assert find_method("itd") is ItD


TEXTS = {  # knobs that are text and name no file
    ("esd", "erase_from"),
    ("geom_erasing", "captions"),
    ("geom_erasing", "detector"),
    ("sld", "strength"),
    ("uce_debias", "attributes"),
    ("uce_debias", "voter"),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_knob_that_names_a_file_is_marked_so(name):
    for knob, hint in hints_of(find_method(name)).items():
        if str in (hint.__origin__, *get_args(hint.__origin__)):
            marked = any(isinstance(one, Opens) for one in hint.__metadata__)
            assert marked != ((name, knob) in TEXTS), knob


@pytest.fixture(scope="module")
def with_folders(cases, tmp_path_factory) -> dict[str, Case]:
    """The methods that read pictures of a user's, with some."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(2):
        Image.fromarray(np.full((64, 64, 3), 60 * number + 20, np.uint8)).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("passed over")
    return {
        name: replace(cases[name], method=replace(cases[name].method, folder=str(folder)))
        for name in ("co_erasing", "concept_ablation", "doco", "few_shot")
    }


@pytest.mark.parametrize("name", ["co_erasing", "concept_ablation", "doco", "few_shot"])
def test_the_inputs_are_named_of_methods_that_read_pictures_too(name, with_folders):
    assert [path.name for path in with_folders[name].method.inputs()][:2] == ["0.png", "1.png"]
    CHECKS["names_its_inputs"](with_folders[name])
