"""Rows of a suite may be token ids or token embeddings: named by their numbers, kept with the run, drawn from."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from workbench import toy
from workbench.edits import WeightEdit
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.inputs import Further, input_hash, read_input
from workbench.evaluation.runs import Run
from workbench.evaluation.suites import Suite, SuiteRow, write_suite
from workbench.models import Begun, TokenEmbeddings, TokenIds


def prompts(model):
    ids = model.token_ids("a photo of a fox")
    soft = model.token_embeddings("a photo of a fox")
    return ids, TokenEmbeddings(soft.ids, tuple(2 * one.flip(-1) for one in soft.embeddings))


def mixed(model):
    """The same words as text, as ids, and moved."""
    given = {input_hash(one): one for one in prompts(model)}
    ids, soft = given
    rows = [SuiteRow("a photo of a fox", "target", "fox", 1, input=name) for name in ("", ids, soft)]
    return Suite("mixed", tuple(rows), "cat", inputs=given)


def evaluated(model, out):
    return evaluate(model, {}, mixed(model), toy.Oracle.load(), out, steps=2, floor=0.0)


def test_each_row_is_what_it_was_given(tiny_sd1, tmp_path):
    images = evaluated(tiny_sd1, tmp_path / "run").images("unedited").astype(int)
    wanted = [tiny_sd1.generate(one, 1, steps=2)[0].astype(int) for one in ("a photo of a fox", *prompts(tiny_sd1))]
    for image, own in zip(images, wanted, strict=True):
        np.testing.assert_allclose(image, own, atol=1)
    assert np.abs(images[0] - images[2]).max() > 1, "moved embeddings are another prompt"


def test_a_run_keeps_its_inputs_and_goes_on_from_them(tiny_sd1, tmp_path):
    first = evaluated(tiny_sd1, tmp_path / "run")
    ids, soft = prompts(tiny_sd1)
    kept = read_input(tmp_path / "run", input_hash(soft))
    assert torch.equal(kept.embeddings[0], soft.embeddings[0]) and torch.equal(kept.ids[0], soft.ids[0])
    assert isinstance(read_input(tmp_path / "run", input_hash(ids)), TokenIds)
    assert len({cell.key for cell in first.spec.cells()}) == 3
    next((tmp_path / "run/images").rglob("*.png")).unlink()
    assert len(evaluated(tiny_sd1, tmp_path / "run").records()) == 3
    assert Run.open(tmp_path / "run").spec.trials[0].rows[0].input == ""


def test_other_numbers_are_another_input_and_an_altered_file_is_noticed(tiny_sd1, tmp_path):
    evaluated(tiny_sd1, tmp_path / "run")
    ids, soft = prompts(tiny_sd1)
    assert input_hash(ids) != input_hash(soft)
    other = tmp_path / "run/inputs" / f"{input_hash(ids)}.safetensors"
    other.write_bytes((tmp_path / "run/inputs" / f"{input_hash(soft)}.safetensors").read_bytes())
    with pytest.raises(WorkbenchError, match="was altered"):
        read_input(tmp_path / "run", input_hash(ids))


def test_a_start_and_a_further_edit_are_rows_too(tiny_sd1, tmp_path):
    """They are kept with the run, read back as they were, and drawn as by hand."""
    model = tiny_sd1
    name = next(iter(model.prompt_maps()))
    tensors = {f"{name}:delta": torch.ones_like(model.parameter(name)).detach()}
    edit = WeightEdit(
        tensors=tensors, settings={}, method="by hand", concepts=["fox"], base_fingerprint=model.fingerprint
    )
    late = Begun(["a fox"], model.noise([3]), model.noise([4]), 600.0)
    wordless = Begun([""], model.noise([5]))
    starts = [late, Begun(model.token_ids("a fox"), model.noise([3])), wordless]
    given = {input_hash(one): one for one in (*starts, Further("a fox", edit))}
    suite = Suite("more", tuple(SuiteRow("a fox", "target", "fox", 1, input=name) for name in given), inputs=given)
    run = evaluate(model, {}, suite, toy.Oracle.load(), tmp_path / "run", steps=2, floor=0.0)
    with model.edited(edit):
        further = model.generate("a fox", 1, steps=2)
    wanted = [*(model.generate(one, 1, steps=2) for one in starts), further]
    for image, own in zip(run.images("unedited"), wanted, strict=True):
        np.testing.assert_allclose(image.astype(int), own[0].astype(int), atol=1)
    for name, one in given.items():
        assert type(read_input(run.dir, name)) is type(one) and input_hash(read_input(run.dir, name)) == name


def test_what_is_not_there_or_is_no_row_is_refused(tiny_sd1, tmp_path):
    with pytest.raises(WorkbenchError, match="input"):
        Suite("lost", (SuiteRow("a fox", "target", "fox", 1, input="0" * 20),))
    with pytest.raises(WorkbenchError, match="one prompt, and 2 were given"):
        input_hash(tiny_sd1.token_ids(["a fox", "a cat"]))
    with pytest.raises(WorkbenchError, match="no text"):
        write_suite(mixed(tiny_sd1), tmp_path / "suite.csv")
