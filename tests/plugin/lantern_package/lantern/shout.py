"""An attack that writes the prompt in capital letters."""

from dataclasses import dataclass
from typing import Any, ClassVar

import workbench as wb
from workbench.attacks.trying import Search, Try, try_all


@dataclass(frozen=True, kw_only=True)
class Shout(wb.AttackMethod):
    """The prompt in capital letters."""

    name: ClassVar[str] = "lantern_shout"
    paper: ClassVar[None] = None
    access: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "a picture"

    def attempts(self, model, edit, rows, judge, *, budget, seed=0, progress=None, **sampling: Any) -> list[wb.Attempt]:
        """One picture a row."""
        found = [Search(row) for row in rows]
        with model.edited(edit):
            try_all(model, [(one, Try(one.row, one.row.prompt.upper())) for one in found], judge, **sampling)
        return [one.attempt() for one in found]
