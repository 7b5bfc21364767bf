"""Concept Steerers: Leveraging K-Sparse Autoencoders for Controllable Generations (Kim & Ghadiyaram 2025,
arXiv:2501.19066).

What a concept's name adds to the text encoder is read off an SAE once and taken from every prompt: there is no gate.
x_c is the activation of the concept's phrase at all positions, padding and begin token included; W_enc, b and W_dec are
those of an SAE at that site.
    (1)  s = Σ_c α W_decᵀ ReLU(W_enc (x_c − b_dec) + b_enc)     no top-k, and no b_dec is added
    (2)  h ← h + s in conditional rows,  h ← h − s in unconditional rows, position by position
α < 0 takes a concept away, α > 0 adds it. The official code (82326cf) takes the first call of the text encoder for the
prompt and the second for the unconditional branch; here the clock says which rows are which, so that another order,
prompts encoded beforehand and sampling without guidance work too.

On a Janus the site lies in the language model, whose prompts have no fixed length. Begin token, chat template and
begin-of-image token are the same in all and meet position by position; the words of a prompt, be they few or many, all
get the mean over the words of the phrase (ours: the paper has texts of one length). (2) acts on text alone, in the one
call that reads the prompt: in conditional rows and, at the same positions, in the padding that stands for them in
unconditional rows. Picture cells stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int8, Int64
from torch import Tensor
from typing_extensions import Doc

from saes.dictionary import Dictionary
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import dictionary_on, open_sae, site_of
from workbench.activations.reading import held
from workbench.concepts import Concept
from workbench.edits import ActivationEdit
from workbench.edits.programs import ActivationProgram, turned
from workbench.erasure.method import ErasureMethod, Supports
from workbench.hooks import Activation, Clock, Place, Tokens
from workbench.knobs import Opens
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE, PROMPT_TOKENS
from workbench.papers import Reference
from workbench.shipped import sae_files


@dataclass(frozen=True, kw_only=True)
class ConceptSteerer(ErasureMethod):
    """A direction from the SAE's code of a concept's phrase, added to every prompt. Returns an `ActivationEdit`.

    `sae` is a folder or the name of a shipped SAE at a site that prompts pass. The phrase is the concept's name, or a
    list of the name and the synonyms; the directions of several concepts are added up.
    """

    sae: Annotated[
        str,
        Opens(sae_files),
        Doc("A shipped SAE or a folder, at a site of the prompt; the paper's: text.9, 3072 latents, k 32."),
    ] = "toy/text.2"
    alpha: Annotated[float, Doc("α of (1); the paper's −0.5 for nudity and −0.7 for violence.")] = -0.5
    synonyms: Annotated[bool, Doc("The phrase lists them too, as the paper's 'violence, blood'.")] = False

    name: ClassVar[str] = "steerer"
    paper: ClassVar[Reference] = Reference(
        title="Concept Steerers: Leveraging K-Sparse Autoencoders for Controllable Generations",
        authors="D. Kim, D. Ghadiyaram",
        year=2025,
        arxiv="2501.19066",
    )
    family: ClassVar[str] = "deactivation"
    supports: ClassVar[Supports] = Supports({PROMPT_TOKENS})
    cost: ClassVar[str] = "one encoded phrase; no images; needs an SAE"

    @property
    def seeded(self) -> bool:
        """Nothing is drawn at random."""
        return False

    def fit(
        self, model: Model, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> ActivationEdit:
        """Encodes the phrases.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once. Their directions are added up.
            seed: Only recorded: nothing is drawn at random.
            progress: Told of each phrase.

        Returns:
            An edit that adds one direction to every prompt.

        Raises:
            WorkbenchError: For an SAE that fits no site of the model that prompts pass.
        """
        self.supports.check("ConceptSteerer", model, concepts)
        sae = open_sae(self.sae)
        site, dictionary = site_of(sae, model, "prompt"), dictionary_on(sae, model)
        phrases = [", ".join(concept.words()) if self.synonyms else concept.name for concept in concepts]
        seen = [held(model, site, [phrase]) for phrase in progress(phrases, "phrases")]
        added, frame = [direction(each.x, dictionary, self.alpha) for each in seen], {}
        if AUTOREGRESSIVE in model.capabilities:
            around = Around.of(seen[0].places[0])  # the layout's: the same for every phrase
            added, frame = [around.meet(each) for each in added], around._asdict()
        return ActivationEdit(
            site=site.alias, width=site.channels, program=f"{__name__}:PROGRAM",
            tensors={"steering": torch.stack(added).sum(dim=0).cpu()},
            **self.told(model, concepts, seed, {"phrases": phrases, **frame}),
        )  # fmt: skip


class Around(NamedTuple):
    """How many positions of a prompt without padding stand before its words, and after them, in every prompt."""

    before: int
    after: int

    @classmethod
    def of(cls, places: Int8[Tensor, " positions"]) -> "Around":
        """Those of a prompt that has words."""
        words = (places == Place.WORD).nonzero().flatten()
        return cls(int(words[0]), len(places) - 1 - int(words[-1]))

    def meet(self, added: Float[Tensor, "positions d"]) -> Float[Tensor, "met d"]:
        """What is added at the positions that all prompts share, and between them to each word: the mean over words."""
        before, after = self
        words = added[before : len(added) - after].mean(dim=0, keepdim=True)
        return torch.cat([added[:before], words, added[len(added) - after :]])

    def at(self, tokens: Tokens) -> tuple[Int64[Tensor, "rows positions"], Bool[Tensor, "rows positions"]]:
        """The row of `meet` that belongs to each position, and which positions are text."""
        before, after = self
        text = (tokens.places != Place.PICTURE) & (tokens.places != Place.ABSENT)
        position = tokens.position.masked_fill(~text, -1)
        behind = position - (position.amax(dim=1, keepdim=True) + 1 - after)  # the words
        found = torch.where(behind >= 0, before + 1 + behind, position.clamp(max=before))
        return found.clamp_min(0), text


def direction(
    x: Float[Tensor, "phrases positions d"], dictionary: Dictionary, alpha: float
) -> Float[Tensor, "positions d"]:
    """What is added to a conditional row at each position."""
    code = ((x - dictionary.b_in) @ dictionary.W_enc + dictionary.b_enc).relu()
    return alpha * (code @ dictionary.W_dec).sum(dim=0)  # (1)


def steering(x: Activation, clock: Clock, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Activation:
    """(2): the rows' roles decide the sign."""
    sign = torch.where(clock.mask("cond"), 1.0, -1.0)[:, None, None]
    added = turned(tensors["steering"], tensors)
    if clock.tokens is not None:
        rows, text = Around(settings["before"], settings["after"]).at(clock.tokens)
        if not text.any():
            return x
        added = added[rows] * text[..., None]
    return (x + sign * added).to(x.dtype)  # (2)


PROGRAM = ActivationProgram(steering, control="turn", tensors=("steering",))
