"""Activation edits: values that are saved whole, come back the same, and refuse what they do not fit."""

import json
from dataclasses import replace

import pytest
import torch

from saes.disk import sha256_of, write_tensors
from saes.errors import WorkbenchError
from workbench.edits import KINDS, Edit, load_edit

PROMPTS = ["a photo of a fox", "red dog"]


def images(model, *edits):
    with model.edited(*edits):
        return model.generate(PROMPTS, [0, 1], steps=2)


def embeddings(model, *edits):
    with torch.no_grad(), model.edited(*edits):
        return model.encode(PROMPTS).embeddings


def test_an_edit_is_an_edit_of_a_kind_that_can_be_loaded(edit):
    assert isinstance(edit, Edit)
    assert KINDS[edit.kind].endswith(":ActivationEdit")


def test_a_no_op_edit_gives_bit_equal_images_where_the_edit_itself_does_not(tiny_sd1, edit):
    plain = images(tiny_sd1)
    assert (images(tiny_sd1, edit.no_op()) == plain).all()
    assert not (images(tiny_sd1, edit) == plain).all()


def test_a_saved_edit_comes_back_the_same(tiny_sd1, edit, tmp_path):
    edit.save(tmp_path / "edit")
    again = load_edit(tmp_path / "edit")
    assert torch.equal(embeddings(tiny_sd1, again), embeddings(tiny_sd1, edit))
    told = ("site", "width", "program", "settings", "method", "concepts", "base_fingerprint", "seed")
    assert all(getattr(again, name) == getattr(edit, name) for name in told)


def test_equal_edits_have_equal_files(edit, tmp_path):
    for name in ("first", "second"):
        edit.save(tmp_path / name)
    for file in ("edit.json", "tensors.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_an_existing_folder_is_kept(edit, tmp_path):
    edit.save(tmp_path / "edit")
    with pytest.raises(WorkbenchError, match="exists already"):
        edit.save(tmp_path / "edit")


def test_edits_compose_in_the_order_given(tiny_sd1, edit, sae):
    from workbench.edits.interventions import ablation

    other = ablation(tiny_sd1, sae, range(1, 96, 3), strength=3.0)
    one_way, other_way = embeddings(tiny_sd1, edit, other), embeddings(tiny_sd1, other, edit)
    assert not torch.allclose(one_way, other_way, atol=1e-3)
    with tiny_sd1.edited(edit):
        assert torch.equal(embeddings(tiny_sd1, other), one_way)


def test_another_model_is_refused(tiny_sd2, edit):
    with pytest.raises(WorkbenchError, match="fitted on another model"), tiny_sd2.edited(edit):
        raise AssertionError("the body must not run")


@pytest.mark.parametrize(
    ("change", "said"),
    [({"site": "text.7"}, "Unknown site 'text.7'"), ({"site": "unet.down.0.0"}, "for 16 channels and unet.down.0.0")],
)
def test_other_sites_and_widths_are_refused(tiny_sd1, edit, change, said):
    with pytest.raises(WorkbenchError, match=said):
        replace(edit, **change).check(tiny_sd1)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("workbench.edits.programs:CHANGE_FEATURE", "Did you mean 'workbench.edits.programs:CHANGE_FEATURES'"),
        ("workbench.edits.programs:change_features", "Unknown program"),  # a function, not a program
        ("workbench.edits.guidance:IDENTITY", "Unknown program"),  # a rule
        ("os:system", "No installed package declares"),
        ("scale_features", "saved by older versions"),
    ],
)
def test_a_program_is_one_that_a_package_declares(edit, tmp_path, program, said):
    with pytest.raises(WorkbenchError, match=said):
        replace(edit, program=program)
    edit.save(tmp_path / "edit")
    edited_json(tmp_path / "edit", program=program)
    with pytest.raises(WorkbenchError, match=said):
        load_edit(tmp_path / "edit")


def edited_json(folder, **changes):
    path = folder / "edit.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "erasure-workbench edit 0"}, "no edit of this version"),
        ({"kind": "activations"}, "'activation'"),
        ({"sead": 0}, "'seed'"),
        ({"shapes": {}}, "other shapes"),
    ],
)
def test_a_changed_description_is_refused(edit, tmp_path, changes, said):
    edit.save(tmp_path / "edit")
    edited_json(tmp_path / "edit", **changes)
    with pytest.raises(WorkbenchError, match=said):
        load_edit(tmp_path / "edit")


def test_truncated_and_exchanged_tensors_are_refused(edit, tmp_path):
    edit.save(tmp_path / "edit")
    file = tmp_path / "edit" / "tensors.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    with pytest.raises(WorkbenchError, match="not a whole safetensors file"):
        load_edit(tmp_path / "edit")
    write_tensors(file, {name: tensor + 1 for name, tensor in edit.tensors.items()})
    with pytest.raises(WorkbenchError, match="changed after it was saved"):
        load_edit(tmp_path / "edit")
    file.write_bytes(whole)
    assert sha256_of(file) == json.loads((tmp_path / "edit/edit.json").read_text())["tensors_sha256"]
    load_edit(tmp_path / "edit")


def test_what_is_no_edit_is_refused(tmp_path):
    with pytest.raises(WorkbenchError, match="does not exist"):
        load_edit(tmp_path)


def test_an_edit_is_shown_as_a_table(edit):
    shown = replace(edit, concepts=("<fox>",))._repr_html_()
    assert "&lt;fox&gt;" in shown and "text.0" in shown and "W_enc 16×96" in shown
