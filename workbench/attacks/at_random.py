"""What attacks on tokens are compared with: as many tokens drawn at random, in the same places of a prompt.

They are attacks themselves, so that they spend the same budget, stop as early, and are resumed and shown alike. Attacks
that seek something else have a control of their own beside them (`cce.RandomEmbedding`, `latent.RandomStart`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.attack import AttackMethod, Attempt, Budget, own_generator
from workbench.attacks.tokens import Slots, content, interleaved, slots
from workbench.attacks.trying import Search, Try, try_all
from workbench.attacks.wording import worded
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model, TokenIds
from workbench.models.model import Change


class AtRandom(AttackMethod, ABC):
    """Draw after draw, as many as the budget has pictures, until one succeeds."""

    paper: ClassVar[None] = None
    access: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "the budget of pictures"

    @abstractmethod
    def drawn(self, model: Any, row: SuiteRow, generator: torch.Generator) -> Try:
        """One draw for a row.

        Args:
            model: With the edit in place.
            row: The row.
            generator: Of the row, on the CPU; it goes on from draw to draw.
        """

    def attempts(
        self, model: Any, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """The first draw of each row that brings its concept back."""
        self.check(model, rows, budget)
        found = [(Search(row), own_generator(row, seed, self.name)) for row in rows]
        with model.edited(edit):
            for _ in progress(range(budget.images), self.name):
                going = [(search, draw) for search, draw in found if not search.success]
                tries = [(search, self.drawn(model, search.row, draw)) for search, draw in going]
                try_all(model, tries, judge, **sampling)
        return [search.attempt() for search, _ in found]


@dataclass(frozen=True, kw_only=True)
class RandomPrefix(AtRandom):
    """Tokens drawn at random before the prompt, at its own seed: what any change of the prompt finds."""

    length: Annotated[int, Ge(1), Doc("How many tokens.")]

    name: ClassVar[str] = "random prefix"

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Prompts that leave room for it."""
        check_room(model, [row.prompt for row in rows], self.length)

    def drawn(self, model: Model, row: SuiteRow, generator: torch.Generator) -> Try:
        """The prompt behind new tokens."""
        ids = with_prefix(model, row.prompt, ordinary_tokens(model, self.length, generator))
        return Try(row, *worded(model, ids))


@dataclass(frozen=True, kw_only=True)
class RandomPrompt(AtRandom):
    """Tokens drawn at random in the place of the whole prompt."""

    length: Annotated[int, Ge(1), Doc("How many tokens.")]
    without: Annotated[tuple[str, ...], Doc("Words none of whose tokens is drawn.")] = ()
    nameless: Annotated[bool, Doc("Whether the concept's name is one of these words.")] = False

    name: ClassVar[str] = "random prompt"

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """A model that reads so many tokens."""
        check_room(model, [""], self.length)

    def drawn(self, model: Model, row: SuiteRow, generator: torch.Generator) -> Try:
        """New tokens."""
        barred = (*self.without, row.expected) if self.nameless else self.without
        return Try(row, *worded(model, with_prefix(model, "", ordinary_tokens(model, self.length, generator, barred))))


@dataclass(frozen=True, kw_only=True)
class RandomAmong(AtRandom):
    """Tokens drawn at random among those of the prompt."""

    every: Annotated[int, Ge(1), Doc("Tokens of the prompt after each of them.")]

    name: ClassVar[str] = "random among"

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Prompts that leave room for them."""
        self._slots(model, rows)

    def drawn(self, model: Model, row: SuiteRow, generator: torch.Generator) -> Try:
        """The prompt with new tokens in it."""
        free = self._slots(model, [row])
        return Try(row, *worded(model, free.filled(ordinary_tokens(model, free.counts[0], generator))))

    def _slots(self, model: Model, rows: Sequence[SuiteRow]) -> Slots:
        return slots(model, [interleaved(content(model, row.prompt), self.every) for row in rows])


def ordinary_tokens(model: Model, n: int, generator: torch.Generator, without: Sequence[str] = ()) -> torch.Tensor:
    """Ids of the first tokenizer drawn uniformly, those left out that stand for no words, `[n]`.

    Args:
        model: Has the tokenizer.
        n: How many.
        generator: Of the CPU.
        without: Words whose tokens are left out too.
    """
    tokenizer = model.pipe.tokenizer
    barred = model.architecture.no_words(model.architecture.tokenizers[0])
    barred |= {token for word in without for token in tokenizer(word, add_special_tokens=False).input_ids}
    known = torch.arange(len(tokenizer))
    ordinary = known[~torch.isin(known, torch.tensor([*barred]))]
    return ordinary[torch.randint(len(ordinary), (n,), generator=generator)]


def with_prefix(model: Model, prompt: str, prefix: torch.Tensor) -> TokenIds:
    """The ids of a prompt with tokens before it, as the first tokenizer has them, padded to the full length.

    Where a model has several tokenizers, the others read the text that the first one makes of the ids.

    Args:
        model: Says how prompts begin, end and are padded.
        prompt: The prompt; it and the prefix together must fit (`check_room`).
        prefix: Ids of the first tokenizer, `[k]`.
    """
    architecture = model.architecture
    if len(architecture.tokenizers) == 1:
        return architecture.framed([[*prefix.tolist(), *architecture.words(prompt)]])
    row = model.token_ids(prompt).ids[0][0]
    own = torch.cat([row[:1], prefix.to(row), row[1:]])[None, : len(row)]
    (text,) = model.said(TokenIds((own,)))
    return TokenIds((own, *model.token_ids(text).ids[1:]))


def check_room(model: Model, prompts: Sequence[str], more: int) -> None:
    """Refuses prompts that are cut if so many tokens come before them.

    Raises:
        WorkbenchError: Names the first, and how many tokens it leaves.
    """
    limit = model.architecture.prompt_limits()[0][1]
    for prompt in prompts:
        free = limit - len(model.tokens(prompt)[0].ids)
        if free < more:
            raise WorkbenchError(
                f"A prefix of {more} tokens does not fit before {prompt!r}, which leaves {free} of {limit}.",
                f"Choose a prefix of {free} tokens or fewer." if free else "Choose shorter prompts.",
            )
