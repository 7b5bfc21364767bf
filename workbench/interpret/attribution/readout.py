"""The predictions of a Janus for given pictures: its own, and those that its image head reads off every layer."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from workbench.hooks import Role
from workbench.models import Janus
from workbench.models.janus.choosing import Chooser, Sampling, guided

Logits = Float[Tensor, "rows cells codes"]


class Readout:
    """Reads the image head off the layers of some pictures.

    Args:
        model: The model.
        sampling: How pictures are drawn, which says how rows are joined.
        reads: "guided": as sampling joins the rows; "cond", "uncond": one of them alone.
    """

    def __init__(self, model: Janus, sampling: Sampling, reads: str) -> None:
        layers = model.pipe.language_model.config.num_hidden_layers
        self.sites = ["lm.in", *(f"lm.{layer}" for layer in range(layers))]
        self._model, self._sampling = model, sampling
        guides = sampling.doubles_rows and reads == "guided"
        alone: Role = "uncond" if reads == "uncond" else "cond"
        self._roles: tuple[Role, ...] = ("cond", "uncond") if guides else (alone,)

    def final(self, codes: Int64[Tensor, "rows cells"], prompts: list[str]) -> Logits:
        """The model's own predictions."""
        return self._joined([self._model.logits(codes, prompts, role).float() for role in self._roles])

    def layers(self, codes: Int64[Tensor, "rows cells"], prompts: list[str]) -> Iterator[Logits]:
        """The predictions read off each site."""
        n, records = codes.shape[1], []
        for role in self._roles:
            with self._model.session(record=self.sites, keep=lambda site, x, clock: x[:, -n:]) as session:
                self._model.hidden(codes, prompts, role)
            records.append(session.records)
        norm, head = self._model.pipe.language_model.norm, self._model.pipe.generation_head
        for alias in self.sites:
            # `forward` itself: the hooks of sites belong to the model's own calls
            yield self._joined([head.forward(norm.forward(one[alias][0][1])).float() for one in records])

    def noise(self, seeds: Sequence[int], like: Logits) -> Logits | None:
        """The noise that sampling drew for each cell."""
        if not self._sampling.temperature:
            return None
        chooser = Chooser(self._sampling, seeds)
        return torch.stack([chooser.noise(like.shape[-1]) for _ in range(like.shape[1])], dim=1).to(like)

    def _joined(self, logits: Sequence[Logits]) -> Logits:
        return guided(torch.cat(list(logits)), self._sampling.guidance_scale) if len(logits) == 2 else logits[0]  # (1)
