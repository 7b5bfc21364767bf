"""A sparse autoencoder as plain tensors that encode and decode only what fires.

Of a large dictionary a few dozen features fire on a row. Decoding from these alone gives the same result as the dense
product at a fraction of the cost, and plain tensors can be saved within an edit, which then needs no other file.
    (1)  a = (x − b_in) W_enc + b_enc;  z = ReLU(TopK_k(a)) | a·1[a > θ] | ReLU(a)     topk | jumprelu | standard
    (2)  x̂ = Σ_{f: z_f ≠ 0} z_f W_dec[f] + b_dec
A gated SAE, which opens a feature where its gate is positive, is the same function as a jumprelu (Rajamanoharan et al.
2024, arXiv:2404.16014): with c = (x − b_in) W, both are monotone in c,
    (3)  z = ReLU(e^r c + b_mag)·1[c + b_gate > 0]  ⇒  W_enc = e^r W,  b_enc = b_mag,  θ = b_mag − e^r b_gate
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import embedding_bag

from saes.errors import WorkbenchError
from saes.files import SAE

ARCHITECTURES, GATED = ("topk", "jumprelu", "standard"), "gated"
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec", "b_in")


class Code(NamedTuple):
    """What fires: `values` ≥ 0 of the features `indices`. Where fewer than k fire, the rest have the value 0."""

    values: Float[Tensor, "*rows k"]
    indices: Int64[Tensor, "*rows k"]


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Encoder and decoder of an SAE for inference, as plain tensors.

    `architecture` is one of `ARCHITECTURES`. `k` is None but for topk, `threshold` is None but for jumprelu. `b_in` is
    subtracted from the input, `b_dec` is added to the output.
    """

    architecture: str
    W_enc: Float[Tensor, "d_in d_sae"]
    b_enc: Float[Tensor, " d_sae"]
    W_dec: Float[Tensor, "d_sae d_in"]
    b_dec: Float[Tensor, " d_in"]
    b_in: Float[Tensor, " d_in"]
    k: int | None = None
    threshold: Float[Tensor, " d_sae"] | None = None

    @classmethod
    def of(cls, sae: SAE) -> "Dictionary":
        """The tensors of a sae-lens SAE, detached. Decoder norms are folded in where they decide which features win.

        Args:
            sae: a sae-lens SAE for inference.

        Returns:
            The dictionary, on the SAE's device.

        Raises:
            WorkbenchError: the architecture is not linear after its activation function, or the input is normalised.
        """
        architecture = sae.cfg.architecture()
        if architecture not in (*ARCHITECTURES, GATED) or sae.cfg.normalize_activations != "none":
            raise WorkbenchError(
                f"The SAE is a {architecture!r} with the normalisation {sae.cfg.normalize_activations!r}.",
                f"Use one of {', '.join((*ARCHITECTURES, GATED))} without normalisation; `saes.train` saves such SAEs.",
            )
        if architecture == GATED:
            return _of_gated(sae)
        norm = sae.W_dec.norm(dim=1) if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False) else None
        W_enc, b_enc, W_dec = sae.W_enc.detach(), sae.b_enc.detach(), sae.W_dec.detach()
        if norm is not None:
            W_enc, b_enc, W_dec = W_enc * norm, b_enc * norm, W_dec / norm[:, None]
        b_dec = sae.b_dec.detach()
        b_in = b_dec if sae.cfg.apply_b_dec_to_input else torch.zeros_like(b_dec)
        threshold = sae.threshold.detach() if architecture == "jumprelu" else None
        if threshold is not None:  # infinity, which no activation reaches, as the largest number: edits hold no other
            threshold = threshold.clamp(max=torch.finfo(threshold.dtype).max)
        return cls(architecture, W_enc, b_enc, W_dec, b_dec, b_in, getattr(sae.cfg, "k", None), threshold)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> "Dictionary":
        """The inverse of `tensors` and `settings`.

        Args:
            tensors: at least those that `tensors` gave; others are passed over.
            settings: at least those that `settings` gave; others are passed over.

        Returns:
            The dictionary.
        """
        named = {name: tensors[name] for name in NAMES}
        return cls(settings["architecture"], **named, k=settings["k"], threshold=tensors.get("threshold"))

    def on(self, device: torch.device | str) -> "Dictionary":
        """The same on a device.

        Args:
            device: where the tensors go.

        Returns:
            A dictionary whose tensors are there.
        """
        return Dictionary.from_tensors({name: one.to(device) for name, one in self.tensors.items()}, self.settings)

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.W_dec.shape[0]

    @property
    def settings(self) -> dict[str, Any]:
        """What is no tensor, ready for JSON."""
        return {"architecture": self.architecture, "k": self.k}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, without copies."""
        named = {name: getattr(self, name) for name in NAMES}
        return named if self.threshold is None else {**named, "threshold": self.threshold}

    def encode(self, x: Float[Tensor, "*rows d_in"]) -> Code:
        """The features that fire on each row; differentiable. Rows do not influence each other.

        Args:
            x: activations, `[..., d_in]`.

        Returns:
            Values and indices, `[..., k]`: k as set for topk, otherwise the largest number that fires on a row.
        """
        a = (x - self.b_in) @ self.W_enc + self.b_enc  # (1)
        if self.architecture == "topk":
            assert self.k is not None
            values, indices = a.topk(self.k, dim=-1, sorted=False)
            return Code(values.relu(), indices)
        z = a.relu() if self.threshold is None else a.relu() * (a > self.threshold)
        most = max(1, int((z > 0).sum(dim=-1).max()))
        return Code(*z.topk(most, dim=-1, sorted=False))

    def decode(self, code: Code) -> Float[Tensor, "*rows d_in"]:
        """The reconstruction x̂ of a code.

        Args:
            code: values and indices, `[..., k]`.

        Returns:
            Activations, `[..., d_in]`.
        """
        return self.directions(code) + self.b_dec  # (2)

    def directions(self, code: Code) -> Float[Tensor, "*rows d_in"]:
        """Σ z_f W_dec[f] over a code, without the bias.

        Args:
            code: values and indices, `[..., k]`.

        Returns:
            `[..., d_in]`.
        """
        flat = code.indices.reshape(-1, code.indices.shape[-1])
        weights = code.values.reshape(flat.shape)
        return embedding_bag(flat, self.W_dec, per_sample_weights=weights, mode="sum").view(
            *code.indices.shape[:-1], -1
        )


def _of_gated(sae: SAE) -> Dictionary:
    """(3)"""
    scale, b_dec = sae.r_mag.detach().exp(), sae.b_dec.detach()
    b_in = b_dec if sae.cfg.apply_b_dec_to_input else torch.zeros_like(b_dec)
    b_enc = sae.b_mag.detach()
    threshold = b_enc - scale * sae.b_gate.detach()
    return Dictionary("jumprelu", sae.W_enc.detach() * scale, b_enc, sae.W_dec.detach(), b_dec, b_in, None, threshold)
