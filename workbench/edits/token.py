"""Edits of the vocabulary: tokens that the model did not have, with their rows of the token table.

Nothing else changes: a prompt without these tokens is encoded as before, bit for bit. They are of use in a negative
prompt (`PromptEdit`) or in prompts that a user writes.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from saes.errors import WorkbenchError
from workbench.edits.controls import DIRECTIONS, Turns
from workbench.edits.edit import Summary, named
from workbench.edits.fields import EditFields
from workbench.models import Diffusion
from workbench.models.vocabulary import check_ids, token_table, with_tokens

ROWS = "rows"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TokenEdit(EditFields):
    """`tokens` by their texts, and `tensors["rows"]` `[tokens, d]`, a row of the (first) token table for each.

    Two edits that add the same token cannot be in place together. Raises `WorkbenchError` for tokens without rows, and
    for one that is empty or given twice.
    """

    tokens: Sequence[str]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    kind: ClassVar[str] = "token"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "tokens", tuple(self.tokens))
        shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        if self.tensors.keys() != ({ROWS} if self.tokens else set()) or any(
            len(shape) != 2 or shape[0] != len(self.tokens) for shape in shapes.values()
        ):
            raise WorkbenchError(
                f"{named(self)} adds {len(self.tokens)} tokens with tensors {shapes}.",
                f"Give {ROWS!r}, a row for each token.",
            )
        if len(set(self.tokens)) < len(self.tokens) or not all(token.strip() for token in self.tokens):
            raise WorkbenchError(f"{named(self)} adds a token twice, or an empty one.", "Name each once.")

    def check(self, model: Diffusion) -> None:
        """Raises `WorkbenchError` for another model, rows of another width, and a vocabulary that cannot grow."""
        super().check(model)
        width = token_table(model).shape[1]
        if self.tokens and self.tensors[ROWS].shape[1] != width:
            raise WorkbenchError(
                f"{named(self)} adds rows of {self.tensors[ROWS].shape[1]} numbers, and those of {model.name} have "
                f"{width}.",
                "Fit the method on this model.",
            )
        check_ids(model)

    def installed(self, model: Diffusion) -> AbstractContextManager[None]:
        """The tokens are known, and their rows follow the table's own."""
        self.check(model)
        return with_tokens(model, self.tokens, self.tensors[ROWS]) if self.tokens else nullcontext()

    def no_op(self) -> "TokenEdit":
        """No token."""
        return replace(self, tokens=(), tensors={}, settings={}, method="no-op")

    def random(self, seed: int = 0) -> "TokenEdit":
        """The same tokens, their rows turned alike by one random rotation: as long, and as far from each other."""
        tensors = {name: Turns(seed)(rows) for name, rows in self.tensors.items()}
        return replace(self, tensors=tensors, method=f"{DIRECTIONS} like {self.method}", seed=seed)

    def rows(self, model: Diffusion | None = None) -> list[dict[str, Any]]:
        """A row for each token: how long its row is, and how long the model's are in the mean, None without a model."""
        if model is not None:
            self.check(model)
        usual = None if model is None else float(token_table(model).norm(dim=1).mean())
        lengths = self.tensors[ROWS].double().norm(dim=1).tolist() if self.tokens else []
        return [
            {"token": token, "norm": norm, "usual norm": usual}
            for token, norm in zip(self.tokens, lengths, strict=True)
        ]

    def summary(self) -> Summary:
        """How many tokens."""
        return Summary(f"{len(self.tokens)} new tokens", DIRECTIONS)

    def in_weights(self) -> Any:
        """Raises `WorkbenchError`: a baked folder has the vocabulary of its base."""
        raise WorkbenchError(
            f"{named(self)} adds tokens, and a baked model keeps its vocabulary.",
            "Use it with `model.edited(…)` or `--edit`; of a composed edit, bake the parts that change weights.",
        )

    def _told(self) -> dict[str, Any]:
        return {"tokens": " ".join(self.tokens)}
