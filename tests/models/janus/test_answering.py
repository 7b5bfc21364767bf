"""Answers against transformers' own, and an edit of the language model that counts there too."""

import json
import shutil

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_janus import CELLS, PIXELS
from workbench.hooks import Place, SiteEdit
from workbench.models import load
from workbench.models.janus.answering import question_ids

IMAGES = np.random.default_rng(0).integers(0, 256, (3, PIXELS, PIXELS, 3), np.uint8)
QUESTION = "is a fox red"


def by_transformers(model, images, tokens):
    ids = question_ids(model.pipe, model.architecture.layout, QUESTION).expand(len(images), -1)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    whole = model.pipe.whole.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, generation_mode="text",
        do_sample=False, max_new_tokens=tokens,
    )  # fmt: skip
    return model.pipe.tokenizer.batch_decode(whole[:, ids.shape[1] :], skip_special_tokens=True)


def test_answers_are_those_of_transformers(tiny_janus):
    answers = tiny_janus.answer(IMAGES, QUESTION, longest=7)
    assert answers == [text.strip() for text in by_transformers(tiny_janus, IMAGES, 7)]
    assert tiny_janus.answer(IMAGES, QUESTION, longest=7, batch_size=2) == answers
    assert len(set(answers)) > 1, "pictures matter"


def test_a_question_stands_in_the_template(tiny_janus):
    (ids,) = question_ids(tiny_janus.pipe, tiny_janus.architecture.layout, QUESTION)
    spelt = tiny_janus.pipe.tokenizer.convert_ids_to_tokens(ids.tolist())
    words = ["is", "a", "fox", "red"]
    picture = ["<begin_of_image>", *["<image>"] * CELLS, "<end_of_image>"]
    assert spelt == ["<bos>", "<|User|>", ":", *picture, "<unk>", *words[1:], "<|Assistant|>", ":"]


def test_an_edit_counts_in_answers_and_knows_the_positions(tiny_janus):
    plain, seen = tiny_janus.answer(IMAGES, QUESTION, longest=5), []

    def shift(x, clock):
        seen.append(clock.tokens.places)
        return torch.where((clock.tokens.places == Place.PICTURE)[..., None], x.flip(-1), x)

    with tiny_janus.session(edits=[SiteEdit(tiny_janus.site("lm.0"), shift)]):
        assert tiny_janus.answer(IMAGES, QUESTION, longest=5) != plain
    assert (seen[0] == Place.PICTURE).sum(dim=1).tolist() == [CELLS] * 3 and not (seen[1] == Place.PICTURE).any()


def test_pixels_are_scaled_as_the_folder_says(tiny_janus, tmp_path):
    told, answers = {"image_mean": [0.2, 0.3, 0.4], "image_std": [0.1, 0.1, 0.1]}, []
    for number, (name, content) in enumerate(
        [("preprocessor_config.json", told), ("processor_config.json", {"image_processor": told})]
    ):
        folder = shutil.copytree(tiny_janus.folder, tmp_path / str(number))
        (folder / name).write_text(json.dumps(content))
        answers.append(load(folder, device="cpu").answer(IMAGES, QUESTION))
    assert answers[0] == answers[1] != tiny_janus.answer(IMAGES, QUESTION)


def test_what_cannot_be_asked_is_refused(tiny_janus, monkeypatch):
    with pytest.raises(WorkbenchError, match="There are no images"):
        tiny_janus.answer(IMAGES[:0], QUESTION)
    with pytest.raises(WorkbenchError, match="the model knows 8 × 8"):
        tiny_janus.answer(np.zeros((1, 4, 4, 3), np.uint8), QUESTION)
    monkeypatch.setattr(tiny_janus.pipe.whole.config, "image_token_id", 100581)
    with pytest.raises(WorkbenchError, match="has no token for a picture in a question"):
        tiny_janus.answer(IMAGES, QUESTION)
