"""What every kind of edit says about itself, and what none may hold."""

import json
import math
from dataclasses import replace
from shutil import rmtree

import numpy as np
import pytest
import torch

from saes.disk import sha256_of, write_tensors
from saes.errors import WorkbenchError
from tests.edits.test_adapter import adapter
from workbench.concepts import Concept
from workbench.edits import KINDS, ComposedEdit, Edit, TokenEdit, WeightEdit, load_edit
from workbench.edits.bake import bake
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.erasure.sld import SLD

BIAS = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.bias"
LEAVES = sorted(set(KINDS) - {"composed"})


@pytest.fixture(scope="module")
def edits(tiny_sd1, sae):
    """One of each kind."""
    from workbench.edits.interventions import ablation

    activation = ablation(tiny_sd1, sae, range(0, 96, 3), strength=-1.0, concepts=("fox",))
    found = {
        "activation": replace(activation, tensors={**activation.tensors, "density": torch.ones(96)}),
        "adapter": adapter(tiny_sd1, "fox"),
        "guidance": SLD(strength="max").fit(tiny_sd1, [Concept("fox")]),
        "prompt": NegativePrompt().fit(tiny_sd1, [Concept("fox")]),
        "token": TokenEdit(
            tokens=["<here>", "<there>"], tensors={"rows": torch.eye(16)[:2]}, settings={}, method="geom_erasing",
            concepts=["fox"], base_fingerprint=tiny_sd1.fingerprint,
        ),
        "weight": WeightEdit(
            tensors={f"{BIAS}:delta": torch.ones(16)}, settings={}, method="uce", concepts=["fox"],
            base_fingerprint=tiny_sd1.fingerprint,
        ),
    }  # fmt: skip
    return {**found, "composed": ComposedEdit([found["weight"], found["activation"]])}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_all_that_is_asked(edits, tiny_sd1, kind):
    edit = edits[kind]
    assert isinstance(edit, Edit) and edit.kind == kind
    said = edit.summary()
    control = edit.random(3)
    assert control.kind == kind and control.seed == 3 and control.method.startswith(f"{said.control} like ")
    assert said.changes
    assert edit.rows(tiny_sd1) and edit.rows()[0].keys() == edit.rows(tiny_sd1)[0].keys()
    assert edit.no_op().kind == kind
    text = repr(edit)
    assert len(text) < 200 and "fox" in text and "\n" not in text and said.changes in text
    assert "fox" in edit._repr_html_()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_to_be_in_weights_can_be_baked_and_nothing_else(edits, tiny_sd1, kind, tmp_path):
    edit = edits[kind]
    if edit.summary().in_weights:
        assert all(isinstance(one, WeightEdit) for one in edit.in_weights())
        bake(tiny_sd1, edit, tmp_path / "baked")
    else:
        with pytest.raises(WorkbenchError, match="bake"):
            edit.in_weights()
        with pytest.raises(WorkbenchError, match="bake"):
            bake(tiny_sd1, edit, tmp_path / "baked")
    assert {name for name, one in edits.items() if one.summary().in_weights} == {"weight", "adapter"}


def test_the_features_that_an_edit_acts_on_are_told_with_their_dictionary(edits):
    (acted,) = edits["activation"].summary().features
    assert acted.site == "text.0" and acted.features.tolist() == list(range(0, 96, 3))
    assert acted.dictionary.d_sae == 96 and acted.density is not None
    assert edits["composed"].summary().features[0].site == "text.0"
    assert edits["weight"].summary().features == ()


def poisoned(edit, number):
    """The same edit with one number exchanged in its first tensor of floats, or in a new one."""
    tensors = {name: tensor.clone() for name, tensor in edit.tensors.items()} or {"turn": torch.eye(4)}
    name = next(name for name, tensor in sorted(tensors.items()) if tensor.is_floating_point())
    tensors[name].view(-1)[0] = number
    return tensors


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", LEAVES)
def test_numbers_that_are_none_are_refused_where_an_edit_is_made_read_and_installed(
    edits, tiny_sd1, kind, number, tmp_path
):
    edit = edits[kind]
    with pytest.raises(WorkbenchError, match="not finite"):
        replace(edit, tensors=poisoned(edit, number))
    with pytest.raises(WorkbenchError, match=r"'s' = |s = (nan|inf|-inf)"):
        replace(edit, settings={**edit.settings, "s": number})
    edit.save(tmp_path / "edit")
    write_tensors(tmp_path / "edit" / "tensors.safetensors", poisoned(edit, number))
    changed(tmp_path / "edit", tensors_sha256=sha256_of(tmp_path / "edit" / "tensors.safetensors"))
    with pytest.raises(WorkbenchError, match="not finite"):
        load_edit(tmp_path / "edit")
    if edit.tensors:
        later = replace(edit, tensors={name: tensor.clone() for name, tensor in edit.tensors.items()})
        next(one for one in later.tensors.values() if one.is_floating_point()).fill_(number)
        with pytest.raises(WorkbenchError, match="not finite"), tiny_sd1.edited(later):
            raise AssertionError("the body must not run")


@pytest.mark.parametrize("kind", LEAVES)
def test_empty_tensors_unsayable_settings_and_a_text_for_concepts_are_refused(edits, kind):
    edit = edits[kind]
    with pytest.raises(WorkbenchError, match="empty tensor"):
        replace(edit, tensors={**edit.tensors, "nothing": torch.empty(0)})
    for unsaid in (object(), {"deep": [torch.ones(())]}, {3: "a number for a name"}):
        with pytest.raises(WorkbenchError, match="JSON cannot say"):
            replace(edit, settings={**edit.settings, "s": unsaid})
    with pytest.raises(WorkbenchError, match="are one text"):
        replace(edit, concepts="fox")


@pytest.mark.parametrize("kind", LEAVES)
def test_numbers_out_of_a_table_are_numbers(edits, kind, tmp_path):
    told = {"strength": np.float32(-1), "features": [np.int64(3)], "deep": {"on": np.bool_(True)}, "word": np.str_("a")}
    edit = replace(edits[kind], settings={**edits[kind].settings, **told})
    edit.save(tmp_path / "edit")
    read = load_edit(tmp_path / "edit")
    assert read.settings == edit.settings == {
        **edits[kind].settings, "strength": -1.0, "features": [3], "deep": {"on": True}, "word": "a"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "names no parameter"),
        ({":right": torch.ones(1, 2)}, "names no parameter"),
        ({BIAS: torch.ones(16)}, "names no change of a parameter"),  # the new weight, as in a checkpoint
        ({f"{BIAS}:detla": torch.ones(16)}, "names no change of a parameter"),
        ({":delta": torch.ones(16)}, "names no change of a parameter"),
        ({"w:left": torch.ones(2, 1)}, ":left of w, which do not make one change"),
        ({"w:left": torch.ones(2, 1), "w:delta": torch.ones(2, 2)}, "do not make one change"),
        ({"w:right": torch.ones(1, 2)}, ":right of w, which do not make one change"),
        ({"w:left": torch.ones(2, 3), "w:right": torch.ones(1, 2)}, "have no product"),
        ({"w:left": torch.ones(2), "w:right": torch.ones(1, 2)}, "have no product"),
    ],
)
def test_tensors_that_give_no_change_of_a_weight_are_refused(edits, tensors, said):
    with pytest.raises(WorkbenchError, match=said):
        replace(edits["weight"], tensors=tensors)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tensors": {}}, "0 layers"),
        ({"targets": []}, "no text opens"),
        ({"targets": [[]]}, "no text opens"),
        ({"alphas": []}, "with 0 α"),
        ({"alphas": [math.nan]}, "not finite"),
        ({"factor": math.inf}, "not finite"),
        ({"tensors": {"0:down": torch.ones(1, 2)}}, "names no factor"),
    ],
)
def test_adapters_that_are_not_whole_are_refused(edits, change, said):
    with pytest.raises(WorkbenchError, match=said):
        replace(edits["adapter"], **change)


def test_a_program_without_what_it_needs_is_refused(edits):
    edit = edits["activation"]
    with pytest.raises(WorkbenchError, match="lacks the tensor 'W_dec'"):
        replace(edit, tensors={name: one for name, one in edit.tensors.items() if name != "W_dec"})
    with pytest.raises(WorkbenchError, match="lacks the setting 'strength'"):
        replace(edit, settings={name: one for name, one in edit.settings.items() if name != "strength"})


def changed(folder, **changes):
    path = folder / "edit.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("wrong", [5, None, [5], {"a": 1}, "text", True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_field_of_another_type_is_one_sentence(edits, kind, wrong, tmp_path):
    edits[kind].save(tmp_path / "edit")
    whole = (tmp_path / "edit" / "edit.json").read_text()
    fields = json.loads(whole).keys() - {"versions"}
    refused = set()
    for name in fields:
        changed(tmp_path / "edit", **{name: wrong})
        try:
            load_edit(tmp_path / "edit")
        except WorkbenchError:
            refused.add(name)
        (tmp_path / "edit" / "edit.json").write_text(whole)
    free: set[str] = {"method", "base_fingerprint", "text", "site"} if wrong == "text" else set()  # are texts
    free |= {"seed", "width", "factor"} if wrong == 5 and not isinstance(wrong, bool) else set()  # are numbers
    free |= {"settings"} if wrong == {"a": 1} else {"alphas"} if wrong == [5] else set()
    assert fields - refused <= free


def test_a_folder_that_holds_itself_a_file_and_a_list_are_one_sentence_each(edits, tmp_path):
    edits["composed"].save(tmp_path / "edit")
    rmtree(tmp_path / "edit" / "0")
    (tmp_path / "edit" / "0").symlink_to(tmp_path / "edit")
    with pytest.raises(WorkbenchError):
        load_edit(tmp_path / "edit")
    with pytest.raises(WorkbenchError):
        load_edit(tmp_path / "edit" / "edit.json")
    (tmp_path / "edit" / "edit.json").write_text("[]")
    with pytest.raises(WorkbenchError, match="no edit of this version"):
        load_edit(tmp_path / "edit")
