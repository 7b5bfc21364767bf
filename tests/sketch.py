"""A text-to-image model that is no diffusion, as small as can be: it writes a picture patch by patch, like a language
model. It stands in for the kinds of models that are to come, and shows that whatever is general needs nothing of noise.

A CLIP encoder reads the prompt; a recurrent cell then draws one patch of the picture a call, from the pooled prompt and
the patch before, sampled at a temperature.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saes.progress import SILENT
from tests.tiny_pipelines import clip, clip_tokenizer
from workbench.hooks import AttentionSite, Component, Role, Site
from workbench.models.architecture import Architecture, Defaults, Segment
from workbench.models.diffusion.text_sites import text_sites, token_table
from workbench.models.encoding import Encoding
from workbench.models.model import Model
from workbench.models.prompts import TokenEmbeddings, TokenIds, as_prompts, embedded, joined, one_by_one, tokenized
from workbench.models.provenance import Provenance
from workbench.models.requests import pair

SIDE, PATCH, WIDTH, COLOURS = 4, 8, 16, 32  # patches a side, pixels a patch, channels, tokens


class Writer(nn.Module):
    """One patch a call."""

    def __init__(self, d_text: int) -> None:
        super().__init__()
        self.prompt, self.token = nn.Linear(d_text, WIDTH), nn.Embedding(COLOURS, WIDTH)
        self.layer, self.head = nn.GRUCell(WIDTH, WIDTH), nn.Linear(WIDTH, COLOURS)
        self.out = nn.Identity()

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def forward(self, hidden_states: Tensor, state: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        state = self.layer(self.token(hidden_states) + self.prompt(pooled), state)
        return self.head(self.out(state[:, None])[:, 0]), state


class Parts:
    """What holds the components."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.tokenizer = clip_tokenizer()
            self.text_encoder = clip(self.tokenizer).eval().requires_grad_(False)
            self.writer = Writer(self.text_encoder.config.hidden_size).eval().requires_grad_(False)
            self.writer.prompt.weight.mul_(20)  # random weights hardly tell one prompt from another

    @property
    def components(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer, "text_encoder": self.text_encoder, "writer": self.writer}


class SketchArchitecture(Architecture):
    kind = "sketch"
    capabilities = frozenset({"text_encoder"})  # type: ignore[assignment]
    components = (Component("text_encoder", "prompt"), Component("writer", "image"))  # type: ignore[assignment]

    def defaults(self) -> Defaults:
        return Defaults(SIDE**2, 1.0, SIDE * PATCH)

    def sites(self, image_size: int) -> list[Site]:
        writer = Site("lm.out", "writer.out", channels=WIDTH, positions=1)
        return [*text_sites(self.pipe, "text_encoder", "text"), writer]

    def attention_sites(self, image_size: int) -> list[AttentionSite]:
        return []

    def encode(self, prompts: Any, role: Role) -> Encoding:
        ids = self.token_ids(prompts) if isinstance(prompts, list) else prompts
        tables = [self.pipe.text_encoder.get_submodule(token_table(self.pipe.text_encoder))]
        with tokenized(self.pipe, ["tokenizer"], ids):
            if isinstance(prompts, TokenEmbeddings):
                with embedded(tables, prompts):
                    out = self.pipe.text_encoder(ids.ids[0])
            else:
                out = self.pipe.text_encoder(ids.ids[0])
        return Encoding(out.last_hidden_state, out.pooler_output, (role,) * len(ids))

    def segments(self) -> list[Segment]:
        return [Segment(self.pipe.tokenizer, 0, self.pipe.tokenizer.model_max_length)]

    def token_ids(self, texts: list[str]) -> TokenIds:
        found = self.pipe.tokenizer(
            texts, padding="max_length", truncation=True, max_length=self.pipe.tokenizer.model_max_length,
            return_tensors="pt",
        )  # fmt: skip
        return TokenIds((found.input_ids,))

    def looked_up(self, prompts: TokenIds) -> tuple[Tensor, ...]:
        table: Any = self.pipe.text_encoder.get_submodule(token_table(self.pipe.text_encoder))
        return (table.weight[prompts.ids[0]].clone(),)


class Sketch(Model):
    """`temperature` is its only setting."""

    @property
    def settings(self) -> dict[str, Any]:
        return {"temperature": 1.0}

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self, prompts, seeds, *, temperature=1.0, batch_size=16, progress=SILENT
    ) -> np.ndarray:
        requests = pair(one_by_one(as_prompts(prompts)), seeds)
        starts = range(0, len(requests), batch_size)
        return np.concatenate([self._batch(requests[at : at + batch_size], temperature) for at in progress(starts, "")])

    def _batch(self, requests, temperature: float) -> np.ndarray:
        cond = self.encode(joined([one.prompt for one in requests]))
        draws = [torch.rand(SIDE**2, COLOURS, generator=torch.Generator().manual_seed(one.seed)) for one in requests]
        noise = -torch.log(-torch.log(torch.stack(draws)))  # Gumbel: each picture's own
        tokens, state = torch.zeros(len(requests), dtype=torch.int64), torch.zeros(len(requests), WIDTH)
        drawn = []
        with self.wiring.calls.announced("image", cond.roles, cond.prompts, lambda: SIDE**2):
            for patch in range(SIDE**2):
                logits, state = self.pipe.writer(tokens, state, cond.pooled)
                tokens = (logits + temperature * noise[:, patch]).argmax(dim=-1)
                drawn.append(tokens)
        grid = torch.stack(drawn, dim=1).reshape(-1, SIDE, SIDE)
        colours = torch.stack([grid * 8, (grid * 37) % 256, 255 - grid * 8], dim=-1).to(torch.uint8).numpy()
        return colours.repeat(PATCH, axis=1).repeat(PATCH, axis=2)


def sketch() -> Sketch:
    """A fresh one; all are equal."""
    architecture = SketchArchitecture(Parts())
    return Sketch("sketch", architecture, architecture.defaults(), Provenance({}, architecture.pipe))
