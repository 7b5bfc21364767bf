"""The sparse form of an SAE equals its dense equations and sae-lens's own classes."""

import pytest
import torch
from sae_lens import JumpReLUSAE, JumpReLUSAEConfig, StandardSAE, StandardSAEConfig, TopKSAE, TopKSAEConfig
from torch.testing import assert_close

from saes.dictionary import Code, Dictionary
from saes.errors import WorkbenchError

D_IN, D_SAE, K = 6, 20, 4


def sae_of(architecture: str, **settings):
    """A random float64 SAE of sae-lens with every bias in use."""
    kinds = {
        "topk": (TopKSAE, TopKSAEConfig, {"k": K}),
        "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig, {}),
        "standard": (StandardSAE, StandardSAEConfig, {}),
    }
    sae_class, config_class, own = kinds[architecture]
    sae = sae_class(config_class(d_in=D_IN, d_sae=D_SAE, dtype="float64", **own, **settings))
    draw = torch.Generator().manual_seed(1)
    for tensor in sae.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=draw))
    sae.b_enc.data -= 4  # so that fewer than k pre-activations are positive on some rows
    if architecture == "jumprelu":
        sae.threshold.data.abs_()
    return sae.requires_grad_(False)


def rows(seed: int = 2) -> torch.Tensor:
    return torch.randn(3, 5, D_IN, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(code: Code) -> torch.Tensor:
    return torch.zeros(*code.values.shape[:-1], D_SAE, dtype=code.values.dtype).scatter(-1, code.indices, code.values)


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("topk", {}),
        ("topk", {"rescale_acts_by_decoder_norm": True}),
        ("topk", {"apply_b_dec_to_input": False}),
        ("jumprelu", {}),
        ("standard", {"apply_b_dec_to_input": False}),
    ],
)
def test_it_encodes_and_decodes_as_sae_lens_does(architecture, settings):
    sae, x = sae_of(architecture, **settings), rows()
    code = Dictionary.of(sae).encode(x)
    assert_close(dense(code), sae.encode(x))
    assert_close(Dictionary.of(sae).decode(code), sae.decode(sae.encode(x)))


def test_a_row_of_a_topk_code_has_at_most_k_features_none_negative():
    code = Dictionary.of(sae_of("topk")).encode(rows())
    assert code.values.shape[-1] == K
    assert (code.values >= 0).all()
    assert (code.values == 0).any()  # the ReLU was needed


def test_sparse_decoding_equals_the_dense_product():
    dictionary = Dictionary.of(sae_of("topk"))
    code = dictionary.encode(rows())
    expected = dense(code) @ dictionary.W_dec + dictionary.b_dec
    assert_close(dictionary.decode(code), expected, rtol=0, atol=1e-10)


def test_gradients_reach_the_input_through_the_features_that_fire():
    dictionary, x = Dictionary.of(sae_of("topk")), rows()[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: dictionary.decode(dictionary.encode(x)), (x,))


@pytest.mark.parametrize("architecture", ["topk", "jumprelu"])
def test_tensors_and_settings_are_all_there_is(architecture):
    dictionary = Dictionary.of(sae_of(architecture))
    again = Dictionary.from_tensors({**dictionary.tensors, "features": torch.arange(2)}, dictionary.settings)
    assert torch.equal(again.decode(again.encode(rows())), dictionary.decode(dictionary.encode(rows())))


def test_a_threshold_that_nothing_reaches_is_a_number():
    sae, x = sae_of("jumprelu"), rows()
    sae.threshold[3] = torch.inf
    dictionary = Dictionary.of(sae)
    assert torch.isfinite(dictionary.tensors["threshold"]).all()
    assert_close(dense(dictionary.encode(x)), sae.encode(x))


def test_what_is_not_linear_in_the_input_is_refused():
    with pytest.raises(WorkbenchError, match="layer_norm"):
        Dictionary.of(sae_of("standard", normalize_activations="layer_norm"))
