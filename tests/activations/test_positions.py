"""What positions stand for: hand-written prompts of each kind of padding, and the tokenizers of the tiny pipelines."""

import pytest
import torch

from workbench.activations.positions import Frame, begin_columns, frame_of, marked, places, token_places, tokenizer_of
from workbench.hooks import Clock, Place

BEGIN, END, PAD = 7, 8, 0
CLIP, T5 = Frame(END), Frame(END, begins=False)


def test_content_is_what_lies_between_the_begin_token_and_the_padding():
    like_sd1 = torch.tensor([[BEGIN, 3, END, END, END], [BEGIN, 3, 4, 5, END], [BEGIN, END, END, END, END]])
    content = marked(token_places(like_sd1, CLIP))
    assert content.int().tolist() == [[0, 1, 1, 0, 0], [0, 1, 1, 1, 1], [0, 1, 0, 0, 0]]
    like_sd2 = torch.tensor([[BEGIN, 3, END, PAD, PAD]])
    assert marked(token_places(like_sd2, CLIP)).int().tolist() == [[0, 1, 1, 0, 0]]


def test_each_position_has_one_place():
    begin, word, end, padding = Place.BEGIN, Place.WORD, Place.END, Place.PADDING
    ids = torch.tensor([[BEGIN, 3, END, END], [BEGIN, 3, 4, 5]])  # the second was cut before its end token
    assert token_places(ids, CLIP).tolist() == [[begin, word, end, padding], [begin, word, word, word]]
    assert token_places(ids, Frame(None)).tolist() == [[begin, word, word, word]] * 2
    without_begin = torch.tensor([[3, 4, END, PAD]])
    assert token_places(without_begin, T5).tolist() == [[word, word, end, padding]]


def test_what_is_kept_grows_from_content_to_all():
    found = torch.tensor([list(Place)], dtype=torch.int8)
    assert [[*map(int, marked(found, kept)[0])] for kept in ("content", "prompt", "all")] == [
        [0, 1, 1, 0, 1, 0, 0], [1, 1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1, 0],
    ]  # fmt: skip


def test_a_call_of_the_picture_s_side_has_pictures_everywhere_and_embeddings_have_words():
    image = Clock("image", 0, None, ("cond", "uncond"))
    assert (places(image, 3, CLIP) == Place.PICTURE).all() and places(image, 3, CLIP).shape == (2, 3)
    embeddings = Clock("prompt", 0, None, ("cond",))
    assert places(embeddings, 3, CLIP).tolist() == [[Place.BEGIN, Place.WORD, Place.WORD]]
    assert places(embeddings, 3, T5).tolist() == [[Place.WORD] * 3]


def test_begin_columns_are_those_of_every_row():
    assert [begin_columns(token_places(torch.tensor([[3, END]]), frame)) for frame in (CLIP, T5)] == [1, 0]
    assert begin_columns(torch.tensor([[Place.PICTURE]], dtype=torch.int8)) == 0


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "sd3", "flux"])
def test_every_tokenizer_s_prompts_are_framed_as_it_says(tiny, kind):
    """A prompt of three words: three places are words, one is the end, and CLIP's have a begin token."""
    model = tiny(kind)
    sites = [site for site in model.sites().values() if site.component == "prompt"]
    with torch.no_grad(), model.session(record=sites) as session:
        model.encode(["a red fox"])
    for site in sites:
        frame, ((clock, x),) = frame_of(model, site), session.records[site.alias]
        found = places(clock, x.shape[1], frame)[0].tolist()
        assert found.count(Place.WORD) == 3 and found.count(Place.END) == 1
        assert found.count(Place.BEGIN) == frame.begins == ("T5" not in type(tokenizer_of(model, site)).__name__)
        assert found[-1] == Place.PADDING
