"""What every erasure method promises, as checks that outsiders run on theirs.

Each check raises `AssertionError` with a sentence. Where something must not change, the check shows that it could have:
the images of the target do change under the edit.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import torch

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.edits import Edit, load_edit
from workbench.edits.files import TABLE
from workbench.erasure.method import Method
from workbench.models import Model, load
from workbench.models.images import Images
from workbench.testing.state import Watch, images_in_another_process, state_of


@dataclass(frozen=True, eq=False)
class Case:
    """A method with what it is checked on.

    `concepts` are two or more that it supports. `other` is a second model, on which an edit of the first must be
    refused. `unsupported` lists models and concepts that the method must refuse; an empty list of concepts is always
    tried. Models are on the CPU and can be opened by their name. `sampling` are settings of `model.generate`.
    """

    method: Method
    model: Model
    concepts: Sequence[Concept]
    other: Model
    unsupported: Sequence[tuple[Model, Concept]] = ()
    sampling: dict[str, Any] = field(default_factory=lambda: {"steps": 2})

    @cached_property
    def edit(self) -> Edit:
        """The method's edit of the first concept, with seed 0."""
        return self.method.fit(self.model, self.concepts[:1], seed=0)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Two prompts of the first concept (or one)."""
        return self.concepts[0].prompts()[:2]

    def images(self, *edits: Edit, prompts: Sequence[str] | None = None) -> Images:
        """Images under edits, with seeds 0, 1, …"""
        wanted = self.prompts if prompts is None else prompts
        with self.model.edited(*edits):
            return self.model.generate(wanted, range(len(wanted)), **self.sampling)


def check_method(case: Case) -> None:
    """Runs every check; those of `NEED_A_GPU` only where there is one."""
    for name, check in CHECKS.items():
        if name not in NEED_A_GPU or torch.cuda.is_available():
            check(case)


def is_a_described_value(case: Case) -> None:
    """A method is a frozen dataclass with name, paper, family, support and cost; its edit says where it comes from."""
    method, edit = case.method, case.edit
    assert is_dataclass(method) and type(method).__dataclass_params__.frozen, "a method is a frozen dataclass"  # type: ignore[attr-defined]
    assert isinstance(method, Method) and isinstance(edit, Edit), "a method has all of its facts, and an Edit comes out"
    again = type(method)(**{field.name: getattr(method, field.name) for field in fields(method)})
    assert method == again, "a method that is made again from its settings is another one"
    assert edit.kind in TABLE.names(), f"{edit.kind!r} cannot be loaded"
    assert tuple(edit.concepts) == (case.concepts[0].name,), "an edit names its concepts"
    assert edit.method == method.name, "an edit names its method"
    assert edit.base_fingerprint == case.model.fingerprint, "an edit names its model"
    missing = {field.name for field in fields(method)} - {name for part in edit.leaves() for name in part.settings}
    assert not missing, f"settings lack the hyper-parameters {missing}"


def names_its_inputs(case: Case) -> None:
    """What `inputs()` does not name decides nothing: emptied, it leaves the edit as it is.

    Every knob that holds the absolute path of a file or folder is tried, on a copy.
    """
    given = {knob: Path(value) for knob, value in vars(case.method).items() if isinstance(value, str)}
    with tempfile.TemporaryDirectory() as folder:
        moved = {
            knob: _copied(path, Path(folder, knob))
            for knob, path in given.items()
            if path.is_absolute() and path.exists()
        }
        if not moved:
            return
        method = replace(case.method, **{knob: str(path) for knob, path in moved.items()})  # type: ignore[type-var]
        named = {path.resolve() for path in method.inputs()}
        for file in Path(folder).rglob("*"):
            if file.is_file() and file.resolve() not in named:
                file.write_bytes(b"")
        try:
            edit = method.fit(case.model, case.concepts[:1], seed=0)
        except WorkbenchError as error:
            raise AssertionError(f"a file that inputs() does not name is needed: {error}") from error
        assert np.array_equal(case.images(edit), case.images(case.edit)), "a file that inputs() does not name decides"


def _copied(path: Path, to: Path) -> Path:
    if path.is_dir():
        return copytree(path, to)
    copytree(path.parent, to)  # what lies beside a file may belong to it
    return to / path.name


def changes_the_target(case: Case) -> None:
    """An edit that changes nothing would pass all other checks."""
    assert not np.array_equal(case.images(case.edit), case.images()), "the target's images did not change"


def never_mutates_the_model(case: Case) -> None:
    """Weights, hooks, training flags and images are bit for bit as before: after fitting, using, and failing in use."""
    before, plain = state_of(case.model), case.images()
    edit = case.method.fit(case.model, case.concepts[:1], seed=0)
    assert state_of(case.model) == before, "fitting changed the model"
    case.images(edit)
    try:
        with case.model.edited(edit):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert state_of(case.model) == before, "the edit left something behind"
    assert np.array_equal(case.images(), plain), "images after the edit differ from those before"


def is_deterministic(case: Case) -> None:
    """The same seed gives the same edit, whatever the state of torch's own generator, which is left as it was."""
    torch.manual_seed(12345)
    state = torch.get_rng_state()
    again = case.method.fit(case.model, case.concepts[:1], seed=0)
    assert torch.equal(torch.get_rng_state(), state), "fitting used torch's global random numbers"
    assert np.array_equal(case.images(again), case.images(case.edit)), "the same seed gave another edit"


def draws_nothing_if_it_says_so(case: Case) -> None:
    """A method that is not `seeded` gives the same edit for every seed; one that says nothing is taken for seeded."""
    if not getattr(case.method, "seeded", True):
        other = case.method.fit(case.model, case.concepts[:1], seed=1)
        assert np.array_equal(case.images(other), case.images(case.edit)), "another seed gave another edit"


def survives_the_disk(case: Case) -> None:
    """A saved edit gives the same images, saving it again gives the same files, and so do controls drawn from both."""
    with tempfile.TemporaryDirectory() as folder:
        first, second, third, fourth = (Path(folder, name) for name in ("first", "second", "third", "fourth"))
        case.edit.save(first)
        loaded = load_edit(first)
        loaded.save(second)
        assert np.array_equal(case.images(loaded), case.images(case.edit)), "the loaded edit acts differently"
        assert _files(first) == _files(second), "saved again, it has other files"
        case.edit.random(seed=0).save(third)
        loaded.random(seed=0).save(fourth)
        assert _files(third) == _files(fourth), "the loaded edit has another control"


def _files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def works_in_another_process(case: Case) -> None:
    """A process that has nothing but the folder makes the same images."""
    with tempfile.TemporaryDirectory() as folder:
        case.edit.save(Path(folder, "edit"))
        try:
            images = images_in_another_process(case.model, Path(folder, "edit"), case.prompts, case.sampling)
        except WorkbenchError as error:
            raise AssertionError(str(error)) from error
    assert np.array_equal(images, case.images(case.edit)), "another process made other images"


def composes(case: Case) -> None:
    """Edits given together equal edits nested, in the same order, and a no-op beside them changes nothing."""
    other = case.method.fit(case.model, case.concepts[1:2], seed=0)
    together = case.images(case.edit, other)
    with case.model.edited(case.edit):
        assert np.array_equal(case.images(other), together), "nested edits differ from edits given together"
    idle = case.edit.no_op()
    assert np.array_equal(case.images(idle), case.images()), "a no-op changes images"
    assert np.array_equal(case.images(case.edit, idle), case.images(case.edit)), "a no-op changes an edit"


def fits_any_device(case: Case) -> None:
    """Its tensors are on the CPU, so that an edit from a GPU opens where there is none; what it adds is where the model
    is."""
    for part in case.edit.leaves():
        places = {tensor.device.type for tensor in getattr(part, "tensors", {}).values()}
        assert places <= {"cpu"}, f"tensors of the edit are on {places}"
        for weights in part.in_weights() if part.summary().in_weights else ():
            for name, delta in weights.weight_deltas(case.model).items():
                assert delta.device == case.model.device, f"the change of {name} is on {delta.device}"


def acts_on_a_gpu(case: Case) -> None:
    """An edit that was fitted here changes the target's images on a GPU too."""
    there = load(case.model.name, device="cuda", dtype=torch.float32)
    plain = there.generate(case.prompts, range(len(case.prompts)), **case.sampling)
    with there.edited(case.edit):
        images = there.generate(case.prompts, range(len(case.prompts)), **case.sampling)
    assert not np.array_equal(images, plain), "the edit does nothing on the GPU"


def takes_several_concepts(case: Case) -> None:
    """One fit erases all the concepts given."""
    edit = case.method.fit(case.model, case.concepts, seed=0)
    assert tuple(edit.concepts) == tuple(one.name for one in case.concepts), "an edit names all of its concepts"
    for concept in case.concepts:
        prompts = concept.prompts()[:1]
        same = np.array_equal(case.images(edit, prompts=prompts), case.images(prompts=prompts))
        assert not same, f"{concept.name} was fitted and its images did not change"


def reports_progress(case: Case) -> None:
    """Fitting tells how far it is, under a label, and the edit does not depend on who listens."""
    watch = Watch()
    edit = case.method.fit(case.model, case.concepts[:1], seed=0, progress=watch)
    assert watch.items > 0 and all(watch.labels), "fitting reported no labelled progress"
    assert np.array_equal(case.images(edit), case.images(case.edit)), "the listener changed the edit"


def refuses_what_it_does_not_support(case: Case) -> None:
    """Unsupported models and concepts are refused in words and before any work; so is another model for the edit."""
    for model, concepts in [(case.model, []), *((model, [concept]) for model, concept in case.unsupported)]:
        watch = Watch()
        error = _error_of(lambda: case.method.fit(model, concepts, seed=0, progress=watch))  # noqa: B023
        assert error is not None, f"{concepts} on {model.name} was accepted"
        assert watch.items == 0, f"work began before {concepts} on {model.name} was refused"
    assert _error_of(lambda: case.edit.check(case.other)), "the edit was accepted by another model"
    assert _error_of(lambda: case.edit.check(case.model)) is None, "the edit was refused by its own model"


def _error_of(call: Callable[[], object]) -> WorkbenchError | None:
    try:
        call()
    except WorkbenchError as error:
        return error
    return None


CHECKS: dict[str, Callable[[Case], None]] = {
    check.__name__: check
    for check in (
        is_a_described_value,
        names_its_inputs,
        changes_the_target,
        never_mutates_the_model,
        is_deterministic,
        draws_nothing_if_it_says_so,
        survives_the_disk,
        works_in_another_process,
        composes,
        fits_any_device,
        acts_on_a_gpu,
        takes_several_concepts,
        reports_progress,
        refuses_what_it_does_not_support,
    )
}
NEED_A_GPU = frozenset({acts_on_a_gpu.__name__})
