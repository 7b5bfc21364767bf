"""Pictures that a frozen Janus writes beside each other, and its hidden states over them: what EAR is fitted on.

A pair of prompts has equally many tokens, both rows of guidance each. Its picture is `cells` tokens; step i reads what
stands before token i and predicts it. Step 0 reads the whole prompt, step i ≥ 1 the token i − 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import DynamicCache

from workbench.hooks import Role
from workbench.models.janus.choosing import Chooser, Sampling
from workbench.models.janus.lines import Line, begun, cells
from workbench.models.janus.model import Janus
from workbench.models.janus.writing import written
from workbench.models.prompts import TokenIds

Context = Literal["cached", "none"]
Format = Literal["chat", "raw"]
States = Float[Tensor, "rows positions d"]
Tokens = Int64[Tensor, "streams cells"]


class Rows(NamedTuple):
    """A prompt as the language model reads it, in guidance's conditional and unconditional row."""

    cond: Line
    uncond: Line

    @property
    def both(self) -> Line:
        """The two rows of one batch, the conditional one first."""
        return self.cond.beside(self.uncond)


def of_all(prompts: Sequence[Rows]) -> Rows:
    """The rows of several prompts, side by side.

    Args:
        prompts: Of one length.

    Returns:
        Their rows, as those of one batch.
    """
    return Rows(*(reduce(Line.beside, lines) for lines in zip(*prompts, strict=True)))


class PairRows(NamedTuple):
    """The rows of two prompts, `positions` tokens each."""

    unsafe: Rows
    safe: Rows

    @property
    def positions(self) -> int:
        """Tokens of either prompt, all that stands around the words included."""
        return self.unsafe.cond.embeddings.shape[1]


def pair_rows(model: Janus, unsafe: str, safe: str, format: Format) -> PairRows:
    """Two prompts of equal length: the safe one is cut to the length of the other, or filled up with padding.

    Args:
        model: The model.
        unsafe: Names the concept.
        safe: Does not.
        format: "chat" lays prompts out as for pictures; "raw" gives the begin token and the words alone.

    Returns:
        The rows.
    """
    layout = model.architecture.layout
    begin, pad, _ = layout.special
    if format == "chat":
        framed = layout.row(unsafe)
        words = layout.words(torch.tensor(framed)).tolist()
        own = layout.words(torch.tensor(layout.row(safe))).tolist()
        rows = [framed, layout.around(framed, _fitted(own, len(words), pad))]
        others = [layout.unconditional(torch.tensor([row])) for row in rows]
    else:
        plain = [model.pipe.tokenizer(text, add_special_tokens=False).input_ids for text in (unsafe, safe)]
        rows = [[begin, *plain[0]], [begin, *_fitted(plain[1], len(plain[0]), pad)]]
        others = [torch.tensor([[row[0], *[pad] * (len(row) - 2), row[-1]]]) for row in rows]
    texts = (unsafe, safe)
    return PairRows(*(_rows(model, row, other, text) for row, other, text in zip(rows, others, texts, strict=True)))


def _fitted(ids: list[int], length: int, pad: int) -> list[int]:
    return ids[:length] + [pad] * (length - len(ids))


def _rows(model: Janus, ids: list[int], uncond: Int64[Tensor, "1 positions"], text: str) -> Rows:
    given = TokenIds((torch.tensor([ids]),))
    cond, other = (begun(model.pipe, model.architecture.layout, given, role, (text,)) for role in ("cond", "uncond"))
    return Rows(cond, replace(other, embeddings=model.pipe.looked_up(uncond)))


@dataclass(frozen=True, eq=False)
class Streams:
    """How pictures are written and read.

    Args:
        context: "cached": each step sees all before it. "none": from step 1 on it sees its own token alone, at position
            0, as the published training does; both rows of guidance are then equal.
        guidance_scale: Of the draws.
    """

    context: Context
    guidance_scale: float

    @torch.no_grad()
    def sampled(self, model: Janus, pairs: Sequence[PairRows], seeds: Sequence[int]) -> Int64[Tensor, "pairs 3 cells"]:
        """Three pictures of each pair: of the unsafe prompt, of the safe one, and of the safe one again.

        Args:
            model: The frozen model.
            pairs: Of one length.
            seeds: Three for each pair, in its order.

        Returns:
            Their tokens, on the CPU.
        """
        sampling = Sampling(self.guidance_scale, temperature=1.0, top_k=0)
        cond, uncond = of_all([rows for pair in pairs for rows in (pair.unsafe, pair.safe, pair.safe)])
        line, choose = cond.beside(uncond) if sampling.doubles_rows else cond, Chooser(sampling, seeds)
        if self.context == "cached":
            tokens = written(model.pipe, model.wiring.calls, line, choose)
        else:
            tokens = self._forgetful(model, line, choose)
        return tokens.reshape(len(pairs), 3, -1).cpu()

    def states(self, model: Janus, rows: Line, tokens: Tokens, first: int, last: int) -> States:
        """Hidden states of the steps `first` … `last` − 1 while pictures are written.

        Args:
            model: The model, or a student.
            rows: Of the prompts, `[2 · streams]`: the conditional rows of all, then the unconditional ones.
            tokens: Of the pictures.
            first: The first step.
            last: The step after the last one.

        Returns:
            Final-norm hidden states; step 0 has a position for each token of the prompt, every other step one. What
            stands before the first step is read without gradients.
        """
        if self.context == "none":
            return self._alone(model, rows, tokens, first, last)
        told = tokens[:, : last - 1].to(model.device).repeat(2, 1)
        whole = rows.followed_by(model.pipe, told)
        start = 0 if first == 0 else rows.embeddings.shape[1] + first - 1
        if start == 0:
            return model.read(whole)
        cache = DynamicCache(config=model.pipe.language_model.config)
        with torch.no_grad():
            model.read(_cut(whole, 0, start), cache)
        return model.read(_cut(whole, start, whole.embeddings.shape[1]), cache)

    def _forgetful(self, model: Janus, line: Line, choose: Chooser) -> Int64[Tensor, "pictures cells"]:
        drawn: list[Tensor] = []
        for _ in range(model.pipe.cells):
            codes = choose(model.pipe.generation_head(model.read(line)[:, -1]))
            drawn.append(codes)
            line = _token(model, codes.repeat(len(line.roles) // len(codes)))
        return torch.stack(drawn, dim=1)

    def _alone(self, model: Janus, rows: Line, tokens: Tokens, first: int, last: int) -> States:
        parts = [model.read(rows)] if first == 0 else []
        told = tokens[:, max(first, 1) - 1 : last - 1].to(model.device)
        if told.numel():
            hidden = model.read(_token(model, told.flatten())).reshape(*told.shape, -1)
            parts.append(hidden.repeat(2, 1, 1))
        return torch.cat(parts, dim=1)


def _token(model: Janus, codes: Int64[Tensor, " rows"]) -> Line:
    """Each code as all that the language model reads."""
    codes = codes[:, None].to(model.device)
    seen = torch.ones_like(codes, dtype=torch.bool)
    role: Role = "cond"
    return Line(model.pipe.drawn_as(codes), seen, cells(codes, 0), tuple(role for _ in codes))


def _cut(line: Line, first: int, last: int) -> Line:
    """Some positions of a line, which know of those before them."""
    tokens = line.tokens.between(first, last)
    return replace(line, embeddings=line.embeddings[:, first:last], attended=line.attended[:, :last], tokens=tokens)
