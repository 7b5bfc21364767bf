"""Every method of the table against the public conformance suite, and methods that break each promise."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from saes.errors import WorkbenchError
from saes.progress import SILENT
from tests.tiny_adapters import save_tiny_adapter
from tests.tiny_saes import memorising_sae, random_sae, save_tiny_sae
from workbench.concepts import Concept
from workbench.edits import KINDS, ActivationEdit
from workbench.erasure import METHODS, find_method
from workbench.erasure.all_but_one import AllButOne
from workbench.erasure.co_erasing import CoErasing
from workbench.erasure.concept_ablation import ConceptAblation
from workbench.erasure.detect_replace import DetectReplace
from workbench.erasure.esd import ESD
from workbench.erasure.few_shot import FewShot
from workbench.erasure.itd import ItD
from workbench.erasure.method import Supports
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
from workbench.testing import CHECKS, NEED_A_GPU, Case, check_method, images_in_another_process

FOX = Concept("fox", anchor="cat", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
CAT = Concept("cat", anchor="dog", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])


PROMISES = [pytest.param(name, marks=pytest.mark.gpu) if name in NEED_A_GPU else name for name in CHECKS]


@pytest.fixture(scope="module")
def cases(tiny_sd1, tiny_sd2, tiny_flux, tmp_path_factory) -> dict[str, Case]:
    """The one table: how each method is set up for the tiny pipeline, and what it must refuse."""
    folder = tmp_path_factory.mktemp("sae")
    sae = save_tiny_sae(memorising_sae(tiny_sd1, "text.0"), folder / "text.0")
    picture_sae = save_tiny_sae(random_sae(tiny_sd1, "unet.mid"), folder / "unet.mid")
    unsupported = [(tiny_flux, FOX), (tiny_sd1, Concept("fox"))]
    trce = TRCE(trajectories=2, unconditional=2, epochs=1, steps=4, early=2, keep_batch=2, lr=1e-3)
    abo = AllButOne(trajectories=2, steps=3, iterations=2, batch=2, lr=1e-2)
    return {
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
        "few_shot": Case(FewShot(pictures=2, epochs=2, lr=1e-2), tiny_sd1, (FOX, CAT), tiny_sd2, [(tiny_flux, FOX)]),
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


@dataclass(frozen=True)
class Broken:
    """ItD with one promise broken."""

    inner: ItD
    breaks: Callable[..., Any]

    name: ClassVar[str] = "itd"
    paper: ClassVar[None] = None
    family: ClassVar[str] = "deactivation"
    supports: ClassVar[Supports] = ItD.supports
    cost: ClassVar[str] = ItD.cost

    def inputs(self):
        return self.inner.inputs()

    def fit(self, model, concepts, *, seed=0, progress=SILENT):
        return self.breaks(self.inner, model, concepts, seed, progress)


class NamesNoInputs(ItD):
    """ItD without a word about its autoencoder."""

    def inputs(self):
        return ()


def does_nothing(inner, model, concepts, seed, progress):
    edit = inner.fit(model, concepts, seed=seed, progress=progress)
    return replace(edit, tensors={**edit.tensors, "tau": torch.tensor(1e30)})


def leaves_a_hook(inner, model, concepts, seed, progress):
    model.module("unet.mid_block").register_forward_hook(lambda *_: None)
    return inner.fit(model, concepts, seed=seed, progress=progress)


def draws_globally(inner, model, concepts, seed, progress):
    edit = inner.fit(model, concepts, seed=seed, progress=progress)
    return replace(edit, settings={**edit.settings, "strength": -8.0 - torch.rand(()).item()})


def stays_on_its_device(inner, model, concepts, seed, progress):
    edit = inner.fit(model, concepts, seed=seed, progress=progress)
    return replace(edit, tensors={name: tensor.to("meta") for name, tensor in edit.tensors.items()})


def takes_the_first_only(inner, model, concepts, seed, progress):
    edit = inner.fit(model, concepts[:1], seed=seed, progress=progress)
    return replace(edit, concepts=tuple(concept.name for concept in concepts))


def says_nothing(inner, model, concepts, seed, progress):
    return inner.fit(model, concepts, seed=seed)


def accepts_everything(inner, model, concepts, seed, progress):
    return inner.fit(model, concepts or (FOX,), seed=seed, progress=progress)


def forgets_its_model(inner, model, concepts, seed, progress):
    return replace(inner.fit(model, concepts, seed=seed, progress=progress), base_fingerprint="")


class Forgetful(ActivationEdit):
    """Saves another strength than its own."""

    def save(self, path):
        ActivationEdit.save(replace(self, settings={**self.settings, "strength": 3.0}), path)


class Local(ActivationEdit):
    """Of a kind that this process alone knows."""

    kind: ClassVar[str] = "local"


class Restless(ActivationEdit):
    """Its no-op is no such thing."""

    def no_op(self):
        return replace(self, method="no-op")


def made_as(kind):
    """The method's edit as one of another class."""

    def breaks(inner, model, concepts, seed, progress):
        edit = inner.fit(model, concepts, seed=seed, progress=progress)
        return kind(**{one.name: getattr(edit, one.name) for one in fields(edit)})

    return breaks


@pytest.mark.parametrize(
    ("breaks", "check"),
    [
        (made_as(Forgetful), "survives_the_disk"),
        (made_as(Local), "works_in_another_process"),
        (made_as(Restless), "composes"),
        (does_nothing, "changes_the_target"),
        (leaves_a_hook, "never_mutates_the_model"),
        (draws_globally, "is_deterministic"),
        (stays_on_its_device, "fits_any_device"),
        (takes_the_first_only, "takes_several_concepts"),
        (says_nothing, "reports_progress"),
        (accepts_everything, "refuses_what_it_does_not_support"),
        (forgets_its_model, "is_a_described_value"),
        pytest.param(does_nothing, "acts_on_a_gpu", marks=pytest.mark.gpu),
    ],
)
def test_a_broken_promise_is_found(cases, breaks, check, tiny_sd1, monkeypatch):
    monkeypatch.setitem(KINDS, "local", f"{__name__}:Local")
    case = cases["itd"]
    with pytest.raises(AssertionError):
        CHECKS[check](replace(case, method=Broken(case.method, breaks)))
    tiny_sd1.module("unet.mid_block")._forward_hooks.clear()


def test_an_input_that_is_not_named_is_found(cases):
    case, method = cases["itd"], cases["itd"].method
    with pytest.raises(AssertionError, match=r"inputs\(\) does not name is needed"):
        CHECKS["names_its_inputs"](replace(case, method=NamesNoInputs(sae=method.sae, m=method.m)))


def test_every_check_has_a_twin_that_it_finds():
    twins = test_a_broken_promise_is_found.pytestmark[0].args[1]
    found = {"names_its_inputs", *((one.values if hasattr(one, "values") else one)[1] for one in twins)}
    assert found == CHECKS.keys()


TEXTS = {  # knobs that are text and name no file
    ("esd", "erase_from"),
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
        for name in ("co_erasing", "concept_ablation", "few_shot")
    }


@pytest.mark.parametrize("name", ["co_erasing", "concept_ablation", "few_shot"])
def test_the_inputs_are_named_of_methods_that_read_pictures_too(name, with_folders):
    assert [path.name for path in with_folders[name].method.inputs()][:2] == ["0.png", "1.png"]
    CHECKS["names_its_inputs"](with_folders[name])


def test_all_checks_together_find_it_too(cases):
    with pytest.raises(AssertionError):
        check_method(replace(cases["itd"], method=Broken(cases["itd"].method, does_nothing)))


def test_the_other_process_says_what_is_wrong_and_answers_again(cases, tiny_sd1, tmp_path):
    case = cases["uce"]
    with pytest.raises(WorkbenchError, match=r"could not use the edit \(WorkbenchError: .*nothing"):
        images_in_another_process(tiny_sd1, tmp_path / "nothing", case.prompts, 1)
    case.edit.save(tmp_path / "edit")
    images = images_in_another_process(tiny_sd1, tmp_path / "edit", case.prompts, case.steps)
    assert np.array_equal(images, case.images(case.edit))
