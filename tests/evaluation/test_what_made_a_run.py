"""A run, a store and a fit are filed under the model as it is, not under the folder that it came from."""

import json

import diffusers
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_pipelines import save_tiny
from workbench import toy
from workbench.activations.harvest import harvest
from workbench.concepts import Concept
from workbench.erasure.uce import UCE
from workbench.evaluation.evaluate import evaluate
from workbench.models import load

FOX = Concept("fox", anchor="cat")


@pytest.fixture
def folder(tmp_path):
    return save_tiny("sd1", tmp_path / "sd1")


def evaluated(model, out):
    return evaluate(model, {}, toy.suite("fox", 1, 0), toy.Oracle.load(), out, steps=1, floor=0.0)


def another_scheduler(model):
    model.pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(model.pipe.scheduler.config)


def other_values(model):
    for name, part in model.pipe.unet.named_parameters():
        if name.endswith("attn2.to_v.weight"):
            part.data.zero_()


@pytest.mark.parametrize(
    ("change", "differs"), [(another_scheduler, "scheduler differs"), (other_values, "weights differ")]
)
def test_a_changed_model_does_not_continue_a_run(folder, tmp_path, change, differs):
    model = load(folder, device="cpu")
    evaluated(model, tmp_path / "run")
    evaluated(load(folder, device="cpu"), tmp_path / "run")
    change(model)
    with pytest.raises(WorkbenchError, match=differs):
        evaluated(model, tmp_path / "run")


@pytest.mark.parametrize(
    ("file", "key", "value", "differs"),
    [
        ("model_index.json", "scheduler", ["diffusers", "EulerAncestralDiscreteScheduler"], "scheduler differs"),
        ("workbench.json", "image_size", 48, "image size differs"),
    ],
)
def test_a_folder_with_other_settings_does_not_continue_a_run(folder, tmp_path, file, key, value, differs):
    evaluated(load(folder, device="cpu"), tmp_path / "run")
    told = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**told, key: value}))
    with pytest.raises(WorkbenchError, match=differs):
        evaluated(load(folder, device="cpu"), tmp_path / "run")


def test_evaluations_and_fits_inside_an_edit_are_refused(folder, tmp_path):
    model = load(folder, device="cpu")
    edit = UCE().fit(model, [FOX])
    with model.edited(edit):
        with pytest.raises(WorkbenchError, match=r"An evaluation inside.*Leave the block first\."):
            evaluated(model, tmp_path / "run")
        with pytest.raises(WorkbenchError, match=r"A fit inside.*composing=True"):
            UCE().fit(model, [FOX])
    with model.edited(edit, composing=True):
        UCE().fit(model, [FOX])


def test_a_store_made_inside_an_edit_is_filed_under_both(folder, tmp_path):
    model = load(folder, device="cpu")
    edit = UCE().fit(model, [FOX])
    plain = harvest(model, ["a fox", "a cat"], ["text.1"], tmp_path / "plain")
    with model.edited(edit):
        inside = harvest(model, ["a fox", "a cat"], ["text.1"], tmp_path / "inside")
        with pytest.raises(WorkbenchError):
            harvest(model, ["a fox", "a cat"], ["text.1"], tmp_path / "plain")
    assert plain.manifest.model == model.fingerprint != inside.manifest.model


def test_a_picture_store_knows_the_scheduler_and_a_text_store_does_not_care(folder, tmp_path):
    model = load(folder, device="cpu")
    for site in ("text.1", "unet.mid"):
        harvest(model, ["a fox"], [site], tmp_path / site, steps=1)
    another_scheduler(model)
    harvest(model, ["a fox"], ["text.1"], tmp_path / "text.1", steps=1)
    with pytest.raises(WorkbenchError):
        harvest(model, ["a fox"], ["unet.mid"], tmp_path / "unet.mid", steps=1)


def test_a_fit_on_another_text_encoder_is_that_encoders(folder):
    model = load(folder, device="cpu")
    before = UCE().fit(model, [FOX])
    torch.manual_seed(5)
    with torch.no_grad():
        for one in model.pipe.text_encoder.parameters():
            one.copy_(0.1 * torch.randn_like(one))
    after = UCE().fit(model, [FOX])
    assert before.base_fingerprint != after.base_fingerprint
    assert not torch.allclose(after.delta(after.names[0]), before.delta(before.names[0]))
