"""Loose captions: in the stated shares, another picture's, another artist's, or none."""

import numpy as np
import pytest
import torch

from workbench.toy import tokenizer
from workbench.toy.captions import examples
from workbench.toy.recipe import diffusion
from workbench.toy.recipe.loose import EMPTY, RESTYLED, SWAPPED, loosened, restyled
from workbench.toy.recipe.recogniser import Recogniser, seen
from workbench.toy.world import ARTISTS

NAMES = {name for artist in ARTISTS.values() for name in (artist.name, *artist.synonyms)}
N = 20_000


@pytest.fixture(scope="module")
def captions() -> list[str]:
    return [example.caption for example in examples(400)]


def artists_in(caption: str) -> set[str]:
    said = f" {caption} "
    return {
        artist.name for artist in ARTISTS.values() if any(f" {n} " in said for n in (artist.name, *artist.synonyms))
    }


def test_a_restyled_caption_names_exactly_one_other_artist_and_is_else_the_same(captions):
    for before, after in zip(captions, restyled(captions), strict=True):
        if not artists_in(before):
            assert after == before
            continue
        assert len(artists_in(after)) == 1 and artists_in(after) != artists_in(before)
        assert set(before.split()) - {word for name in NAMES for word in name.split()} <= set(after.split())


def test_captions_are_loose_in_the_stated_shares(captions, tmp_path):
    words = tokenizer.build(tmp_path / "tokenizer")
    ids, other, empty = (diffusion.tokens(words, texts) for texts in (captions, restyled(captions), [""]))
    index = torch.randint(len(ids), (N,), generator=torch.Generator().manual_seed(1))
    found = loosened(index, ids, other, empty, torch.Generator().manual_seed(2))
    none = (found == empty).all(1)
    own = (found == ids[index]).all(1)
    styled = torch.tensor([bool(artists_in(captions[i])) for i in index])
    elsewhere = ((found == other[index]).all(1) & ~own)[styled]
    assert float(none.float().mean()) == pytest.approx(EMPTY, abs=0.01)
    assert float(own[~styled].float().mean()) == pytest.approx((1 - EMPTY) * (1 - SWAPPED), abs=0.02)
    assert float(elsewhere.float().mean()) == pytest.approx((1 - EMPTY) * (1 - SWAPPED) * RESTYLED, abs=0.02)


def test_what_the_recogniser_sees_has_the_shape_that_the_denoiser_guesses():
    net = Recogniser().eval()
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    features = seen(net, images)
    assert features.shape == (3, 128, 6, 6) and torch.allclose(features.mean((0, 2, 3)), torch.zeros(128), atol=1e-5)
