"""The prompt's way to the picture that a closed form leaves open is told, once, and only where there is one."""

import warnings

import pytest
import torch

from workbench.concepts import Concept
from workbench.erasure.rece import RECE
from workbench.erasure.uce import UCE

FOX = Concept("fox", anchor="cat", templates=["a photo of a {}"])


@pytest.mark.parametrize("method", [UCE(), RECE()], ids=["uce", "rece"])
def test_a_fit_on_sdxl_says_that_the_pooled_text_is_not_edited(tiny_sdxl, method):
    with pytest.warns(UserWarning, match="pooled text embedding") as told:
        edit = method.fit(tiny_sdxl, [FOX])
    assert len([one for one in told if "pooled" in str(one.message)]) == 1
    assert all(".attn2.to_" in name for name in edit.names)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sd3", "flux"])
def test_nothing_is_said_where_there_is_none_or_it_is_edited_too(tiny, kind):
    for method in (UCE(), RECE()):
        if kind in method.supports.kinds:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*pooled")
                method.fit(tiny(kind), [FOX])


def test_the_leak_is_real(tiny_sdxl):
    """With the keys and values of one prompt in the place of another's, the pooled embedding alone still tells them
    apart; with the same pooled embedding nothing does."""
    fox, cat = (tiny_sdxl.encode(word) for word in ("fox", "cat"))
    mixed = type(fox)(cat.embeddings, fox.pooled, fox.roles)
    with torch.no_grad():
        leaked, erased = (tiny_sdxl.noise_prediction(tiny_sdxl.noise([0]), 500, one) for one in (mixed, cat))
    assert not torch.allclose(leaked, erased, atol=1e-6)
