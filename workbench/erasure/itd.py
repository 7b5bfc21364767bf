"""ItD: Sparse Autoencoder as a Zero-Shot Classifier for Concept Erasing in Text-to-Image Diffusion Models (Tian et al.
2025, arXiv:2503.09446), also called Interpret then Deactivate.

A concept is the features that fire on its prompts and not on those that must stay. In prompts that have them, they
are driven to a negative multiple of themselves; how far this moves the stream decides whether a prompt is touched at
all. No weight changes. z is the code of x after one layer, d_f the decoder row of feature f, l = 0 the begin token.
    (1)  F = (∪_{p∈T} Top_m(g(p))) \\ (∪_{r∈R} Top_m(g(r))),   g_f(p) = max_{l ≥ 1} z_{l,f}
    (2)  x′ = x̂ + (s − 1) Σ_{f∈F} z_f d_f    for l ≥ 1
    (3)  δ(p) = mean over tokens l = 1 … first end token, and over channels, of (x′ − x)²
    (4)  τ = 0.99 · min_{p∈T} δ(p)
    (5)  output = x′ if δ(p) ≥ τ, else x, for each prompt as a whole
Where the official code (6e8869a) contradicts itself, this file keeps to the equations: one score (3) and one strength
calibrate and decide; features that do not fire are in no Top_m; δ does not see padding, so it does not depend on the
batch; the begin token stays x, as it is the same in every prompt and carries nothing of any.

On a Janus the site lies in the language model. The edit acts on text alone, in conditional rows and in the one call
that reads the prompt: l runs from the first word to the begin-of-image token, which is the end token. Picture cells
stay as they are, and so does what layers up to the site have read of the words already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from typing_extensions import Doc

from probes.features import contrast, prompt_scores
from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import dictionary_on, open_sae, site_of, strongest
from workbench.activations.positions import Frame, end_token, marked, of_prompt, places
from workbench.activations.reading import Reading, score_prompts
from workbench.concepts import Concept
from workbench.edits import ActivationEdit
from workbench.edits.gates import Decision
from workbench.edits.programs import DICTIONARY, OF_DICTIONARY, ActivationProgram, gated, scaling
from workbench.erasure.method import ErasureMethod, Supports
from workbench.hooks import Activation, Clock, Places, Site
from workbench.knobs import Opens
from workbench.models import Model
from workbench.models.capabilities import FRAMED_PROMPTS
from workbench.papers import Reference
from workbench.shipped import sae_files


@dataclass(frozen=True, kw_only=True)
class ItD(ErasureMethod):
    """Deactivation of a concept's text-encoder features, prompt by prompt. Returns an `ActivationEdit`.

    `sae` is a folder or the name of a shipped SAE at a site that prompts pass; the edit carries a copy of its tensors.
    Concepts fitted together share one threshold; edits of single concepts, composed, keep their own.
    """

    sae: Annotated[
        str,
        Opens(sae_files),
        Doc("A shipped SAE or a folder, at a site of the prompt; the paper's: text.8, 2^19 latents, k 64."),
    ] = "toy/text.2"
    m: Annotated[
        int | None, Ge(1), Doc("Strongest features of a prompt, ≥ 1; None: twice the SAE's k, the paper's 128 for 64.")
    ] = None
    strength: Annotated[float, Doc("s: a feature that fires is multiplied by it; 1 changes nothing.")] = -8.0
    threshold_factor: Annotated[
        float | None, Gt(0), Le(1), Doc("Of the smallest δ; None: touch every prompt, as the paper does for nudity.")
    ] = 0.99
    score_tokens: Annotated[Literal["content", "all"], Doc("all: (3) over padding too, as the code.")] = "content"
    keep_error: Annotated[bool, Doc("(2) with x in place of x̂: what the SAE does not explain stays.")] = False
    synonyms: Annotated[bool, Doc("T with the concepts' synonyms.")] = False

    name: ClassVar[str] = "itd"
    paper: ClassVar[Reference] = Reference(
        title="Sparse Autoencoder as a Zero-Shot Classifier for Concept Erasing in Text-to-Image Diffusion Models",
        authors="Z. Tian, S. Nan, M. Xu, S. Zhai, W. Qu, J. Liu, K. Ren, R. Jia, J. Zhang",
        year=2025,
        arxiv="2503.09446",
    )
    family: ClassVar[str] = "deactivation"
    supports: ClassVar[Supports] = Supports({FRAMED_PROMPTS}, needs=("retain|captions",))
    cost: ClassVar[str] = "seconds; no images; needs an SAE"

    @property
    def seeded(self) -> bool:
        """Nothing is drawn at random."""
        return False

    def fit(
        self, model: Model, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> ActivationEdit:
        """Finds F and τ.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once. They share one threshold.
            seed: Only recorded: nothing is drawn at random.
            progress: Told of each batch of prompts.

        Returns:
            An edit of the SAE's site, with a copy of the SAE's tensors.

        Raises:
            WorkbenchError: For an SAE that fits no text site of the model, and if no feature of the concepts is missing
                from the retained prompts.
        """
        self.supports.check("ItD", model, concepts)
        sae = open_sae(self.sae)
        site, dictionary = site_of(sae, model, "prompt"), dictionary_on(sae, model)
        settings = {**asdict(self), "m": strongest(sae, self.m), **dictionary.settings, "end": end_token(model, site)}
        target, retained = self.prompts(concepts)
        found = _find(model, site, dictionary, target, retained, settings["m"], progress)
        tensors = {**dictionary.tensors, **found._asdict()}
        tensors["tau"] = self._threshold(model, site, tensors, settings, target, progress)
        return ActivationEdit(
            site=site.alias, width=site.channels, program=f"{__name__}:PROGRAM",
            tensors={name: tensor.cpu() for name, tensor in tensors.items()},
            **self.told(model, concepts, seed, settings),
        )  # fmt: skip

    def prompts(self, concepts: Sequence[Concept]) -> "Prompts":
        """T and R over all concepts. What one concept retains and another erases is erased."""
        erased = [word for concept in concepts for word in concept.words()]
        target = [
            prompt
            for concept in concepts
            for prompt in (*concept.prompts(), *(concept.synonym_prompts() if self.synonyms else ()))
        ]
        retained = [prompt for concept in concepts for prompt in concept.retain_prompts(without=erased)]
        if not retained:
            raise WorkbenchError(
                f"All that {', '.join(c.name for c in concepts)} retain is erased as well.",
                "Retain something that is not erased.",
            )
        return Prompts(tuple(dict.fromkeys(target)), tuple(dict.fromkeys(retained)))

    def _threshold(
        self, model: Model, site: Site, tensors: Mapping[str, Tensor], settings: Mapping[str, Any],
        target: Sequence[str], progress: Progress,
    ) -> Float[Tensor, ""]:  # fmt: skip
        if self.threshold_factor is None:
            return torch.tensor(0.0)  # no δ is below it

        def delta(reading: Reading) -> Tensor:
            return deactivated(reading.x, reading.places, tensors, settings).delta.cpu()

        deltas = score_prompts(model, site, target, delta, progress, "threshold", pictures=False)
        return threshold(deltas, self.threshold_factor)


class Prompts(NamedTuple):
    """T and R, each prompt once."""

    target: tuple[str, ...]
    retained: tuple[str, ...]


class Found(NamedTuple):
    """F, and the share of content tokens of T and R on which each feature fires (for controls)."""

    features: Int64[Tensor, " found"]
    density: Float[Tensor, " d_sae"]


class Deactivated(NamedTuple):
    """(2) and (3) of some prompts."""

    x: Float[Tensor, "prompts tokens d"]
    delta: Float[Tensor, " prompts"]


def _find(
    model: Model,
    site: Site,
    dictionary: Dictionary,
    target: Sequence[str],
    retained: Sequence[str],
    m: int,
    progress: Progress,
) -> Found:
    fired, tokens = torch.zeros(dictionary.d_sae), 0

    def score(reading: Reading) -> Tensor:
        nonlocal tokens
        code, content = dictionary.encode(reading.x), reading.content
        firing = code.indices[(code.values > 0) & content[..., None]]
        fired.add_(torch.bincount(firing, minlength=dictionary.d_sae).cpu())
        tokens += int(content.sum())
        return prompt_scores(code, content, dictionary.d_sae).cpu()

    wanted = score_prompts(model, site, target, score, progress, "features of the targets", pictures=False)
    kept = score_prompts(model, site, retained, score, progress, "features of the retained", pictures=False)
    features = contrast(wanted, kept, m)  # (1)
    if not len(features):
        raise WorkbenchError(
            "No feature is strong on the targets and on none of the retained prompts.",
            "Raise m, retain less that is like the target, or use a larger SAE.",
        )
    return Found(features, fired / tokens)


def deactivated(
    x: Float[Tensor, "prompts tokens d"], places: Places, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> Deactivated:
    """x′ of every prompt, whether it is to be touched or not, and the score that decides.

    The features that decide may be others than those that are scaled (`gate_features`): a control that acts on the
    same prompts.
    """
    dictionary = Dictionary.from_tensors(tensors, settings)
    after_begin = of_prompt(places)
    code = dictionary.encode(x)
    rebuilt = x if settings["keep_error"] else torch.where(after_begin[..., None], dictionary.decode(code), x)
    features = tensors["features"]
    new = rebuilt + scaling(dictionary, code, features, after_begin, settings["strength"])  # (2)
    gate = tensors.get("gate_features")
    seen = new if gate is None else rebuilt + scaling(dictionary, code, gate, after_begin, settings["strength"])
    counted = after_begin & marked(places) if settings["score_tokens"] == "content" else after_begin
    return Deactivated(new, prompt_delta(seen, x, counted))


def prompt_delta(
    new: Float[Tensor, "prompts tokens d"],
    x: Float[Tensor, "prompts tokens d"],
    counted: Bool[Tensor, "prompts tokens"],
) -> Float[Tensor, " prompts"]:
    """The mean squared change over the counted tokens and all channels."""
    by_token = (new - x).square().mean(dim=-1)
    return (by_token * counted).sum(dim=1) / counted.sum(dim=1)  # (3)


def threshold(deltas: Float[Tensor, " prompts"], factor: float) -> Float[Tensor, ""]:
    """Just below the smallest score of a prompt that must be touched."""
    return factor * deltas.min()  # (4)


def decision(
    x: Activation, clock: Clock, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> Decision | None:
    """(5) on the conditional rows: x′, δ and τ; None in calls that read no prompt. All others keep their very bits, and
    so do prompts below τ."""
    rows = clock.mask("cond").nonzero().flatten()
    found = places(clock, x.shape[1], Frame(settings["end"]))[rows]
    if not of_prompt(found).any():
        return None
    new, delta = deactivated(x[rows].to(tensors["W_dec"].dtype), found, tensors, settings)
    return Decision(rows, new, delta, tensors["tau"])  # (5)


PROGRAM = ActivationProgram(
    gated(decision),
    tensors=(*DICTIONARY, "features", "tau"),
    settings=(*OF_DICTIONARY, "strength", "keep_error", "score_tokens", "end"),
    decide=decision,
)
