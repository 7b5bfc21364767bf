"""The checks of `workbench.testing` find what they are for: beside everything that they can say stands a method that
deserves it, ItD with one promise broken."""

import ast
import re
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, ClassVar, NamedTuple

import pytest
import torch
from diffusers import DDIMScheduler
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT
from tests.tiny_saes import memorising_sae, save_tiny_sae
from workbench.concepts import Concept
from workbench.edits import KINDS, ActivationEdit, WeightEdit
from workbench.erasure.itd import ItD
from workbench.erasure.uce import UCE
from workbench.testing import CHECKS, NEED_A_GPU, Case, check_method, conformance, images_in_another_process

FOX = Concept("fox", anchor="cat", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
CAT = Concept("cat", anchor="dog", retain=["dog", "bear"], templates=["a photo of a {}", "{}"])
NUMBERS = count(1)


@pytest.fixture(scope="module")
def case(tiny_sd1, tiny_sd2, tmp_path_factory) -> Case:
    sae = save_tiny_sae(memorising_sae(tiny_sd1, "text.0"), tmp_path_factory.mktemp("sae") / "text.0")
    return Case(ItD(sae=sae, m=12), tiny_sd1, (FOX, CAT), tiny_sd2)


Breaks = Callable[[Case, Path], Case]  # Path: an empty folder


def with_method(fit=ItD.fit, **more) -> Breaks:
    """ItD with another `fit`, or with another attribute."""
    return lambda case, _: replace(case, method=type("Other", (ItD,), {"fit": fit, **more})(**vars(case.method)))


def with_edit(change: Callable[[ActivationEdit], object]) -> Breaks:
    """ItD whose edit is another."""

    def fit(self, model, concepts, *, seed=0, progress=SILENT):
        return change(ItD.fit(self, model, concepts, seed=seed, progress=progress))

    return with_method(fit)


def as_kind(kind: type, **more) -> Breaks:
    """ItD whose edit is one of another class."""
    return with_edit(lambda edit: kind(**{one.name: getattr(edit, one.name) for one in fields(edit)} | more))


def stronger(edit: ActivationEdit, by: float) -> ActivationEdit:
    return replace(edit, settings={**edit.settings, "strength": edit.settings["strength"] - by})


def no_dataclass(case: Case, _: Path) -> Case:
    facts = ("name", "paper", "family", "supports", "cost", "inputs", "fit")
    return replace(case, method=SimpleNamespace(**{name: getattr(case.method, name) for name in facts}))


@dataclass(frozen=True)
class Bare:
    """Says nothing of itself."""

    inner: ItD

    def fit(self, *given, **named):
        return self.inner.fit(*given, **named)


def bare(case: Case, _: Path) -> Case:
    case = replace(case)
    object.__setattr__(case, "method", Bare(case.method))  # which types would refuse before the check does
    return case


def restless(self):
    """Another method each time that it is made of its settings."""
    ItD.__post_init__(self)
    object.__setattr__(self, "strength", self.strength - 1)


class Unlisted(ActivationEdit):
    kind: ClassVar[str] = "unlisted"


@dataclass(frozen=True, kw_only=True)
class ReadsANote(ItD):
    """Its strength is the length of a file that `inputs()` does not name."""

    note: Annotated[str, Doc("The file.")] = ""

    def fit(self, model, concepts, *, seed=0, progress=SILENT):
        return stronger(ItD.fit(self, model, concepts, seed=seed, progress=progress), len(Path(self.note).read_text()))


def reads_a_note(case: Case, folder: Path) -> Case:
    (folder / "note.txt").write_text("much")
    return replace(case, method=ReadsANote(**vars(case.method), note=str(folder / "note.txt")))


def depends_on_its_seed(self, model, concepts, *, seed=0, progress=SILENT):
    return stronger(ItD.fit(self, model, concepts, seed=seed, progress=progress), 2.0 * seed)


def leaves_a_hook(self, model, concepts, *, seed=0, progress=SILENT):
    model.module("unet.mid_block").register_forward_hook(lambda *_: None)
    return ItD.fit(self, model, concepts, seed=seed, progress=progress)


class Clinging(ActivationEdit):
    """Leaves a hook if the block raises."""

    @contextmanager
    def installed(self, model):
        hook = model.module("unet.mid_block").register_forward_hook(lambda *_: None)
        with ActivationEdit.installed(self, model):
            yield
        hook.remove()


class Rescheduling(ActivationEdit):
    """Changes what is no tensor, and does not change it back."""

    @contextmanager
    def installed(self, model):
        model.pipe.scheduler = DDIMScheduler.from_config(model.pipe.scheduler.config)
        with ActivationEdit.installed(self, model):
            yield


class Forgetful(ActivationEdit):
    """Saves another strength than its own."""

    def save(self, path):
        ActivationEdit.save(stronger(self, 8.0), path)


class Ageing(ActivationEdit):
    """Says how often it was saved."""

    kind: ClassVar[str] = "ageing"

    def save(self, path):
        aged = {**self.settings, "age": self.settings.get("age", 0) + 1}
        ActivationEdit.save(replace(self, settings=aged), path)


class Whimsical(ActivationEdit):
    """Draws another control each time."""

    kind: ClassVar[str] = "whimsical"

    def random(self, seed):
        return ActivationEdit.random(self, seed + next(NUMBERS))


class Local(ActivationEdit):
    """Of a kind that this process alone knows."""

    kind: ClassVar[str] = "local"


class Rising(ActivationEdit):
    """Stronger each time that it is put in place."""

    def installed(self, model):
        return ActivationEdit.installed(stronger(self, next(NUMBERS)), model)


class Busy(ActivationEdit):
    """Its no-op is no such thing."""

    def no_op(self):
        return replace(self, method="no-op")


class Meddling(ActivationEdit):
    """Its no-op acts beside other edits."""

    def no_op(self):
        return MeddlingNoOp(**vars(self))


class MeddlingNoOp(ActivationEdit):
    def installed(self, model):
        edit = stronger(self, 8.0) if model._in_place else ActivationEdit.no_op(self)
        return ActivationEdit.installed(edit, model)


class Elsewhere(WeightEdit):
    """Its changes are not where the model is."""

    def weight_deltas(self, model):
        return {name: delta.to("meta") for name, delta in WeightEdit.weight_deltas(self, model).items()}


def changes_weights_elsewhere(case: Case, _: Path) -> Case:
    class Other(UCE):
        def fit(self, model, concepts, *, seed=0, progress=SILENT):
            return Elsewhere(**vars(UCE.fit(self, model, concepts, seed=seed, progress=progress)))

    return replace(case, method=Other())


def takes_the_first_only(self, model, concepts, *, seed=0, progress=SILENT):
    edit = ItD.fit(self, model, concepts[:1], seed=seed, progress=progress)
    return replace(edit, concepts=tuple(concept.name for concept in concepts))


def says_nothing(self, model, concepts, *, seed=0, progress=SILENT):
    return ItD.fit(self, model, concepts, seed=seed)


def acts_for_a_listener(self, model, concepts, *, seed=0, progress=SILENT):
    edit = ItD.fit(self, model, concepts, seed=seed, progress=progress)
    return edit if progress is SILENT else stronger(edit, 8.0)


def accepts_everything(self, model, concepts, *, seed=0, progress=SILENT):
    return ItD.fit(self, model, concepts or (FOX,), seed=seed, progress=progress)


def begins_at_once(self, model, concepts, *, seed=0, progress=SILENT):
    list(progress([0], "work"))
    return ItD.fit(self, model, concepts, seed=seed, progress=progress)


class Meek(ActivationEdit):
    """Takes any model."""

    def check(self, model):
        pass


class Shy(ActivationEdit):
    """Takes none."""

    def check(self, model):
        raise WorkbenchError("Not this one.", "Take another.")


does_nothing = with_edit(lambda edit: replace(edit, tensors={**edit.tensors, "tau": torch.tensor(1e30)}))


class Twin(NamedTuple):
    """What a check says, and what it says it of."""

    check: str
    says: str
    breaks: Breaks


TWINS = [
    Twin("is_a_described_value", "a method is a frozen dataclass", no_dataclass),
    Twin("is_a_described_value", "a method has all of its facts", bare),
    Twin("is_a_described_value", "made again from its settings", with_method(__post_init__=restless)),
    Twin("is_a_described_value", "cannot be loaded", as_kind(Unlisted)),
    Twin("is_a_described_value", "names its concepts", with_edit(lambda edit: replace(edit, concepts=("dog",)))),
    Twin("is_a_described_value", "names its method", with_edit(lambda edit: replace(edit, method="uce"))),
    Twin("is_a_described_value", "names its model", with_edit(lambda edit: replace(edit, base_fingerprint=""))),
    Twin("is_a_described_value", "settings lack", with_edit(
        lambda edit: replace(edit, settings={key: value for key, value in edit.settings.items() if key != "m"})
    )),
    Twin("names_its_inputs", "does not name is needed", with_method(inputs=lambda self: ())),
    Twin("names_its_inputs", "does not name decides", reads_a_note),
    Twin("changes_the_target", "did not change", does_nothing),
    Twin("never_mutates_the_model", "fitting changed the model", with_method(leaves_a_hook)),
    Twin("never_mutates_the_model", "left something behind", as_kind(Clinging)),
    Twin("never_mutates_the_model", "images after the edit differ", as_kind(Rescheduling)),
    Twin("is_deterministic", "global random numbers", with_edit(lambda edit: stronger(edit, torch.rand(()).item()))),
    Twin("is_deterministic", "the same seed gave another edit", with_edit(lambda edit: stronger(edit, next(NUMBERS)))),
    Twin("draws_nothing_if_it_says_so", "another seed gave another edit", with_method(depends_on_its_seed)),
    Twin("survives_the_disk", "the loaded edit acts differently", as_kind(Forgetful)),
    Twin("survives_the_disk", "saved again, it has other files", as_kind(Ageing)),
    Twin("survives_the_disk", "the loaded edit has another control", as_kind(Whimsical)),
    Twin("works_in_another_process", "could not use the edit", as_kind(Local)),
    Twin("works_in_another_process", "another process made other images", as_kind(Forgetful)),
    Twin("composes", "nested edits differ", as_kind(Rising)),
    Twin("composes", "a no-op changes images", as_kind(Busy)),
    Twin("composes", "a no-op changes an edit", as_kind(Meddling)),
    Twin("fits_any_device", "tensors of the edit are on", with_edit(
        lambda edit: replace(edit, tensors={name: tensor.to("meta") for name, tensor in edit.tensors.items()})
    )),
    Twin("fits_any_device", "the change of", changes_weights_elsewhere),
    Twin("acts_on_a_gpu", "does nothing on the GPU", does_nothing),
    Twin("takes_several_concepts", "names all of its concepts", with_edit(
        lambda edit: replace(edit, concepts=edit.concepts[:1])
    )),
    Twin("takes_several_concepts", "was fitted and its images did not change", with_method(takes_the_first_only)),
    Twin("reports_progress", "no labelled progress", with_method(says_nothing)),
    Twin("reports_progress", "the listener changed the edit", with_method(acts_for_a_listener)),
    Twin("refuses_what_it_does_not_support", "was accepted", with_method(accepts_everything)),
    Twin("refuses_what_it_does_not_support", "work began before", with_method(begins_at_once)),
    Twin("refuses_what_it_does_not_support", "accepted by another model", as_kind(Meek)),
    Twin("refuses_what_it_does_not_support", "refused by its own model", as_kind(Shy)),
]  # fmt: skip


@pytest.mark.parametrize(
    "twin",
    [
        pytest.param(twin, id=f"{twin.check}: {twin.says}", marks=[pytest.mark.gpu] * (twin.check in NEED_A_GPU))
        for twin in TWINS
    ],
)
def test_a_broken_promise_is_found(twin, case, tmp_path, tiny_sd1, monkeypatch):
    for kind in (Local, Ageing, Whimsical):
        monkeypatch.setitem(KINDS, kind.kind, f"{__name__}:{kind.__name__}")
    monkeypatch.setattr(tiny_sd1.pipe, "scheduler", tiny_sd1.pipe.scheduler)  # and put it back afterwards
    with pytest.raises(AssertionError, match=re.escape(twin.says)):
        CHECKS[twin.check](twin.breaks(case, tmp_path))
    tiny_sd1.module("unet.mid_block")._forward_hooks.clear()


def sentences(source: str) -> list[str]:
    """What is said by the assertions and errors of a file; "" for those that say nothing."""

    def text(node: ast.expr | None) -> str:
        if isinstance(node, ast.JoinedStr):
            return "…".join(text(value) for value in node.values if isinstance(value, ast.Constant))
        return str(node.value) if isinstance(node, ast.Constant) else ""

    asserted = [text(node.msg) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
    calls = [node.exc for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Raise)]
    raised = [
        text(call.args[0]) for call in calls if isinstance(call, ast.Call) and isinstance(call.args[0], ast.JoinedStr)
    ]
    return asserted + raised


def test_everything_that_a_check_says_has_a_twin():
    assert {twin.check for twin in TWINS} == CHECKS.keys()
    said = sentences(Path(conformance.__file__).read_text())
    assert len(said) > 30 and all(said)
    lacking = [sentence for sentence in said if not any(twin.says in sentence for twin in TWINS)]
    assert not lacking


def test_a_sentence_without_a_twin_would_be_found():
    assert sentences('assert x, f"{a} is lost: {b}"\nassert y\nraise E(f"{c} fell")') == [" is lost: ", "", " fell"]


def test_all_checks_together_find_it_too(case, tmp_path):
    with pytest.raises(AssertionError, match="did not change"):
        check_method(does_nothing(case, tmp_path))


def test_the_method_itself_breaks_no_promise(case):
    for name in ("composes", "survives_the_disk", "never_mutates_the_model"):
        CHECKS[name](case)


def test_the_other_process_says_what_is_wrong_and_answers_again(case, tiny_sd1, tmp_path):
    with pytest.raises(WorkbenchError, match=r"could not use the edit \(WorkbenchError: .*nothing"):
        images_in_another_process(tiny_sd1, tmp_path / "nothing", case.prompts, case.sampling)
    case.edit.save(tmp_path / "edit")
    images = images_in_another_process(tiny_sd1, tmp_path / "edit", case.prompts, case.sampling)
    assert (images == case.images(case.edit)).all()
