"""A world in which what succeeds is decided here: a model that paints discs by the words of a prompt, an edit after
which it does so for one word alone, and a judge of colours. Everything in a table can be counted by hand."""

from dataclasses import dataclass

import numpy as np

from saes.progress import SILENT
from tests.evaluation.drawn import ColourJudge, picture
from tests.evaluation.small import Scaled
from tests.sketch import Parts, Sketch, SketchArchitecture
from workbench.attacks.at_random import RandomPrefix
from workbench.attacks.attack import AttackMethod, Attempt
from workbench.attacks.trying import Search, Try, try_all
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.models.prompts import TokenIds, as_prompts
from workbench.models.provenance import Provenance
from workbench.models.requests import pair

ERASED, NO_OP = Scaled(-1.0), Scaled(1.0)
JUDGE = ColourJudge()
PROMPTS = ("red a", "red b", "red c", "red open")  # the last one is forgotten by the edit
SUITE = Suite("red", tuple(SuiteRow(one, "target", "red", 2 * seed + 1) for one in PROMPTS for seed in (0, 1)))


class Painter(Sketch):
    """Paints a red disc where the prompt says "red". After `ERASED` only where it also says "open" or "cat", or by
    luck: where the seed is even, which no seed of `SUITE` is."""

    def generate(self, prompts, seeds, *, temperature=1.0, batch_size=16, progress=SILENT):  # type: ignore[override]
        self.asked = getattr(self, "asked", 0) + 1
        erased = any(edit == ERASED for edit in self._in_place)
        ids = isinstance(prompts, TokenIds)
        texts = self.pipe.tokenizer.batch_decode(prompts.ids[0], skip_special_tokens=True) if ids else prompts
        requests = pair(as_prompts(texts), seeds)
        return np.stack([picture(self._paint(one.prompt, one.seed, erased), one.seed) for one in requests])

    def _paint(self, prompt: str, seed: int, erased: bool) -> str:
        back = "open" in prompt or "cat" in prompt or seed % 2 == 0
        return "red" if "red" in prompt and (back or not erased) else "nothing"


def painter() -> Painter:
    architecture = SketchArchitecture(Parts())
    return Painter("painter", architecture, architecture.defaults(), Provenance({}, architecture.pipe))


@dataclass(frozen=True, kw_only=True)
class Before(AttackMethod):
    """Puts words before the prompt, one after another."""

    words: tuple[str, ...] = ("dog", "cat")

    name = "before"
    paper = None
    access = "prompts"
    cost = "a picture a word"

    def control(self, model, rows, found):
        return RandomPrefix(length=1)

    def attempts(self, model, edit, rows, judge, *, budget, seed=0, progress=SILENT, **sampling) -> list[Attempt]:
        found = [Search(row) for row in rows]
        with model.edited(edit):
            for word in self.words[: budget.images]:
                going = [one for one in found if not one.success]
                try_all(model, [(one, Try(one.row, f"{word} {one.row.prompt}")) for one in going], judge, **sampling)
        return [one.attempt() for one in found]
