"""TopK training that multiplies only what fired: sae-lens's TopK SAE, the same numbers, a third of the work on a CPU.

Of a batch `[n, d_sae]` of features only k a row are not zero, so five of the six matrix products of a dense step
multiply zeros. With z = (x − b_dec) W_enc + b_enc and I(b) the k indices of row b with the largest z · ‖W_dec‖:
    (1)  f = max(z, 0) on I(b);  x̂ = Σ_{j ∈ I(b)} f_j W_dec[j] + b_dec
With g = ∂L/∂x̂ and δ_j = g · W_dec[j] where f_j > 0, else 0:
    (2)  ∂W_dec[j] = Σ_b f_j g;  ∂W_enc[:, j] = Σ_b δ_j (x − b_dec);  ∂b_enc[j] = Σ_b δ_j
    (3)  ∂b_dec = Σ_b g − W_enc ∂b_enc
The decoder norm decides which latents win but cancels in their values and gradients. Sums over the rows of one latent
are embedding bags over rows sorted by latent, which need no atomics and give the same bits every time.

sae-lens's own option for this, `use_sparse_activations`, cannot train on a CPU (benchmarks/sae_training.py tries it).
δ comes from a private operator of torch, `aten::_embedding_bag_per_sample_weights_backward`: torch offers no public one
that needs neither a dense gradient nor a copy of k decoder rows for each row.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from sae_lens import TopKTrainingSAE
from sae_lens.saes.sae import TrainStepInput, TrainStepOutput
from torch import Tensor
from torch.nn.functional import embedding_bag


class SparseAutoencoder(torch.autograd.Function):
    """Equations (1) to (3). Returns x̂, the k values a row and their indices; gradients flow through x̂ alone."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "n d"],
        W_enc: Float[Tensor, "d d_sae"],
        b_enc: Float[Tensor, " d_sae"],
        W_dec: Float[Tensor, "d_sae d"],
        b_dec: Float[Tensor, " d"],
        k: int,
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"], Int64[Tensor, "n k"]]:
        """Equation (1).

        Args:
            x: rows, `[n, d]`; no gradient is made for them.
            W_enc: `[d, d_sae]`.
            b_enc: `[d_sae]`.
            W_dec: `[d_sae, d]`.
            b_dec: `[d]`.
            k: number of latents that may fire on a row.

        Returns:
            x̂ `[n, d]`, f `[n, k]` and the indices `[n, k]`.
        """
        norm = W_dec.norm(dim=1)
        centred = x - b_dec
        scaled, indices = torch.addmm(b_enc * norm, centred, W_enc * norm).topk(k, dim=1, sorted=False)
        f = scaled.relu() / norm[indices]
        reconstruction = embedding_bag(indices, W_dec, per_sample_weights=f, mode="sum") + b_dec  # (1)
        ctx.save_for_backward(centred, W_enc, W_dec, f, indices)
        ctx.mark_non_differentiable(f, indices)
        return reconstruction, f, indices

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Equations (2) and (3).

        Args:
            grads: ∂L/∂x̂ `[n, d]`; those of the other two outputs are not used.

        Returns:
            The gradients of the six inputs, None for `x` and `k`.
        """
        centred, W_enc, W_dec, f, indices = ctx.saved_tensors
        g = grads[0].contiguous()
        n, k = f.shape
        offsets = torch.arange(0, n * k, k, device=f.device)
        delta = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            g, W_dec, indices.flatten(), offsets, torch.arange(n, device=f.device).repeat_interleave(k), mode=0
        )
        delta = delta * (f.flatten() > 0)
        order = indices.flatten().argsort(stable=True)
        counts = torch.bincount(indices.flatten(), minlength=len(W_dec))
        rows, starts = order // k, counts.cumsum(0) - counts
        W_dec_grad = embedding_bag(rows, g, starts, per_sample_weights=f.flatten()[order], mode="sum")  # (2)
        W_enc_grad = embedding_bag(rows, centred, starts, per_sample_weights=delta[order], mode="sum").T
        b_enc_grad = torch.zeros_like(W_dec[:, 0]).index_add_(0, indices.flatten(), delta)
        b_dec_grad = g.sum(0) - W_enc @ b_enc_grad  # (3)
        return None, W_enc_grad, b_enc_grad, W_dec_grad, b_dec_grad, None


class FastTopKTrainingSAE(TopKTrainingSAE):
    """sae-lens's TopK training SAE with the step above. Parameters, losses, names and files are sae-lens's own."""

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        """One step's losses. `hidden_pre` of the result is empty, since nothing dense is kept.

        Args:
            step_input: rows `[n, d]` and the mask of dead latents, as sae-lens' trainer gives them.

        Returns:
            Losses, the reconstruction, and the features `[n, d_sae]` as a sparse tensor.
        """
        x = step_input.sae_in
        parameters = (self.W_enc, self.b_enc, self.W_dec, self.b_dec)
        sae_out, f, indices = SparseAutoencoder.apply(x, *parameters, self.cfg.k)
        mse = (sae_out - x).square().sum(1).mean()
        auxiliary = self._auxiliary_loss(x, sae_out, step_input.dead_neuron_mask)
        return TrainStepOutput(
            sae_in=x,
            sae_out=sae_out,
            feature_acts=self._sparse(f, indices),
            hidden_pre=x.new_empty(0),
            loss=mse + auxiliary,
            losses={"mse_loss": mse, "auxiliary_reconstruction_loss": auxiliary},
        )

    def _sparse(self, f: Float[Tensor, "n k"], indices: Int64[Tensor, "n k"]) -> Tensor:
        fired = f.flatten() > 0
        rows = torch.arange(len(f), device=f.device).repeat_interleave(f.shape[1])
        where = torch.stack([rows[fired], indices.flatten()[fired]])
        return torch.sparse_coo_tensor(where, f.flatten()[fired], (len(f), self.cfg.d_sae), check_invariants=False)

    def _auxiliary_loss(
        self, x: Float[Tensor, "n d"], sae_out: Float[Tensor, "n d"], dead: Tensor | None
    ) -> Float[Tensor, ""]:
        """sae-lens's auxiliary loss, computed from the dead latents' columns alone."""
        if dead is None or not bool(dead.any()):
            return sae_out.new_zeros(())
        columns = dead.nonzero().flatten()
        k_aux = min(x.shape[1] // 2, len(columns))
        W_dec = self.W_dec[columns]
        z = (x - self.b_dec) @ self.W_enc[:, columns] + self.b_enc[columns]
        best = (z * W_dec.norm(dim=1)).topk(k_aux, dim=1, sorted=False).indices
        chosen = torch.zeros_like(z).scatter(1, best, z.gather(1, best))
        error = (chosen @ W_dec - (x - sae_out).detach()).square().sum(1).mean()
        return self.cfg.aux_loss_coefficient * min(len(columns) / (x.shape[1] // 2), 1.0) * error
