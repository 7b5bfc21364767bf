"""An attack that writes the prompt in capital letters."""

from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.attacks.attack import Attempt, Budget, sees


@dataclass(frozen=True)
class Shout:
    name: ClassVar[str] = "lantern_shout"

    def attempt(self, model: Any, edit: Any, row: Any, judge: Any, *, budget: Budget, seed: int = 0) -> Attempt:
        prompt = row.prompt.upper()
        with model.edited(edit):
            (success,) = sees(judge, model.generate(prompt, row.seed, steps=1), [prompt], row.expected)
        return Attempt(prompt, None, success, 1)
