"""The negative prompt: guidance leads away from the concept instead of from the empty prompt.

The cheap reference of every erasure method: no weight changes and nothing is fitted, and whoever controls the sampler
leaves it out. ε_n and ε_p are the denoiser's raw predictions for the negative text and the prompt, w the scale:
    (1)  ε̂ = ε_n + w (ε_p − ε_n) = ε_p + (w − 1)(ε_p − ε_n)
The text takes the place of the empty prompt, so there is no third branch and no cost. With w ≤ 1 it would have no
effect and is refused. The formula is the pipeline's own; the paper is that of guidance.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import PromptEdit
from workbench.erasure.method import Supports
from workbench.models import Diffusion
from workbench.models.capabilities import GUIDANCE_BRANCHES


@dataclass(frozen=True, kw_only=True)
class NegativePrompt:
    """The concepts' names, joined by commas, as the negative prompt of every picture. Returns a `PromptEdit`."""

    synonyms: bool = False  # each concept's synonyms follow its name

    paper: ClassVar[str] = "arXiv:2207.12598"
    family: ClassVar[str] = "guidance"
    supports: ClassVar[Supports] = Supports({GUIDANCE_BRANCHES})
    cost: ClassVar[str] = "nothing; no images"

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> PromptEdit:
        """Joins the names. Nothing is drawn at random, so `seed` is only recorded."""
        self.supports.check("NegativePrompt", model, concepts)
        texts = [", ".join(c.words() if self.synonyms else (c.name,)) for c in progress(concepts, "names")]
        return PromptEdit(
            text=", ".join(texts), width=model.architecture.latent_channels, settings=asdict(self),
            method="negative_prompt", concepts=[concept.name for concept in concepts],
            base_fingerprint=model.fingerprint, seed=seed,
        )  # fmt: skip
