"""What was made for another model is refused before any picture, in a sentence that says what does not fit."""

import pytest
import torch

from saes.errors import WorkbenchError
from tests.attacks.test_attacks import drawing_nothing
from tests.evaluation.small import Brightness
from workbench.edits import WeightEdit
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.input_checks import check_inputs, tokenizers_of
from workbench.evaluation.inputs import Further, input_hash
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.models import Begun, Encoding, TokenEmbeddings, TokenIds


def holding(given, tokenizers=""):
    name = input_hash(given)
    return Suite("given", (SuiteRow("a fox", "target", "fox", 1, input=name),), inputs={name: given},
                 tokenizers=tokenizers)  # fmt: skip


def wide(model):
    soft = model.token_embeddings("a fox")
    return TokenEmbeddings(soft.ids, tuple(torch.cat([one, one], dim=-1) for one in soft.embeddings))


def long(model):
    return TokenIds(tuple(torch.cat([one, one], dim=1) for one in model.token_ids("a fox").ids))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            wide,
            r"holds token embeddings of shape 12×32, and .* takes 12×16\. They replay on models whose text encoders",
        ),
        (long, r"holds token ids of shape 24, and .* takes 12\. They replay on models of the same tokenizers"),
        (
            lambda model: Begun(["a fox"], torch.ones(1, 4, 8, 8)),
            "holds starts of pictures of shape 4×8×8, and .* takes",
        ),
        (lambda model: Begun(long(model), model.noise([1])), "holds token ids of shape 24"),
        (lambda model: Encoding(torch.ones(1, 12, 8), None, ("cond",)), "holds encoded prompts of shape 12×8"),
        (lambda model: Encoding(torch.ones(1, 12, 16), torch.ones(1, 4), ("cond",)), "of shape 12×16 and 4, and"),
    ],
    ids=["embeddings", "ids", "start", "ids of a start", "encoding", "pooled"],
)
def test_another_shape_is_refused_before_any_picture(tiny_sd1, tmp_path, given, says):
    with drawing_nothing(tiny_sd1), pytest.raises(WorkbenchError, match=says):
        evaluate(tiny_sd1, {}, holding(given(tiny_sd1)), Brightness(), tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()


def test_ids_of_another_tokenizer_are_refused_and_those_of_the_same_pass(tiny_sd1, tiny_sd2):
    ids = tiny_sd1.token_ids("a fox")
    assert tokenizers_of(tiny_sd1) == tokenizers_of(tiny_sd2), "both read with the same words"
    check_inputs(tiny_sd2, holding(ids, tokenizers_of(tiny_sd1)))
    check_inputs(tiny_sd1, holding(ids))
    for given in (ids, tiny_sd1.token_embeddings("a fox"), Begun(ids, tiny_sd1.noise([1]))):
        with pytest.raises(WorkbenchError, match=r"are other words to the tokenizer of .*\. Make it again as text"):
            check_inputs(tiny_sd1, holding(given, "0" * 64))
    check_inputs(tiny_sd1, holding(Begun(["a fox"], tiny_sd1.noise([1])), "0" * 64))


def test_a_further_edit_of_another_model_is_refused(tiny_sd1, tiny_sd2):
    name = next(iter(tiny_sd1.prompt_maps()))
    tensors = {f"{name}:delta": torch.ones_like(tiny_sd1.parameter(name)).detach()}
    edit = WeightEdit(tensors=tensors, settings={}, method="by hand", concepts=["fox"],
                      base_fingerprint=tiny_sd1.fingerprint)  # fmt: skip
    check_inputs(tiny_sd1, holding(Further("a fox", edit)))
    with pytest.raises(WorkbenchError, match="another model"):
        check_inputs(tiny_sd2, holding(Further("a fox", edit)))
