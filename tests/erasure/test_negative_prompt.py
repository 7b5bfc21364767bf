"""A negative prompt as an edit is the negative prompt of diffusers."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.edits import ComposedEdit
from workbench.erasure.negative_prompt import NegativePrompt

FOX = Concept("fox", synonyms=["red dog"])


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "sd3"])
def test_pictures_are_bit_for_bit_those_of_diffusers(tiny, kind):
    model = tiny(kind)
    own = model.pipe(
        "a photo of a cat", negative_prompt="fox", generator=torch.Generator().manual_seed(3), guidance_scale=4.0,
        num_inference_steps=3, height=32, width=32, output_type="np",
        **({"max_sequence_length": 16} if kind == "sd3" else {}),
    ).images  # fmt: skip
    with model.edited(NegativePrompt().fit(model, [FOX])):
        ours = model.generate("a photo of a cat", 3, guidance_scale=4.0, steps=3)
    assert np.array_equal(ours, (own * 255).round().astype(np.uint8))
    assert not np.array_equal(ours, model.generate("a photo of a cat", 3, guidance_scale=4.0, steps=3))


def test_it_is_the_argument_of_generate_and_an_empty_text_is_plain_guidance(tiny_sd1):
    edit = NegativePrompt().fit(tiny_sd1, [FOX])
    with tiny_sd1.edited(edit):
        edited, both = tiny_sd1.generate("a cat", 1), tiny_sd1.generate("a cat", 1, negative_prompt="blue")
    assert np.array_equal(edited, tiny_sd1.generate("a cat", 1, negative_prompt="fox"))
    assert np.array_equal(both, tiny_sd1.generate("a cat", 1, negative_prompt="blue, fox"))
    with tiny_sd1.edited(edit.no_op()):
        assert np.array_equal(tiny_sd1.generate("a cat", 1), tiny_sd1.generate("a cat", 1))


def test_concepts_and_composed_edits_are_joined_by_commas(tiny_sd1):
    joint = NegativePrompt().fit(tiny_sd1, [FOX, Concept("dog")])
    assert joint.text == "fox, dog"
    assert NegativePrompt(synonyms=True).fit(tiny_sd1, [FOX, Concept("dog")]).text == "fox, red dog, dog"
    parts = ComposedEdit([NegativePrompt().fit(tiny_sd1, [concept]) for concept in (FOX, Concept("dog"))])
    images = []
    for edit in (joint, parts):
        with tiny_sd1.edited(edit):
            images.append(tiny_sd1.generate("a cat", 1))
    assert np.array_equal(*images)


def test_without_guidance_it_is_refused_instead_of_having_no_effect(tiny_sd1, tiny_flux):
    with tiny_sd1.edited(NegativePrompt().fit(tiny_sd1, [FOX])), pytest.raises(WorkbenchError, match="leaves guidance"):
        tiny_sd1.generate("a fox", 0, guidance_scale=0.5)
    with pytest.raises(WorkbenchError, match="does not work on"):
        NegativePrompt().fit(tiny_flux, [FOX])
