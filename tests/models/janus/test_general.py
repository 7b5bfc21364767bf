"""What is general works on a Janus: edits of every kind that it can have, readings, stores, identity, refusals."""

import numpy as np
import pytest
import torch
from transformers import JanusForConditionalGeneration

from saes.errors import WorkbenchError
from tests.evaluation.small import Brightness, suite
from tests.tiny_janus import BOI, BOS, CELLS, LAYERS, SIDE, WIDTH
from workbench.activations.harvest import harvest, left_out
from workbench.activations.reading import drawn, evenly, read
from workbench.concepts import Concept
from workbench.edits import ActivationEdit, WeightEdit, load_edit
from workbench.edits.bake import bake, unbake
from workbench.edits.programs import ActivationProgram
from workbench.erasure import METHODS, find_method
from workbench.evaluation.evaluate import evaluate
from workbench.hooks import Place
from workbench.interpret.drift import measure_drift
from workbench.models import load
from workbench.models.capabilities import KINDS, kinds_with
from workbench.reports.explaining import explain

PROMPTS = ["a fox", "a photo of a red cat", "dog"]
QUERY = "language_model.layers.1.self_attn.q_proj.weight"
TOLD = {"method": "by hand", "concepts": ["fox"], "seed": 0, "settings": {}}


def flipped(x, clock, tensors, settings):
    return torch.where(clock.mask("cond")[:, None, None], x.flip(-1) * settings["by"], x)


FLIP = ActivationProgram(flipped)


def activation_edit(model, monkeypatch, site="lm.1"):
    monkeypatch.setattr("workbench.edits.programs.IDENTITY", FLIP)
    return ActivationEdit(
        site=site, width=WIDTH, program="workbench.edits.programs:IDENTITY", tensors={},
        base_fingerprint=model.fingerprint, **TOLD | {"settings": {"by": 2.0}},
    )  # fmt: skip


def weight_edit(model):
    delta = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0))
    return WeightEdit(tensors={f"{QUERY}:delta": delta}, base_fingerprint=model.fingerprint, **TOLD)


def test_edits_of_activations_and_of_weights_change_pictures_and_go_again(tiny_janus, monkeypatch, tmp_path):
    plain, identity = tiny_janus.generate("a fox", [1, 2]), tiny_janus.identity
    activations, weights = activation_edit(tiny_janus, monkeypatch), weight_edit(tiny_janus)
    made = []
    for edit in (activations, weights):
        with tiny_janus.edited(edit):
            made.append(tiny_janus.generate("a fox", [1, 2]))
            assert tiny_janus.identity.differences(identity) == ["edits"]
        with tiny_janus.edited(edit.no_op()) if edit is weights else tiny_janus.session():
            assert np.array_equal(tiny_janus.generate("a fox", [1, 2]), plain)
    weights.save(tmp_path / "edit")
    with tiny_janus.edited(load_edit(tmp_path / "edit")):
        assert np.array_equal(tiny_janus.generate("a fox", [1, 2]), made[1])
        with tiny_janus.edited(activations):
            made.append(tiny_janus.generate("a fox", [1, 2]))
    assert not any(
        np.array_equal(one, other) for one, other in [(plain, made[0]), (plain, made[1]), (made[1], made[2])]
    )
    assert np.array_equal(tiny_janus.generate("a fox", [1, 2]), plain) and tiny_janus.identity == identity


def test_an_edit_is_also_seen_by_teacher_forcing(tiny_janus):
    codes = tiny_janus.sample_codes("a fox", 1)
    plain = tiny_janus.hidden(codes, "a fox")
    with tiny_janus.edited(weight_edit(tiny_janus)):
        assert not torch.equal(tiny_janus.hidden(codes, "a fox"), plain)
    assert torch.equal(tiny_janus.hidden(codes, "a fox"), plain)


def test_a_baked_edit_is_a_folder_that_transformers_opens(tiny_janus, tmp_path):
    edit = weight_edit(tiny_janus)
    baked = load(bake(tiny_janus, edit, tmp_path / "baked"), device="cpu")
    with tiny_janus.edited(edit):
        assert np.array_equal(baked.generate("a fox", 1), tiny_janus.generate("a fox", 1))
    assert baked.settings == tiny_janus.settings and baked.fingerprint != tiny_janus.fingerprint
    assert baked.identity.differences(tiny_janus.identity) == ["weights"]
    whole = JanusForConditionalGeneration.from_pretrained(tmp_path / "baked")
    assert torch.equal(whole.state_dict()[f"model.{QUERY}"], baked.parameter(QUERY))
    undone = unbake(baked, edit, tmp_path / "back")
    back = load(tmp_path / "back", device="cpu").parameter(QUERY)
    assert undone.bound is not None and (back - tiny_janus.parameter(QUERY)).abs().max() <= undone.bound


def test_an_edit_of_another_width_or_site_is_refused(tiny_janus, monkeypatch):
    with pytest.raises(WorkbenchError, match=r"Unknown site 'lm\.7'"):
        activation_edit(tiny_janus, monkeypatch, "lm.7").check(tiny_janus)
    with pytest.raises(WorkbenchError, match=r"has no module 'language_model\.layers\.9"):
        tiny_janus.parameter("language_model.layers.9.mlp.down_proj.weight")


def test_one_changed_weight_is_another_identity(tiny_janus):
    before, weight = tiny_janus.identity, tiny_janus.parameter(QUERY)
    with tiny_janus.shifted({QUERY: torch.ones_like(weight)}):
        assert tiny_janus.identity.differences(before) == ["weights"]
    assert tiny_janus.identity == before


def test_one_pass_harvests_text_and_picture(tiny_janus, tmp_path):
    store = harvest(tiny_janus, PROMPTS, ["lm.1", "head.in"], tmp_path / "store", dtype="float32", pixel_rate=1.0)
    labels = {name: column.tolist() for name, column in store.labels("lm.1").items()}
    assert list(labels) == ["prompt", "call", "place", "token_id", "position", "y", "x"]
    rows = list(zip(*labels.values(), strict=True))
    codes = tiny_janus.sample_codes(PROMPTS, [0, 1, 2])
    for prompt, own in enumerate(tiny_janus.tokens(PROMPTS)):
        places = [Place.BEGIN, Place.TEMPLATE, Place.TEMPLATE, *[Place.WORD] * (len(own.ids) - 6)]
        places += [Place.TEMPLATE, Place.TEMPLATE, Place.END]
        text = [(prompt, 0, place, id, at, -1, -1) for at, (id, place) in enumerate(zip(own.ids, places, strict=True))]
        picture = [
            (prompt, cell + 1, Place.PICTURE, int(codes[prompt, cell]), cell, cell // SIDE, cell % SIDE)
            for cell in range(CELLS - 1)  # the last token is never read
        ]
        assert sorted(row for row in rows if row[0] == prompt) == sorted(text + picture)
    assert store.rows("head.in") == len(PROMPTS) * CELLS and left_out(store, "lm.1") == 0


def test_stored_rows_are_those_of_teacher_forcing(tiny_janus, tmp_path):
    store = harvest(tiny_janus, PROMPTS, ["lm.norm"], tmp_path / "store", dtype="float32", pixel_rate=1.0)
    codes = tiny_janus.sample_codes(PROMPTS, [0, 1, 2])
    hidden = tiny_janus.hidden(codes, PROMPTS)
    (block,) = store.blocks("lm.norm", 10_000)
    longest = hidden.shape[1] - CELLS + 1
    labels = (block.labels[name].tolist() for name in ("prompt", "place", "position"))
    for row, prompt, place, position in zip(block.rows, *labels, strict=True):
        own = len(tiny_janus.tokens(PROMPTS[prompt])[0].ids)
        column = longest + position if place == Place.PICTURE else longest - own + position
        torch.testing.assert_close(row, hidden[prompt, column], rtol=1e-4, atol=1e-4)


def test_a_share_of_the_cells_is_drawn_for_each_picture_and_the_same_at_all_sites(tiny_janus, tmp_path):
    store = harvest(tiny_janus, PROMPTS, ["lm.0", "lm.2"], tmp_path / "store", pixel_rate=0.25, positions="content")
    found = {}
    for site in ("lm.0", "lm.2"):
        labels = store.labels(site)
        of_picture = labels["place"] == Place.PICTURE
        own = (labels[name][of_picture].tolist() for name in ("prompt", "position"))
        found[site] = list(zip(*own, strict=True))
        assert set(labels["place"].tolist()) == {Place.WORD, Place.END, Place.PICTURE}
        assert labels["token_id"][labels["place"] == Place.END].tolist() == [BOI] * len(PROMPTS)
        assert BOS not in labels["token_id"][~of_picture].tolist()
    cells = [{cell for prompt, cell in found["lm.0"] if prompt == number} for number in range(3)]
    wanted = [set(row) - {CELLS - 1} for row in drawn(0.25, 0)(CELLS, range(3), 0).tolist()]  # the last is never read
    assert found["lm.0"] == found["lm.2"] and cells == wanted
    assert not cells[0] == cells[1] == cells[2]


def test_readings_mark_what_belongs_to_no_prompt(tiny_janus):
    seen = []
    read(tiny_janus, [tiny_janus.site("lm.1")], PROMPTS, seen.append, steps=None)
    assert len(seen) == CELLS and (seen[0].places == Place.ABSENT).sum() == 9
    few = [reading.thinned(evenly(2)) for reading in seen]
    kept = [int(each.position[0, 0]) for each in few[1:] if each.content.all()]
    assert kept == [0], "of cells 0 and 15 the last is never read"
    with pytest.raises(WorkbenchError, match="Unknown sampling setting 'steps'"):
        read(tiny_janus, [tiny_janus.site("lm.1")], PROMPTS, seen.append, steps=3)


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_other_models_say_what_it_lacks(tiny_janus, name):
    supports = find_method(name).supports
    if "janus" not in supports.kinds:
        with pytest.raises(WorkbenchError, match=r"does not work on .* \(janus\), which has no"):
            supports.check(name, tiny_janus, [Concept("fox", anchor="cat", retain=["dog"])])


def test_drift_is_measured_on_what_belongs_to_prompts(tiny_janus):
    words = [f"a {colour} {thing}" for colour in ("red", "blue") for thing in ("fox", "cat", "dog", "bear")]
    edit = weight_edit(tiny_janus)
    table = measure_drift(tiny_janus, {"moved": edit, "no-op": edit.no_op()}, PROMPTS, words, ["lm.1"])
    assert set(table.part) == {"text", "template", "begin of image", "picture"}
    distance = table.pivot(index="part", columns="condition", values="distance")
    assert (distance["no-op"] == distance["unedited"]).all() and (distance["moved"] != distance["unedited"]).all()
    assert distance["moved"]["picture"] > distance["unedited"]["picture"]


def test_an_edit_is_evaluated(tiny_janus, tmp_path):
    run = evaluate(tiny_janus, {"moved": weight_edit(tiny_janus)}, suite(), Brightness(), tmp_path / "run")
    assert dict(run.spec.settings) == tiny_janus.settings and len(run.spec.cells()) == 12
    fox = [cell for cell in run.spec.cells() if (cell.prompt, cell.seed) == ("a photo of a fox", 1)]
    made = {bool(cell.edit): run.read_image(cell.key).pixels for cell in fox}
    assert np.array_equal(made[False], tiny_janus.generate("a photo of a fox", 1)[0])
    assert not np.array_equal(made[True], made[False])
    assert not explain(run, tiny_janus, [Concept("fox")], Brightness()).tables, "attribution is of diffusion"


def test_it_is_the_one_kind_that_writes_pictures(tiny_janus):
    assert kinds_with({"autoregressive"}) == ("janus",) and tiny_janus.capabilities == KINDS["janus"]


def test_texts_come_back_from_ids(tiny_janus):
    ids = tiny_janus.token_ids(PROMPTS)
    assert tiny_janus.texts(ids) == PROMPTS
    ids.ids[0][0, -4] = BOS  # in the place of the fox
    assert tiny_janus.texts(ids) == [None, *PROMPTS[1:]]


def test_the_handle_shows_itself(tiny_janus):
    shown = tiny_janus._repr_html_()
    assert all(text in shown for text in ("janus", "Parts", str(len(tiny_janus.sites())), "3.0"))
    assert repr(tiny_janus).startswith("<Janus") and len(tiny_janus.sites()) == 4 * LAYERS + 3
