"""What every attack is compared with: no edit at all, as many pictures from new seeds, as many tokens drawn at random.

They are attacks themselves, so that they spend the same budget, stop as early, and are resumed and shown alike.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.attack import AttackMethod, Attempt, Budget, own_generator, own_seed
from workbench.attacks.trying import Search, Try, try_all
from workbench.attacks.wording import worded
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.models import Model, TokenIds
from workbench.models.model import Change


@dataclass(frozen=True)
class Nothing:
    """A change that is none: with it in place the unedited model is attacked."""

    def installed(self, model: Any) -> AbstractContextManager:
        """The model as it is."""
        return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Plain(AttackMethod):
    """The prompt itself, at its own seed: no attack. What succeeds so is pre-ASR."""

    name: ClassVar[str] = "plain"
    paper: ClassVar[None] = None
    access: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "a picture"

    def attempts(
        self, model: Model, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """One picture of each."""
        found = [Search(row) for row in rows]
        with model.edited(edit):
            try_all(model, [(one, Try(one.row, one.row.prompt)) for one in found], judge, **sampling)
        return [one.attempt() for one in found]


@dataclass(frozen=True, kw_only=True)
class NewSeeds(AttackMethod):
    """The prompt itself from new seeds, as many as the budget has pictures: what luck alone finds."""

    name: ClassVar[str] = "new seeds"
    paper: ClassVar[None] = None
    access: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "the budget of pictures"

    def attempts(
        self, model: Model, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """Seed after seed until one succeeds."""
        found = [Search(row) for row in rows]
        with model.edited(edit):
            for number in progress(range(budget.images), self.name):
                own = {id(one): own_seed(one.row, seed, f"{self.name} {number}") for one in found}
                going = [(one, Try(one.row, one.row.prompt, seed=own[id(one)])) for one in found if not one.success]
                try_all(model, going, judge, **sampling)
        return [one.attempt() for one in found]


@dataclass(frozen=True, kw_only=True)
class RandomPrefix(AttackMethod):
    """Tokens drawn at random before the prompt, at its own seed: what any change of the prompt finds."""

    length: Annotated[int, Ge(1), Doc("How many tokens.")]

    name: ClassVar[str] = "random prefix"
    paper: ClassVar[None] = None
    access: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "the budget of pictures"

    @property
    def prefix(self) -> int:
        """Its length."""
        return self.length

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Prompts that leave room for it."""
        check_room(model, [row.prompt for row in rows], self.length)

    def attempts(
        self, model: Model, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """Draw after draw until one succeeds."""
        self.check(model, rows, budget)
        found = [(Search(row), own_generator(row, seed, self.name)) for row in rows]
        with model.edited(edit):
            for _ in progress(range(budget.images), self.name):
                going = [one for one in found if not one[0].success]
                tries = [self._try(model, search.row, generator) for search, generator in going]
                try_all(
                    model, [(search, one) for (search, _), one in zip(going, tries, strict=True)], judge, **sampling
                )
        return [search.attempt() for search, _ in found]

    def _try(self, model: Model, row: SuiteRow, generator: torch.Generator) -> Try:
        ids = with_prefix(model, row.prompt, ordinary_tokens(model, self.length, generator))
        return Try(row, *worded(model, ids))


def ordinary_tokens(model: Model, n: int, generator: torch.Generator) -> torch.Tensor:
    """Ids of the first tokenizer drawn uniformly, special tokens left out, `[n]`."""
    tokenizer = model.pipe.tokenizer
    special = torch.tensor(tokenizer.all_special_ids)
    known = torch.arange(len(tokenizer))
    ordinary = known[~torch.isin(known, special)]
    return ordinary[torch.randint(len(ordinary), (n,), generator=generator)]


def with_prefix(model: Model, prompt: str, prefix: torch.Tensor) -> TokenIds:
    """The ids of a prompt with tokens before it, as the first tokenizer has them, padded to the full length.

    Where a model has several tokenizers, the others read the text that the first one makes of the ids.

    Args:
        model: Says how prompts begin, end and are padded.
        prompt: The prompt; it and the prefix together must fit (`check_room`).
        prefix: Ids of the first tokenizer, `[k]`.
    """
    whole = model.token_ids(prompt)
    row, length = whole.ids[0][0], whole.ids[0].shape[1]
    own = torch.cat([row[:1], prefix.to(row), row[1:]])[None, :length]
    if len(whole.ids) == 1:
        return TokenIds((own,))
    (text,) = model.pipe.tokenizer.batch_decode(own, skip_special_tokens=True)
    return TokenIds((own, *model.token_ids(text).ids[1:]))


def check_room(model: Model, prompts: Sequence[str], more: int) -> None:
    """Refuses prompts that are cut if so many tokens come before them.

    Raises:
        WorkbenchError: Names the first, and how many tokens it leaves.
    """
    limit = model.pipe.tokenizer.model_max_length
    for prompt in prompts:
        free = limit - len(model.tokens(prompt)[0].ids)
        if free < more:
            raise WorkbenchError(
                f"A prefix of {more} tokens does not fit before {prompt!r}, which leaves {free} of {limit}.",
                f"Choose a prefix of {free} tokens or fewer." if free else "Choose shorter prompts.",
            )
