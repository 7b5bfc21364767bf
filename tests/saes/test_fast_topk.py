"""The sparse step is sae-lens's own step: same losses, same gradients, same training, same files."""

import pytest
import sae_lens
import torch
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.saes.sae import TrainStepInput
from torch.testing import assert_close

from saes.architectures import make_trainer, training_sae
from saes.calibration import moments
from saes.config import SAEConfig
from saes.fast_topk import FastTopKTrainingSAE, SparseAutoencoder

D_IN, D_SAE = 10, 40


def pair(k, dtype=torch.float64):
    """The dense SAE and the sparse one with the same weights; decoder rows of very different norms, all biases set."""
    torch.manual_seed(0)
    saes = [kind(TopKTrainingSAEConfig(d_in=D_IN, d_sae=D_SAE, k=k)) for kind in (TopKTrainingSAE, FastTopKTrainingSAE)]
    saes[0].W_dec.data *= torch.rand(D_SAE, 1) * 5 + 0.1
    saes[0].W_enc.data += 0.3 * torch.randn(D_IN, D_SAE)
    saes[0].b_enc.data.normal_(std=0.2)
    saes[0].b_dec.data.normal_()
    saes[1].load_state_dict(saes[0].state_dict())
    return [sae.to(dtype=dtype) for sae in saes]


def step(sae, x, dead):
    mask = torch.zeros(D_SAE, dtype=torch.bool)
    mask[:dead] = True
    output = sae.training_forward_pass(TrainStepInput(x, {}, mask, 0, False))
    output.loss.backward()
    return output


@pytest.mark.parametrize("k", [1, 6, 30])  # 30: latents with negative pre-activations win too, and relu cuts them
@pytest.mark.parametrize("dead", [0, 2, 20])  # fewer and more than d_in / 2
def test_losses_outputs_and_gradients_equal_those_of_sae_lens(k, dead):
    dense, sparse = pair(k)
    x = torch.randn(25, D_IN, dtype=torch.float64) + 1
    theirs, ours = step(dense, x, dead), step(sparse, x, dead)
    assert_close(ours.sae_out, theirs.sae_out)
    assert_close(ours.loss, theirs.loss)
    assert (theirs.losses["auxiliary_reconstruction_loss"] > 0) == (dead > 0)
    assert_close(ours.losses["auxiliary_reconstruction_loss"], theirs.losses["auxiliary_reconstruction_loss"])
    assert torch.equal(ours.feature_acts.to_dense() > 0, theirs.feature_acts > 0)
    for name, parameter in dense.named_parameters():
        assert parameter.grad.abs().max() > 0
        assert_close(
            dict(sparse.named_parameters())[name].grad, parameter.grad, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_a_latent_that_never_fires_gets_no_gradient():
    _, sparse = pair(3)
    sparse.b_enc.data[7] = -100
    step(sparse, torch.randn(25, D_IN, dtype=torch.float64), 0)
    assert not sparse.W_dec.grad[7].any() and not sparse.W_enc.grad[:, 7].any()


def test_gradients_agree_with_finite_differences():
    _, sparse = pair(4)
    x = torch.randn(6, D_IN, dtype=torch.float64)
    parameters = [p.detach().requires_grad_() for p in (sparse.W_enc, sparse.b_enc, sparse.W_dec, sparse.b_dec)]
    assert torch.autograd.gradcheck(lambda *p: SparseAutoencoder.apply(x, *p, 4)[0], parameters)


def test_a_training_run_follows_that_of_sae_lens(sparse_store):
    config = SAEConfig(d_sae=32, k=1, batch_size=64, lr=3e-3, samples=64 * 40, dead_window=1)
    normal = moments(sparse_store.batches("text.2", 256))
    ours = make_trainer(config, *normal, "cpu")
    theirs = make_trainer(config, *normal, "cpu", dense=True)
    assert type(ours.sae) is FastTopKTrainingSAE and type(theirs.sae) is TopKTrainingSAE
    batches = sparse_store.batches("text.2", 64, epochs=None)
    had_dead = False
    for number in range(40):
        batch = next(batches)
        outputs = [trainer.step(batch) for trainer in (ours, theirs)]
        for trainer in (ours, theirs):
            trainer.n_training_steps = number + 1
        had_dead |= bool(theirs.dead_neurons.any())
        assert_close(outputs[0].loss, outputs[1].loss, rtol=1e-3, atol=1e-4)
        assert torch.equal(ours.n_forward_passes_since_fired, theirs.n_forward_passes_since_fired)
    assert had_dead and torch.equal(ours.act_freq_scores, theirs.act_freq_scores)
    logs = [
        trainer.build_train_step_log_dict(output, 1) for trainer, output in zip((ours, theirs), outputs, strict=True)
    ]
    assert logs[0]["metrics/l0"] == pytest.approx(logs[1]["metrics/l0"])
    assert logs[0]["metrics/explained_variance"] == pytest.approx(logs[1]["metrics/explained_variance"], abs=1e-3)


def test_it_is_saved_as_a_plain_topk(tmp_path):
    sae = training_sae(SAEConfig(d_sae=32, k=3, samples=1024), D_IN, "cpu")
    sae.save_inference_model(tmp_path)
    x = torch.randn(7, D_IN)
    opened = sae_lens.SAE.load_from_disk(tmp_path)
    assert type(opened) is sae_lens.TopKSAE
    assert_close(opened(x), sae(x))
