"""A comparison fits each edit once, evaluates all beside controls, and goes on where it was interrupted."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from saes.errors import WorkbenchError
from saes.progress import SILENT
from tests.comparison.small import CAT, FOX, SUBJECTS, comparison, two_methods
from tests.evaluation.small import Brightness
from tests.killing import kill_and_go_on
from tests.tiny_adapters import save_tiny_adapter
from workbench.comparison.compare import compare, fit_all
from workbench.comparison.fits import Fitter, fit_seconds
from workbench.conditions import UNEDITED
from workbench.edits import ComposedEdit, WeightEdit
from workbench.erasure.co_erasing import CoErasing
from workbench.erasure.detect_replace import DetectReplace
from workbench.erasure.esd import ESD
from workbench.erasure.few_shot import FewShot
from workbench.erasure.itd import ItD
from workbench.erasure.steerer import ConceptSteerer
from workbench.erasure.uce import UCE
from workbench.fitting import checkpoints


@pytest.fixture(scope="module")
def methods(tiny_sd1, tmp_path_factory):
    return two_methods(tiny_sd1, tmp_path_factory.mktemp("sae") / "sae")


@pytest.fixture(scope="module")
def run(tiny_sd1, methods, tmp_path_factory):
    return compare(
        tiny_sd1, comparison(methods, question="Which?"), Brightness(), tmp_path_factory.mktemp("run"), steps=1
    )


def files(folder, pattern):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob(pattern)}


def test_every_concept_meets_every_method_and_a_control_of_each_size(run):
    assert run.spec.question == "Which?"
    for trial in run.spec.trials:
        assert list(trial.conditions) == [
            UNEDITED, "ItD", "UCE", "no-op", "random features of ItD", "random directions of UCE",
        ]  # fmt: skip
        for name, method in (
            ("ItD", "itd"),
            ("UCE", "uce"),
            ("random directions of UCE", "random directions like uce"),
        ):
            edit = trial.conditions[name]
            assert (edit.method, edit.concepts) == (method, (trial.concept,))
    records = run.records()
    cells = {
        key: list(zip(own["prompt"], own["seed"], strict=True))
        for key, own in records.groupby(["concept", "condition"])
    }
    for (concept, _), own in cells.items():
        assert own == cells[concept, UNEDITED]
    np.testing.assert_array_equal(run.images("no-op"), run.images(UNEDITED))
    assert not np.array_equal(run.images("UCE"), run.images(UNEDITED))


def test_every_method_has_a_control_of_its_own(tiny_sd1, methods, tmp_path):
    sae = methods["ItD"].sae
    by_sae = {"ItD": ItD(sae=sae), "replace": DetectReplace(sae=sae), "steerer": ConceptSteerer(sae=sae)}
    (_, conditions), *_ = fit_all(tiny_sd1, comparison({**by_sae, "again": ItD(sae=sae, strength=-2.0)}), tmp_path)
    controls = list(conditions)[5:]
    assert controls == [
        "random features of ItD", "random directions of replace", "random directions of steerer",
        "random features of again",
    ]  # fmt: skip
    assert conditions["random features of ItD"].method == "random features like itd"
    assert "turn" in conditions["random directions of replace"].tensors


def test_a_folder_of_another_run_is_refused_before_any_fit(run, tiny_sd1):
    before = files(run.dir, "*")
    with pytest.raises(WorkbenchError, match=r"holds another run \(settings differ\)"):
        compare(tiny_sd1, comparison({"UCE": UCE(damping=2.0)}), Brightness(), run.dir, steps=2)
    assert files(run.dir, "*") == before


def test_the_seconds_of_each_fit_are_kept_by_its_edit(run):
    seconds = fit_seconds(run.dir)
    fitted = {edit.hash for trial in run.spec.trials for name in ("ItD", "UCE") if (edit := trial.conditions[name])}
    assert set(seconds) == fitted and len(fitted) == 4
    assert all(0 < value < 60 for value in seconds.values())


def test_another_autoencoder_in_the_same_folder_is_another_fit(tiny_sd1, tmp_path):
    sae = tmp_path / "sae"
    methods = {"ItD": two_methods(tiny_sd1, sae)["ItD"]}
    fit_all(tiny_sd1, comparison(methods), tmp_path / "run")
    tensors = load_file(sae / "sae_weights.safetensors")
    save_file({name: tensor + 1e-3 for name, tensor in tensors.items()}, sae / "sae_weights.safetensors")
    (sae / "hashes.json").unlink()  # changed on purpose
    first = set(files(tmp_path / "run", "fits/*.json"))
    fit_all(tiny_sd1, comparison(methods), tmp_path / "run")
    assert len(set(files(tmp_path / "run", "fits/*.json")) - first) == len(first)


@pytest.mark.parametrize(
    "part", ["adapter.safetensors", "image_encoder/model.safetensors", "image_encoder/config.json"]
)
def test_another_image_adapter_in_the_same_folder_is_another_fit(tiny_sd1, tmp_path, part):
    folder = save_tiny_adapter(tiny_sd1, tmp_path / "adapter")
    method = CoErasing(adapter=str(folder))
    fitter = Fitter(tiny_sd1, tmp_path / "run", 0, SILENT)
    before = fitter._key(method, [], [])
    assert fitter._key(method, [], []) == before
    (folder / part).write_bytes((folder / part).read_bytes() + b" ")
    assert fitter._key(method, [], []) != before


def test_other_pictures_in_the_same_folder_are_another_fit(tiny_sd1, tmp_path):
    def draw(shade):
        Image.new("RGB", (64, 64), (shade, 0, 0)).save(tmp_path / "pictures" / "fox.png")

    (tmp_path / "pictures").mkdir()
    methods = {"few-shot": FewShot(folder=str(tmp_path / "pictures"), epochs=1)}
    for shade in (10, 200):
        draw(shade)
        fit_all(tiny_sd1, comparison(methods, subjects=SUBJECTS[:1]), tmp_path / "run")
        fit_all(tiny_sd1, comparison(methods, subjects=SUBJECTS[:1]), tmp_path / "run")
    assert len(files(tmp_path / "run", "fits/*.json")) == 2


def test_nothing_is_fitted_or_made_twice(run, tiny_sd1, methods, monkeypatch):
    before = {**files(run.dir, "*.png"), **files(run.dir, "*.safetensors")}
    monkeypatch.setattr(UCE, "fit", lambda *_, **__: pytest.fail("fitted again"))
    again = compare(tiny_sd1, comparison(methods), Brightness(), run.dir, steps=1)
    assert again.spec.trials == run.spec.trials
    assert {**files(run.dir, "*.png"), **files(run.dir, "*.safetensors")} == before


def test_other_settings_another_seed_or_concept_are_other_fits(tiny_sd1, tmp_path):
    one = {"UCE": UCE()}
    fit_all(tiny_sd1, comparison(one), tmp_path)
    assert len(files(tmp_path, "fits/*.json")) == 2
    fit_all(tiny_sd1, comparison({"again": UCE()}), tmp_path)  # the name of a condition decides nothing
    assert len(files(tmp_path, "fits/*.json")) == 2
    fit_all(tiny_sd1, comparison({"UCE": UCE(damping=2.0)}), tmp_path)
    fit_all(tiny_sd1, comparison(one, seed=1), tmp_path)
    assert len(files(tmp_path, "fits/*.json")) == 6


def test_joint_edits_are_one_edit_under_every_suite(tiny_sd1, tmp_path):
    trials = fit_all(tiny_sd1, comparison({"UCE": UCE()}, ways=["single", "joint"]), tmp_path)
    names = ["UCE", "UCE, jointly", "no-op", "random directions of UCE", "random directions of UCE, jointly"]
    assert [list(conditions) for _, conditions in trials] == [names, names]
    (_, of_fox), (_, of_cat) = trials
    assert of_fox["UCE, jointly"] is of_cat["UCE, jointly"]
    assert of_fox["UCE, jointly"].concepts == ("fox", "cat") and of_fox["UCE"].concepts == ("fox",)
    for way in ("", ", jointly"):
        control, edit = of_fox[f"random directions of UCE{way}"], of_fox[f"UCE{way}"]
        name = edit.names[0]
        torch.testing.assert_close(control.delta(name).norm(), edit.delta(name).norm())
        assert not torch.allclose(control.delta(name), edit.delta(name))


def test_a_later_erasure_is_fitted_on_what_the_earlier_one_left(tiny_sd1, tmp_path):
    (_, conditions), _ = fit_all(tiny_sd1, comparison({"UCE": UCE()}, ways=["single", "ordered"]), tmp_path)
    there, back = conditions["UCE: fox then cat"], conditions["UCE: cat then fox"]
    assert isinstance(there, ComposedEdit) and there.concepts == ("fox", "cat") and back.concepts == ("cat", "fox")
    first = UCE().fit(tiny_sd1, [FOX])
    with tiny_sd1.edited(first, composing=True):
        second = UCE().fit(tiny_sd1, [CAT])
    untouched = UCE().fit(tiny_sd1, [CAT])
    name = first.names[0]
    total = sum(part.delta(name) for part in there.parts)
    torch.testing.assert_close(total, first.delta(name) + second.delta(name))
    assert not torch.allclose(second.delta(name), untouched.delta(name))  # the order matters
    assert not torch.allclose(total, sum(part.delta(name) for part in back.parts))
    assert len(files(tmp_path, "fits/*.json")) == 6  # two alone, which begin the two orders; two after; two composed


def test_the_fit_of_an_order_takes_as_long_as_its_parts(tiny_sd1, tmp_path):
    fit_all(tiny_sd1, comparison({"UCE": UCE()}, ways=["ordered"]), tmp_path)
    records = [json.loads(path.read_text()) for path in tmp_path.glob("fits/*.json")]
    composed = [record["seconds"] for record in records if len(record["concepts"]) == 2]
    alone = [record["seconds"] for record in records if len(record["concepts"]) == 1]
    assert sum(composed) == pytest.approx(sum(alone)) and len(composed) == 2


def test_an_order_alone_has_its_own_control(tiny_sd1, tmp_path):
    (_, conditions), _ = fit_all(tiny_sd1, comparison({"UCE": UCE()}, ways=["ordered"]), tmp_path)
    orders = ["UCE: fox then cat", "UCE: cat then fox"]
    assert list(conditions) == [*orders, "no-op", *(f"random directions of {order}" for order in orders)]
    assert len(conditions[f"random directions of {orders[0]}"].parts) == 2


def test_what_cannot_work_is_refused_before_any_fit(tiny_sd1, tiny_sd3, methods, tmp_path):
    with pytest.raises(WorkbenchError, match="ItD does not work on"):
        compare(tiny_sd3, comparison(methods), Brightness(), tmp_path / "run")
    judge = Brightness()
    object.__setattr__(judge, "concepts", {"fox": "object", "dog": "object"})
    with pytest.raises(WorkbenchError, match="'cat'"):
        compare(tiny_sd1, comparison(methods, subjects=SUBJECTS[1:]), judge, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_interrupted_comparison_keeps_its_finished_fits(tiny_sd1, methods, tmp_path):
    def stops(items, label="", total=None):
        for place, item in enumerate(items):
            if label == "fits" and place == 3:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        compare(tiny_sd1, comparison(methods), Brightness(), tmp_path, steps=1, progress=stops)
    kept = files(tmp_path, "fits/*.json")
    assert len(kept) == 3
    compare(tiny_sd1, comparison(methods), Brightness(), tmp_path, steps=1)
    assert kept.items() <= files(tmp_path, "fits/*.json").items()
    assert all(isinstance(seconds, float) for seconds in fit_seconds(tmp_path).values())


def test_the_model_is_as_before(tiny_sd1, methods, tmp_path):
    weights = {name: weight.detach().clone() for name, weight in tiny_sd1.prompt_maps().items()}
    trials = fit_all(tiny_sd1, comparison(methods, ways=["joint", "ordered"]), tmp_path)
    assert isinstance(trials[0][1]["UCE, jointly"], WeightEdit) and not tiny_sd1.is_edited
    assert all(torch.equal(weight, tiny_sd1.prompt_maps()[name]) for name, weight in weights.items())


def test_a_method_that_trains_is_compared_like_any_other(tiny_sd1, tmp_path):
    run = compare(tiny_sd1, comparison({"ESD": ESD(iterations=1, steps=2)}), Brightness(), tmp_path / "run", steps=1)
    assert {edit.method for edit in run.spec.trials[0].conditions.values() if edit} >= {"esd"}


def test_a_killed_fit_goes_on_with_its_seconds_and_leaves_no_checkpoint(tiny_sd1, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    method = ESD(iterations=10, steps=3, lr=1e-3)

    def fit(folder=tmp_path / "run"):
        return Fitter(tiny_sd1, folder, 0, SILENT).fit(method, [FOX])

    fitted = kill_and_go_on(tmp_path / "run/unfinished", fit)
    whole = fit(tmp_path / "whole")
    assert all(torch.equal(fitted.edit.delta(name), whole.edit.delta(name)) for name in whole.edit.names)
    assert fitted.key == whole.key and fitted.seconds > 0.3 * whole.seconds
    assert not list((tmp_path / "run/unfinished").glob("*"))
    assert fit().seconds == fitted.seconds, "found again, not fitted"
