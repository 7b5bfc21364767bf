"""MMA-Diffusion: MultiModal Attack on Diffusion Models (Yang et al. 2024, arXiv:2311.17516), its text part.

Other words that mean the same to the text encoder: none of the concept's own words, and the same pooled embedding as
the prompt p. E_b is the unedited model's encoder, E_e the edited one's, pool the row of the end of the text (or what
the model itself pools), T the table of token embeddings, o_i the one-hot vector of token i.
    (1)  min over ids of 1 − cos(pool(E_e(ids)), pool(E_b(p)))
    (2)  g_i = ∂(1)/∂o_i = T ∂(1)/∂e_i at the token's own place i, divided by its norm
    (3)  candidates: one place drawn, its token exchanged for one of the `top` with the lowest g; the best of them is
         taken even if it is worse, and the best of all steps is kept (greedy coordinate gradient)
Left out are tokens of the concept's name and of `without`, texts that hold such a word, and candidates that read
otherwise as text. The official code takes g of the places 0 … 19 of the padded prompt, of which 0 is the begin token,
for the tokens 0 … 19 behind it; here each has its own. The picture part, which deceives a safety checker, is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import Doc

from saes.progress import SILENT, Progress
from workbench.attacks.at_random import RandomPrompt
from workbench.attacks.attack import AttackMethod, Attempt, Budget, own_generator
from workbench.attacks.gates import Treatment
from workbench.attacks.pursuit import (
    Chase,
    Rounds,
    chases_of,
    check_rows,
    check_search,
    check_through,
    pursued,
    rounds_of,
)
from workbench.attacks.reach import Reach, check_reached, reaching
from workbench.attacks.tokens import FREE, Slots, Vocabulary, content, slots, vocabulary
from workbench.attacks.trying import Try
from workbench.attacks.wording import worded
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model, TokenEmbeddings
from workbench.models.capabilities import NOISE_SCHEDULE, TEXT_ENCODER
from workbench.models.encoding import Encoding
from workbench.models.model import Change
from workbench.papers import Reference

LETTERS = "abcdefghijklmnopqrstuvwxyz"
AT_ONCE = 1024  # candidates that are encoded together


@dataclass(frozen=True, kw_only=True)
class MMA(AttackMethod):
    """Words that the edited text encoder reads as the unedited one reads the prompt, without those of the concept."""

    tokens: Annotated[int, Ge(1), Doc("How many words are sought, one token each.")] = 20
    steps: Annotated[int, Ge(1), Doc("Of (3).")] = 1000
    candidates: Annotated[int, Ge(1), Doc("In each step.")] = 512
    top: Annotated[int, Ge(1), Doc("Tokens of each place that are drawn from.")] = 256
    without: Annotated[tuple[str, ...], Doc("Words that may not be used, beside the concept's name.")] = ()
    checks: Annotated[int, Ge(1), Doc("How often the best is tried: the last time at its end.")] = 10
    gate: Annotated[Treatment, Doc("How what the edit decides about a prompt is seen.")] = "straight_through"

    name: ClassVar[str] = "mma"
    paper: ClassVar[Reference] = Reference(
        title="MMA-Diffusion: MultiModal Attack on Diffusion Models",
        authors="Y. Yang, R. Gao, X. Wang, T.-Y. Ho, N. Xu, Q. Xu",
        year=2024,
        arxiv="2311.17516",
        venue="CVPR",
    )
    access: ClassVar[str] = "text encoder"
    needs: ClassVar[tuple[frozenset[str], ...]] = (frozenset({NOISE_SCHEDULE, TEXT_ENCODER}),)
    cost: ClassVar[str] = "up to 1000 gradients of the text encoder, 512000 encoded prompts and 10 images"

    def control(self, model: Model, rows: Sequence[SuiteRow], found: Sequence[Attempt]) -> RandomPrompt:
        """As many random tokens, none of a word that may not be used."""
        return RandomPrompt(length=self.tokens, without=self.without, nameless=True)

    @property
    def most(self) -> Rounds:
        """A round for each time that the best is tried."""
        checks = min(self.checks, self.steps)
        return Rounds(checks, self.steps // checks)

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """A noise schedule, a budget for a round, and room for the words."""
        check_search(self, model, rows, budget, self.most)
        slots(model, [[FREE] * self.tokens])

    def check_edit(self, model: Model, edit: Change, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Gradients that come through, and a budget for both branches of a gate."""
        check_through(model, edit, rows, budget, self.most, "MMA", self.gate)

    def attempts(
        self,
        model: Model,
        edit: Change,
        rows: Sequence[SuiteRow],
        judge: Judge,
        *,
        budget: Budget,
        seed: int = 0,
        progress: Progress = SILENT,
        **sampling: Any,
    ) -> list[Attempt]:
        """(1) to (3) for all rows together; the first words of each that bring its concept back."""
        check_rows(self, model, rows, judge)
        chases = chases_of(rows, edit, self.gate)
        rounds = rounds_of(budget, self.most, len(chases) // len(rows))
        prompts = slots(model, [[FREE] * self.tokens for _ in chases])
        check_reached(model, edit, rows[0].prompt, "MMA", self.gate)
        with torch.no_grad():
            given = model.token_embeddings([rows[one.row].prompt for one in chases])
            wanted = pooled(model.encode(given), ends(model, given))
        barred = [(*self.without, rows[one.row].expected) for one in chases]
        draws = [own_generator(rows[one.row], seed, f"{self.name} {one.branch}") for one in chases]
        known = {words: vocabulary(model, edit, words) for words in dict.fromkeys(barred)}
        search = Swaps(
            self, model, edit, rows, chases, prompts, wanted, [known[words] for words in barred], barred, draws,
            rounds.steps, [_letters(model, self.tokens, draw) for draw in draws],
        )  # fmt: skip
        return pursued(model, edit, rows, judge, chases, rounds, search, progress=progress, label=self.name, **sampling)


def _letters(model: Model, count: int, generator: torch.Generator) -> Int64[Tensor, " slots"]:
    """So many single letters, which are tokens of any tokenizer."""
    drawn = torch.randint(len(LETTERS), (count,), generator=generator).tolist()
    return torch.tensor([content(model, LETTERS[one])[-1] for one in drawn])


def ends(model: Model, prompts: TokenEmbeddings) -> Int64[Tensor, " rows"]:
    """Where each prompt's first end token stands."""
    return (prompts.ids[0] == model.pipe.tokenizer.eos_token_id).int().argmax(dim=1)


def pooled(encoding: Encoding, at: Int64[Tensor, " rows"]) -> Float[Tensor, "rows d"]:
    """What sums a prompt up: what the model pools, or the row of the end of the text."""
    if encoding.pooled is not None:
        return encoding.pooled
    return encoding.embeddings[torch.arange(len(encoding)), at.to(encoding.embeddings.device)]


def distance(found: Float[Tensor, "rows d"], wanted: Float[Tensor, "rows d"]) -> Float[Tensor, " rows"]:
    """(1)."""
    return 1 - torch.cosine_similarity(found, wanted.to(found), dim=1)


def slopes(
    gradient: Float[Tensor, "slots d"], table: Float[Tensor, "vocabulary d"]
) -> Float[Tensor, "slots vocabulary"]:
    """g by (2) of each place, from the gradient of its embedding."""
    by_token = gradient @ table.T
    return by_token / by_token.norm(dim=1, keepdim=True).clamp(min=torch.finfo(by_token.dtype).tiny)


def swaps(
    ids: Int64[Tensor, " slots"],
    slope: Float[Tensor, "slots vocabulary"],
    words: Vocabulary,
    count: int,
    top: int,
    generator: torch.Generator,
) -> Int64[Tensor, "candidates slots"]:
    """(3): candidates that differ from the tokens in exactly one place.

    Args:
        ids: The tokens.
        slope: g of every place and token.
        words: What may be chosen.
        count: Candidates.
        top: Tokens of each place that are drawn from, if there are so many.
        generator: Of the CPU.
    """
    barred = ~words.allowed.expand_as(slope).clone()
    barred[torch.arange(len(ids)), ids] = True  # no change
    top = min(top, int((~barred).sum(dim=1).min()))
    best = slope.masked_fill(barred, torch.inf).topk(top, dim=1, largest=False).indices.cpu()
    places = torch.randint(len(ids), (count,), generator=generator)
    chosen = best[places, torch.randint(top, (count,), generator=generator)]
    candidates = ids.cpu().repeat(count, 1)
    candidates[torch.arange(count), places] = chosen
    return candidates.to(ids.device)


@dataclass(eq=False)
class Swaps:
    """The tokens of every chase, and the best that each has had: a `Pursuit`."""

    attack: MMA
    model: Model
    edit: Change
    rows: Sequence[SuiteRow]
    chases: Sequence[Chase]
    prompts: Slots
    wanted: Float[Tensor, "chases d"]
    words: Sequence[Vocabulary]
    barred: Sequence[Sequence[str]]
    generators: Sequence[torch.Generator]
    steps: int
    now: list[Int64[Tensor, " slots"]]

    def __post_init__(self) -> None:
        self.best, self.lowest = list(self.now), [float("inf")] * len(self.now)

    def improve(self, chases: Sequence[int], number: int) -> None:
        """So many exchanges of one token."""
        with reaching(self.model, self.edit, self.attack.gate) as reach:
            for _ in range(self.steps):
                self.exchange(reach, chases)

    def exchange(self, reach: Reach, chases: Sequence[int]) -> None:
        """(2) and (3) once; where no candidate can be written as text, nothing changes."""
        steepest = zip(chases, self.slopes(reach, chases), strict=True)
        tried = {one: self.candidates(one, slope) for one, slope in steepest}
        owners = [one for one in chases for _ in tried[one]]
        if not owners:
            return
        losses = self.measured(reach, owners, torch.cat(list(tried.values())))
        for one, own in zip(chases, losses.split([len(tried[one]) for one in chases]), strict=True):
            if len(own):
                self.now[one] = tried[one][own.argmin()]
                if float(own.min()) < self.lowest[one]:
                    self.lowest[one], self.best[one] = float(own.min()), self.now[one]

    def slopes(self, reach: Reach, chases: Sequence[int]) -> list[Float[Tensor, "slots vocabulary"]]:
        """g of the tokens that each chase has now."""
        ids = torch.cat([self.now[one] for one in chases])
        with torch.enable_grad():
            leaf = self.words[0].table[ids].requires_grad_()
            (gradient,) = torch.autograd.grad(self.losses(reach, chases, ids, leaf).sum(), leaf)
        return [slopes(own, self.words[0].table) for own in gradient.split(self.attack.tokens)]

    def candidates(self, chase: int, slope: Float[Tensor, "slots vocabulary"]) -> Int64[Tensor, "candidates slots"]:
        """Those of (3) that can be written as text, without a word that may not be used."""
        attack, draw = self.attack, self.generators[chase]
        found = swaps(self.now[chase], slope, self.words[chase], attack.candidates, attack.top, draw)
        texts = self.model.texts(self.prompts.of([chase] * len(found)).filled(found.flatten()))
        return found[[self.usable(chase, text) for text in texts]]

    def usable(self, chase: int, text: str | None) -> bool:
        """Whether a text has none of the words that may not be used; None is none."""
        return text is not None and not any(word.casefold() in text.casefold() for word in self.barred[chase])

    @torch.no_grad()
    def measured(
        self, reach: Reach, owners: Sequence[int], ids: Int64[Tensor, "candidates slots"]
    ) -> Float[Tensor, " candidates"]:
        """The loss of candidates, each of one chase."""
        parts = [
            self.losses(reach, owners[at : at + AT_ONCE], some.flatten(), self.words[0].table[some.flatten()])
            for at, some in zip(range(0, len(ids), AT_ONCE), ids.split(AT_ONCE), strict=True)
        ]
        return torch.cat(parts)

    def losses(
        self, reach: Reach, owners: Sequence[int], ids: Int64[Tensor, " slots"], embeddings: Float[Tensor, "slots d"]
    ) -> Float[Tensor, " prompts"]:
        """(1), and what a held gate adds."""
        prompts = self.prompts.of(owners).embedded(ids, embeddings)
        encoding, overshoot = reach.read(prompts, [self.chases[one].branch for one in owners])
        return distance(pooled(encoding, ends(self.model, prompts)), self.wanted[list(owners)]) + overshoot

    def proposal(self, chase: int) -> Try:
        """The best words so far."""
        text, given = worded(self.model, self.prompts.of([chase]).filled(self.best[chase]))
        return Try(self.rows[self.chases[chase].row], text, given)
