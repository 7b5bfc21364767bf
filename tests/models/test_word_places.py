"""Tokens of words: by the characters that they are of, for every tokenizer and placeholders of several vectors."""

import warnings

import diffusers
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_pipelines import save_tiny
from workbench import toy
from workbench.concepts import Concept
from workbench.erasure.uce import UCE
from workbench.fitting.rows import end_of_text, last_subject, subject_span
from workbench.interpret.attribution.places import positions_of
from workbench.interpret.inside import token_labels
from workbench.models import Diffusion, load

PROMPT = "a photo of a <style> fox"


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory) -> Diffusion:
    """A tiny pipeline with a learned placeholder of three vectors, saved and opened."""
    folder = save_tiny("sd1", tmp_path_factory.mktemp("styled") / "sd1")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    rows = torch.randn(3, 16, generator=torch.Generator().manual_seed(3)) * 0.3
    pipe.load_textual_inversion({"<style>": rows}, token="<style>")
    pipe.save_pretrained(folder)
    return load(folder, device="cpu")


def test_a_placeholder_of_several_vectors_is_all_its_tokens(styled: Diffusion) -> None:
    read = styled.pipe.tokenizer(styled.pipe.maybe_convert_prompt(PROMPT, styled.pipe.tokenizer)).input_ids
    (row,) = styled.tokens(PROMPT)
    assert list(row.ids) == read, "what is shown is what is read"
    assert styled.token_ids(PROMPT).ids[0][0, : len(read)].tolist() == read
    assert subject_span(styled, PROMPT, "<style>") == range(5, 8)
    assert positions_of(styled, PROMPT, "<style>") == [5, 6, 7]
    assert (last_subject(styled, PROMPT, "<style>"), last_subject(styled, PROMPT, "fox")) == ((7,), (8,))
    assert end_of_text(styled, PROMPT) == (len(read) - 1,)
    assert token_labels(styled, PROMPT)[8] == "fox"
    with pytest.raises(WorkbenchError, match="'style' is no word of"):
        positions_of(styled, PROMPT, "style")


def test_what_a_placeholder_pushes_out_is_said(styled: Diffusion) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        styled.encode("a photo of a <style> fox fox fox")  # 12 tokens, begin and end included
    with pytest.warns(UserWarning, match="longer than 12 tokens"):
        styled.encode("a photo of a <style> fox fox fox fox")


def test_the_last_token_of_a_placeholder_reaches_the_anchor(styled: Diffusion) -> None:
    exact = UCE(tokens="last", damping=1e-6, preserve_scale=1e-9, templates=True)
    edit = exact.fit(styled, [Concept("<style>", anchor="cat", templates=("a photo of a {}",))])
    own = styled.encode("a photo of a <style>").embeddings[0, 7]
    goal = styled.encode("a photo of a cat").embeddings[0, 5]
    weight = styled.parameter(edit.names[0]).data
    before, after = ((w @ own - weight @ goal).norm() for w in (weight, weight + edit.delta(edit.names[0])))
    assert after < 0.01 * before


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("a painting by Émile Zola", "Émile Zola"),
        ("a café", "CAFÉ"),
        ("by Antonín Dvořák", "Dvořák"),
        ("葛飾北斎の絵", "葛飾北斎"),
    ],
)
def test_words_of_every_script_are_found_and_shown_as_text(prompt: str, word: str) -> None:
    model = load(toy.path(), device="cpu")
    found = positions_of(model, prompt, word)
    assert found == list(range(found[0], found[-1] + 1)) and found == list(subject_span(model, prompt, word))
    (row,) = model.tokens(prompt)
    letters = dict.fromkeys("".join(row.words[place] for place in found))
    assert set(letters) == {letter for letter in word.lower() if letter != " "}


def test_a_word_inside_another_is_another_word(tiny_sd1: Diffusion, tiny_sd3: Diffusion) -> None:
    for model in (tiny_sd1, tiny_sd3):
        assert positions_of(model, "catdog cat", "cat") == positions_of(model, "catdog fox", "fox")
        with pytest.raises(WorkbenchError, match="'cat' is no word of"):
            last_subject(model, "a catdog", "cat")


def test_words_beyond_the_limit_are_no_positions(tiny_sd1: Diffusion) -> None:
    long = f"{'a ' * 14}fox"
    with pytest.raises(WorkbenchError, match="is no word of"):
        positions_of(tiny_sd1, long, "fox")
    with pytest.raises(WorkbenchError, match=r"ends at token 15 .* and the model reads 12"):
        last_subject(tiny_sd1, long, "fox")
