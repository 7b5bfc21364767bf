"""SAE folders of other programs and versions are opened as what they compute, or refused by what is in the way."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import sae_lens
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from saes.files import load
from saes.metrics import evaluate_sae

D, F, K = 8, 32, 4
SPARSIFY = {"expansion_factor": 4, "normalize_decoder": True, "num_latents": F, "k": K, "multi_topk": False, "d_in": D}
OLD = {"d_in": D, "d_sae": F, "hook_point": "text.2", "model_name": "m", "dtype": "torch.float32", "device": "cpu"}


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def folder(place: Path, config: dict[str, Any], tensors: dict[str, Tensor], file: str) -> Path:
    place.mkdir()
    (place / "cfg.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, place / file)
    return place


def of_sparsify() -> dict[str, Tensor]:
    return {"encoder.weight": drawn(F, D), "encoder.bias": drawn(F), "W_dec": drawn(F, D) / 2, "b_dec": drawn(D)}


def test_a_folder_of_sparsify_is_the_topk_that_it_says(tmp_path: Path) -> None:
    tensors, x = of_sparsify(), drawn(64, D)
    sae = load(folder(tmp_path / "sae", SPARSIFY, tensors, "sae.safetensors"))
    before = ((x - tensors["b_dec"]) @ tensors["encoder.weight"].mT + tensors["encoder.bias"]).relu()
    kept = before.topk(K)
    wanted = torch.zeros_like(before).scatter(1, kept.indices, kept.values) @ tensors["W_dec"] + tensors["b_dec"]
    assert_close(sae(x), wanted)
    dictionary = Dictionary.of(sae)
    assert_close(dictionary.decode(dictionary.encode(x)), wanted)


@pytest.mark.parametrize("setting", ["input_unit_norm", "batch_topk", "sample_topk", "transcode"])
def test_settings_that_change_what_is_computed_are_refused_by_name(setting: str, tmp_path: Path) -> None:
    made = folder(tmp_path / "sae", {**SPARSIFY, setting: True}, of_sparsify(), "sae.safetensors")
    with pytest.raises(WorkbenchError, match=f"with {setting} = True, which is not computed here"):
        load(made)


def test_a_pickle_beside_its_configuration_is_refused_with_the_way_out(tmp_path: Path) -> None:
    made = folder(tmp_path / "sae", SPARSIFY, of_sparsify(), "sae.safetensors")
    (made / "sae.safetensors").rename(made / "ae.pt")
    with pytest.raises(WorkbenchError, match=r"as a pickle \(ae\.pt\).*save_file.*sae\.safetensors"):
        load(made)
    (made / "ae.pt").unlink()
    with pytest.raises(WorkbenchError, match="has no weights"):
        load(made)


def test_an_old_folder_with_an_activation_that_would_be_dropped_is_refused(tmp_path: Path) -> None:
    tensors = {"W_enc": drawn(D, F), "b_enc": drawn(F), "W_dec": drawn(F, D), "b_dec": drawn(D)}
    made = folder(tmp_path / "relu", {**OLD, "activation_fn_str": "relu"}, tensors, "sae_weights.safetensors")
    assert load(made).cfg.architecture() == "standard"
    made = folder(tmp_path / "tanh", {**OLD, "activation_fn_str": "tanh-relu"}, tensors, "sae_weights.safetensors")
    with pytest.raises(WorkbenchError, match="has the activation function 'tanh-relu'"):
        load(made)


SCALED = {
    "topk": (sae_lens.TopKSAE, sae_lens.TopKSAEConfig(d_in=D, d_sae=F, k=K)),
    "jumprelu": (sae_lens.JumpReLUSAE, sae_lens.JumpReLUSAEConfig(d_in=D, d_sae=F)),
    "standard": (sae_lens.StandardSAE, sae_lens.StandardSAEConfig(d_in=D, d_sae=F)),
    "gated": (sae_lens.GatedSAE, sae_lens.GatedSAEConfig(d_in=D, d_sae=F)),
}


def of_lens(kind: str) -> Any:
    """One whose every tensor is drawn, so that none can be forgotten."""
    make, config = SCALED[kind]
    sae = make(deepcopy(config))
    with torch.no_grad():
        for place, parameter in enumerate(sae.parameters()):
            parameter.copy_(drawn(*parameter.shape) * (0.3 + 0.1 * place))
    return sae


@pytest.mark.parametrize("kind", SCALED)
def test_the_scale_of_the_inputs_is_folded_in(kind: str, tmp_path: Path) -> None:
    sae, x, scale = of_lens(kind), drawn(256, D) * 10, 0.1
    wanted = sae.decode(sae.encode(x * scale)) / scale
    assert (wanted - sae(x)).abs().max() > 0.1
    sae.cfg.normalize_activations = "expected_average_only_in"
    sae.save_model(tmp_path / "sae")
    with pytest.raises(WorkbenchError, match=r"expected_average_only_in.*activation_scaler\.json"):
        load(tmp_path / "sae")
    (tmp_path / "sae" / "activation_scaler.json").write_text(json.dumps({"scaling_factor": scale}))
    opened = load(tmp_path / "sae")
    assert_close(opened(x), wanted)
    dictionary = Dictionary.of(opened)
    assert_close(dictionary.decode(dictionary.encode(x)), wanted)
    assert evaluate_sae(opened, [x]).l0 == (sae.encode(x * scale) != 0).sum(1).double().mean()


def test_whitened_inputs_are_refused(tmp_path: Path) -> None:
    sae = of_lens("standard")
    sae.cfg.normalize_activations = "covariance_whitening"
    sae.save_model(tmp_path / "sae")
    with pytest.raises(WorkbenchError, match="covariance_whitening"):
        load(tmp_path / "sae")


def test_a_gated_sae_is_the_jumprelu_that_it_equals() -> None:
    sae, x = of_lens("gated"), drawn(512, D)
    z = sae.encode(x)
    assert 0 < (z > 0).double().mean() < 0.9
    dictionary = Dictionary.of(sae)
    code = dictionary.encode(x)
    assert_close(torch.zeros_like(z).scatter(1, code.indices, code.values), z)
    assert_close(dictionary.decode(code), sae(x))


def test_a_coder_that_does_not_rebuild_its_site_is_not_measured_as_one() -> None:
    transcoder = sae_lens.Transcoder(sae_lens.TranscoderConfig(d_in=D, d_out=D, d_sae=F, apply_b_dec_to_input=False))
    heads = of_lens("standard")
    heads.cfg.reshape_activations = "hook_z"
    for sae, problem in ((transcoder, "makes rows of another site"), (heads, r"heads .* side by side \(hook_z\)")):
        with pytest.raises(WorkbenchError, match=problem):
            evaluate_sae(sae, [drawn(16, D)])


def test_what_a_folder_says_of_its_site_counts_whatever_its_version(tmp_path: Path) -> None:
    tensors = {"W_enc": drawn(D, F), "b_enc": drawn(F), "W_dec": drawn(F, D), "b_dec": drawn(D)}
    config = {"architecture": "standard", "d_in": D, "d_sae": F, "metadata": {"hook_name": "text.2"}}
    assert load(folder(tmp_path / "sae", config, tensors, "sae_weights.safetensors")).cfg.metadata.hook_name == "text.2"
