"""New tokens: one id each, rows of their own, and all that was there before as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from workbench.edits import ComposedEdit, PromptEdit, TokenEdit, load_edit
from workbench.models.vocabulary import widened
from workbench.testing.state import state_of

TOKENS = ("<here>", "<there>")


def token_edit(model, tokens=TOKENS, **changes):
    rows = torch.randn(len(tokens), 16, generator=torch.Generator().manual_seed(0))
    told = {"settings": {}, "method": "geom_erasing", "concepts": ["fox"], "base_fingerprint": model.fingerprint}
    return TokenEdit(**{"tokens": tokens, "tensors": {"rows": rows}, **told, **changes})


def test_a_token_is_one_id_wherever_it_stands_and_is_looked_up_in_its_own_row(tiny_sd1):
    edit, table = token_edit(tiny_sd1), tiny_sd1.architecture.token_tables[0].weight
    before, n = table.detach().clone(), len(tiny_sd1.pipe.tokenizer)
    with tiny_sd1.edited(edit):
        for text in ("fox <here> <there>", "fox<here><there>", "fox  <here>  <there> "):
            assert tiny_sd1.token_ids(text).ids[0][0, 2:4].tolist() == [n, n + 1], text
        looked_up = tiny_sd1.token_embeddings("fox <there>").embeddings[0][0, 2]
        assert torch.equal(looked_up, edit.tensors["rows"][1])
        assert torch.equal(table[:n], before) and len(table) == n + 2
    assert torch.equal(table, before) and len(tiny_sd1.pipe.tokenizer) == n


def test_what_does_not_name_them_is_encoded_as_before_and_the_model_is_left_as_it_was(tiny_sd1):
    edit, before = token_edit(tiny_sd1), state_of(tiny_sd1)
    tokenizer = tiny_sd1.pipe.tokenizer
    plain = tiny_sd1.generate("a photo of a fox", 0, steps=2)
    with tiny_sd1.edited(edit):
        assert np.array_equal(tiny_sd1.generate("a photo of a fox", 0, steps=2), plain)
        assert not np.array_equal(tiny_sd1.generate("a photo of a fox", 0, steps=2, negative_prompt="<here>"), plain)
    with pytest.raises(KeyboardInterrupt), tiny_sd1.edited(edit):
        raise KeyboardInterrupt
    assert state_of(tiny_sd1) == before and tiny_sd1.pipe.tokenizer is tokenizer


def test_it_travels_beside_a_negative_prompt_that_names_its_tokens(tiny_sd1, tmp_path):
    told = {"settings": {}, "method": "geom_erasing", "concepts": ["fox"], "base_fingerprint": tiny_sd1.fingerprint}
    prompt = PromptEdit(text="fox <here>", width=4, **told)
    edit = ComposedEdit([token_edit(tiny_sd1), prompt])
    edit.save(tmp_path / "edit")
    made = []
    for one in (edit, load_edit(tmp_path / "edit"), ComposedEdit([prompt, token_edit(tiny_sd1)])):
        with tiny_sd1.edited(one):
            made.append(tiny_sd1.generate("a photo of a cat", 0, steps=2))
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])
    with tiny_sd1.edited(edit.random(1)):
        assert not np.array_equal(tiny_sd1.generate("a photo of a cat", 0, steps=2), made[0])


def test_the_control_keeps_lengths_and_angles(tiny_sd1):
    edit = token_edit(tiny_sd1)
    rows, turned = edit.tensors["rows"], edit.random(3).tensors["rows"]
    torch.testing.assert_close(turned @ turned.T, rows @ rows.T)
    assert not torch.allclose(turned, rows)


def test_edits_with_other_tokens_compose_and_the_same_token_twice_is_refused(tiny_sd1):
    other = token_edit(tiny_sd1, ("<else>",))
    with tiny_sd1.edited(token_edit(tiny_sd1), other):
        ids = tiny_sd1.token_ids("<here> <else>").ids[0][0, 1:3]
        assert ids.tolist() == [len(tiny_sd1.pipe.tokenizer) - 3, len(tiny_sd1.pipe.tokenizer) - 1]
    with pytest.raises(WorkbenchError, match="'<here>' is there already"), tiny_sd1.edited(*[token_edit(tiny_sd1)] * 2):
        raise AssertionError("the body must not run")


def test_what_cannot_be_added_is_refused(tiny_sd1, tiny_sd2):
    for wrong, said in [
        ({"tensors": {}}, "a row for each token"),
        ({"tensors": {"rows": torch.ones(3, 16)}}, "a row for each token"),
        ({"tokens": ["<here>", "<here>"]}, "twice"),
        ({"tokens": ["<here>", " "]}, "empty"),
    ]:
        with pytest.raises(WorkbenchError, match=said):
            token_edit(tiny_sd1, **wrong)
    narrow = replace(token_edit(tiny_sd1), tensors={"rows": torch.ones(2, 5)})
    with pytest.raises(WorkbenchError, match="rows of 5 numbers"):
        narrow.check(tiny_sd1)
    with pytest.raises(WorkbenchError, match="another model"):
        token_edit(tiny_sd1).check(tiny_sd2)
    with pytest.raises(WorkbenchError, match="'fox</w>' is there already"):
        widened(tiny_sd1.pipe.tokenizer, ["fox</w>"])
