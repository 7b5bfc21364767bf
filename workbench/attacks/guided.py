"""What a sampler makes of the branches of guidance at one step, with edits of guidance in place and with gradients.

With ε(p) the denoiser's raw output for the prompt, ε(n) that for the negative text of the edits (or the empty one),
ε(s) those for texts that rules of guidance ask for, and R these rules one after another:
    (1)  ε̂ = e_∅ + w (e_p − e_∅),  (e_∅, e_p) = R(ε(n), ε(p), ε(s))
The same as `models.diffusion.guiding` does within a pipeline, which lets no gradient through.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from workbench.models import Diffusion
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.guiding import Branch, Joined, Rule
from workbench.models.encoding import Encoding, together


class Guided:
    """(1) for a model as it is now: made in the block of `edited` in which it is asked.

    Args:
        model: A model with unconditional rows.
        scale: w.

    Raises:
        WorkbenchError: An edit in place acts on guidance, and w leaves guidance out.
    """

    def __init__(self, model: Diffusion, scale: float) -> None:
        model.guiding.check(scale)
        self.model, self.scale = model, scale
        with torch.no_grad(), model.wiring.calls.aside():
            self._uncond = model.encode(model.guiding.negative_prompt(""), "uncond")
            self._branches = [
                Branch(begin, None if text is None else model.encode(text, "uncond"))
                for begin, text in model.guiding.guides
            ]

    def rules(self, steps: int) -> list[Rule]:
        """New rules, for a batch of pictures that are made in so many steps."""
        return [branch.begin(steps) for branch in self._branches]

    def __call__(self, latents: Latents, timestep: int, cond: Encoding, rules: Sequence[Rule], call: int) -> Latents:
        """ε̂, as raw as the denoiser's own output, by one pass for all branches.

        Args:
            latents: x_t, a row for each prompt.
            timestep: t.
            cond: The prompts.
            rules: R, which may remember earlier calls.
            call: The number of this call while a picture is made, from 0.
        """
        own = [branch.encoding.expand(len(cond)) for branch in self._branches if branch.encoding is not None]
        parts = [self._uncond.expand(len(cond)), cond, *own]
        pictures = None if cond.prompts is None else cond.prompts * len(parts)
        rows = replace(together(parts), prompts=pictures)
        answers = self.model.noise_prediction(latents.repeat(len(parts), 1, 1, 1), timestep, rows)
        first, second, *others = answers.split(len(cond))
        joined, texts = Joined(first, second), iter(others)
        for rule, branch in zip(rules, self._branches, strict=True):
            joined = rule(joined, None if branch.encoding is None else next(texts), call)
        return joined.uncond + self.scale * (joined.cond - joined.uncond)  # (1)
