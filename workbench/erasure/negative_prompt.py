"""The negative prompt: guidance leads away from the concept instead of from the empty prompt. The formula is that of
Classifier-Free Diffusion Guidance (Ho & Salimans 2022, arXiv:2207.12598).

The cheap reference of every erasure method: no weight changes and nothing is fitted, and whoever controls the sampler
leaves it out. ε_n and ε_p are the denoiser's raw predictions for the negative text and the prompt, w the scale:
    (1)  ε̂ = ε_n + w (ε_p − ε_n) = ε_p + (w − 1)(ε_p − ε_n)
The text takes the place of the empty prompt, so there is no third branch and no cost. With w ≤ 1 it would have no
effect and is refused. The formula is the pipeline's own.

A Janus joins logits of the next picture token in the same way. The text stands in its unconditional rows, where there
is padding otherwise, in the layout of any prompt; conditional rows and picture cells stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from typing_extensions import Doc

from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import PromptEdit
from workbench.edits.prompt import CODES
from workbench.erasure.method import ErasureMethod, Supports
from workbench.models import Diffusion, Janus
from workbench.models.capabilities import NEGATIVE_PROMPT
from workbench.papers import Reference


@dataclass(frozen=True, kw_only=True)
class NegativePrompt(ErasureMethod):
    """The concepts' names, joined by commas, as the negative prompt of every picture. Returns a `PromptEdit`."""

    synonyms: Annotated[bool, Doc("Each concept's synonyms follow its name.")] = False

    name: ClassVar[str] = "negative_prompt"
    paper: ClassVar[Reference] = Reference(
        title="Classifier-Free Diffusion Guidance",
        authors="J. Ho, T. Salimans",
        year=2022,
        arxiv="2207.12598",
    )
    family: ClassVar[str] = "guidance"
    supports: ClassVar[Supports] = Supports({NEGATIVE_PROMPT})
    cost: ClassVar[str] = "nothing; no images"

    @property
    def seeded(self) -> bool:
        """Nothing is drawn at random."""
        return False

    def fit(
        self, model: Diffusion | Janus, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> PromptEdit:
        """Joins the names.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once. Their names are the text, joined by commas.
            seed: Only recorded: nothing is drawn at random.
            progress: Told of each name.

        Returns:
            An edit of the negative prompt.

        Raises:
            WorkbenchError: For a model that is guided without unconditional rows.
        """
        self.supports.check("NegativePrompt", model, concepts)
        texts = [", ".join(c.words() if self.synonyms else (c.name,)) for c in progress(concepts, "names")]
        if isinstance(model, Janus):
            width, over = model.n_codes, {"over": CODES}
        else:
            width, over = model.architecture.latent_channels, {}
        return PromptEdit(text=", ".join(texts), width=width, **self.told(model, concepts, seed, over))
