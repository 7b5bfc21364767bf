"""Detect and replace: an SAE decides which prompts show a concept, and real activations of its anchor take its place.
There is no paper.

An SAE is known to detect better than it edits: driven features leave the stream where no prompt has put it. Here ItD
(arXiv:2503.09446, in `itd.py`) decides, and what it would have driven away is replaced by what the text encoder makes
of the anchor. g_l is the activity of ItD's features F at position l, δ and τ are ItD's (3) and (4), and ρ(l) is what a
position is: a word, the end of the prompt, or the padding at l.
    (1)  prompt p is touched if δ(p) ≥ τ, and at its positions l ≥ 1 with g_l = Σ_{f∈F} z_{l,f} > 0
    (2)  x′_l = ā_{ρ(l)}                         "activation": the anchor as it is
    (3)  x′_l = x_l + ā_{ρ(l)} − c̄_{ρ(l)}        "difference": what else the prompt says is kept
ā and c̄ are means over the prompts of the anchor and of the concept, template by template: for words at the last token
of the anchor's or concept's own name, for the end at the first end token, for padding at the same position l.

On a Janus it acts where ItD does: on text alone, in conditional rows, in the one call that reads the prompt. What a
chat template puts behind the words takes the place of padding, each of its tokens for itself. Picture cells stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from typing_extensions import Doc

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.positions import Frame, of_prompt, places, tokenizer_of
from workbench.activations.reading import Held, held
from workbench.concepts import Concept
from workbench.edits import ActivationEdit, ComposedEdit, Edit
from workbench.edits.gates import Decision
from workbench.edits.programs import ActivationProgram, gated, turned
from workbench.erasure import itd
from workbench.erasure.itd import ItD
from workbench.erasure.method import ErasureMethod, Supports
from workbench.hooks import Activation, Clock, Place, Places, Site
from workbench.knobs import Opens
from workbench.models import Janus, Model
from workbench.models.capabilities import FRAMED_PROMPTS
from workbench.papers import Reference
from workbench.shipped import sae_files

WORD, END, TAIL = 0, 1, 2  # rows of the tables of means; what is behind the words follows from row TAIL on


@dataclass(frozen=True, kw_only=True)
class DetectReplace(ErasureMethod):
    """The SAE decides, the anchor's activation replaces. Returns an `ActivationEdit`, for several concepts composed.

    `sae`, `m`, `synonyms` and `threshold_factor` are ItD's, and the prompts that are touched are the same. Where the
    anchor of a concept is erased as well, the anchor's own anchor takes its place.
    """

    sae: Annotated[
        str,
        Opens(sae_files),
        Doc("A shipped SAE or a folder, at a site of the prompt; ItD's: text.8, 2^19 latents, k 64."),
    ] = "toy/text.2"
    m: Annotated[int | None, Ge(1), Doc("Strongest features of a prompt, as in ItD.")] = None
    synonyms: Annotated[bool, Doc("The concepts' synonyms calibrate too.")] = False
    threshold_factor: Annotated[float | None, Gt(0), Le(1), Doc("As in ItD; None: touch every prompt.")] = 0.99
    by: Annotated[Literal["activation", "difference"], Doc("Put (2), or added as a difference (3).")] = "difference"

    name: ClassVar[str] = "detect_replace"
    paper: ClassVar[Reference | None] = None
    family: ClassVar[str] = "deactivation"
    supports: ClassVar[Supports] = Supports({FRAMED_PROMPTS}, needs=("anchor", "retain|captions"))
    cost: ClassVar[str] = "seconds; no images; needs an SAE"

    def detector(self) -> ItD:
        """The method that decides."""
        return ItD(sae=self.sae, m=self.m, synonyms=self.synonyms, threshold_factor=self.threshold_factor)

    @property
    def seeded(self) -> bool:
        """Nothing is drawn at random."""
        return False

    def fit(self, model: Model, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT) -> Edit:
        """Fits one edit for each concept, all on the model as it is.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase; each with an anchor and something to retain.
            seed: Only recorded: nothing is drawn at random.
            progress: Told of each batch of prompts.

        Returns:
            The edit of a single concept, or those of several composed.

        Raises:
            WorkbenchError: As ItD, and for concepts that are each other's anchors.
        """
        self.supports.check("DetectReplace", model, concepts)
        anchors = standing_anchors(concepts)
        erased = [word for concept in concepts for word in concept.words()]
        edits = []
        for concept in concepts:
            kept = [word for word in concept.retain if word.casefold() not in {each.casefold() for each in erased}]
            alone = replace(concept, anchor=anchors[concept.name], retain=kept, captions=concept.kept_captions(erased))
            edits.append(self._fit_one(model, alone, seed, progress))
        return edits[0] if len(edits) == 1 else ComposedEdit(edits)

    def _fit_one(self, model: Model, concept: Concept, seed: int, progress: Progress) -> ActivationEdit:
        found = self.detector().fit(model, [concept], seed=seed, progress=progress)
        site = model.site(found.site)
        means = {"anchor": role_means(model, site, concept.anchor_prompts(), concept.anchor)}
        if self.by == "difference":
            means["own"] = role_means(model, site, concept.prompts(), concept.name)
        tensors = {**found.tensors, **{name: tensor.cpu() for name, tensor in means.items()}}
        settings = {**found.settings, **asdict(self), "m": found.settings["m"]}
        return replace(
            found, program=f"{__name__}:PROGRAM", method="detect_replace", tensors=tensors, settings=settings
        )


def standing_anchors(concepts: Sequence[Concept]) -> dict[str, str]:
    """An anchor for each concept that is not erased itself: along the anchors of the erased, to the first that stands.

    Raises `WorkbenchError` if they lead in a circle.
    """
    own = {word.casefold(): concept for concept in concepts for word in concept.words()}
    standing = {}
    for concept in concepts:
        anchor, passed = concept.anchor, {concept.name}
        while (erased := own.get(anchor.casefold())) is not None:
            if erased.name in passed:
                raise WorkbenchError(
                    f"The anchors of {', '.join(sorted(passed))} lead back to one of them, and all are erased.",
                    "Give one of them an anchor that stays.",
                )
            passed.add(erased.name)
            anchor = erased.anchor
        standing[concept.name] = anchor
    return standing


def role_means(model: Model, site: Site, prompts: Sequence[str], word: str) -> Float[Tensor, "roles d"]:
    """The mean activation at the word's last token, at the first end token, and at each position of what follows.

    A position that is padding in no prompt takes the nearest that is.
    """
    seen = held(model, site, prompts)
    x, (tail, number) = seen.x, tail_of(seen.places)
    last = _word_ends(model, site, prompts, seen, word)
    end = x[seen.places == Place.END].mean(dim=0)
    return torch.stack([x[torch.arange(len(x)), last].mean(dim=0), end, *_tail_means(x, tail, number)])


class Tail(NamedTuple):
    """Which positions follow a prompt's words besides the end token, and their numbers there."""

    there: Bool[Tensor, "prompts positions"]
    number: Int64[Tensor, "prompts positions"]


def tail_of(places: Places) -> Tail:
    """Padding, numbered by its position; or what a chat template puts behind the words, numbered back from the end."""
    position = torch.arange(places.shape[1], device=places.device).expand(places.shape)
    template = (places == Place.TEMPLATE) & of_prompt(places)
    back = (places == Place.END).int().argmax(dim=1, keepdim=True) - position
    return Tail(template | (places == Place.PADDING), torch.where(template, back, position))


def _tail_means(
    x: Float[Tensor, "prompts positions d"],
    tail: Bool[Tensor, "prompts positions"],
    number: Int64[Tensor, "prompts positions"],
) -> Float[Tensor, "positions d"]:
    counts = torch.zeros(x.shape[1], device=x.device).index_add(0, number[tail], torch.ones_like(number[tail]).float())
    sums = torch.zeros(x.shape[1:], device=x.device, dtype=x.dtype).index_add(0, number[tail], x[tail])
    means, first = sums / counts.clamp(min=1)[:, None].to(x), int((counts > 0).int().argmax())
    return torch.cat([means[first].expand(first, -1), means[first:]])


def _word_ends(model: Model, site: Site, prompts: Sequence[str], seen: Held, word: str) -> Int64[Tensor, " prompts"]:
    """Where the word's last token stands in each prompt."""
    if isinstance(model, Janus):
        ends = [next(reversed(model.architecture.word_positions(prompt, word)), None) for prompt in prompts]
        starts = (seen.places != Place.ABSENT).int().argmax(dim=1)
        return starts + torch.tensor([_there(end, word) for end in ends], device=starts.device)
    wanted = tokenizer_of(model, site)(word, add_special_tokens=False).input_ids
    own = seen.places != Place.PADDING
    rows = [ids[kept].tolist() for ids, kept in zip(seen.token_ids, own, strict=True)]
    return torch.tensor([_there(_last_match(ids, wanted), word) for ids in rows], device=seen.x.device)


def _last_match(ids: list[int], wanted: list[int]) -> int | None:
    starts = [at for at in range(len(ids) - len(wanted) + 1) if ids[at : at + len(wanted)] == wanted]
    return starts[-1] + len(wanted) - 1 if starts and wanted else None


def _there(end: int | None, word: str) -> int:
    if end is None:
        raise WorkbenchError(f"The tokens of {word!r} are not in all of its prompts.", "Use templates that name it.")
    return end


def roles_of(places: Places) -> Int64[Tensor, "prompts tokens"]:
    """The row of the means that belongs to each position; those of no prompt count as words and are never replaced."""
    tail = tail_of(places)
    roles = torch.where(tail.there, tail.number + TAIL, WORD)
    return torch.where(places == Place.END, END, roles)


def replaced(
    x: Float[Tensor, "prompts tokens d"], places: Places, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> Float[Tensor, "prompts tokens d"]:
    """x′ of every prompt, whether it is to be touched or not."""
    dictionary = Dictionary.from_tensors(tensors, settings)
    code = dictionary.encode(x)
    fires = (torch.isin(code.indices, tensors["features"]) & (code.values > 0)).any(dim=-1)  # (1)
    fires &= of_prompt(places)
    roles = roles_of(places)
    origin = tensors["own"][roles] if settings["by"] == "difference" else x
    change = tensors["anchor"][roles] - origin  # (2), (3)
    return x + fires[..., None] * turned(change, tensors)


def decision(
    x: Activation, clock: Clock, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> Decision | None:
    """(1) on the conditional rows; all others, and prompts below the threshold, keep their very bits."""
    seen = itd.decision(x, clock, tensors, settings)
    if seen is None:
        return None
    found = places(clock, x.shape[1], Frame(settings["end"]))[seen.rows]
    changed = replaced(x[seen.rows].to(tensors["W_dec"].dtype), found, tensors, settings)
    return seen._replace(changed=changed)  # (1)


PROGRAM = ActivationProgram(
    gated(decision),
    control="turn",
    tensors=(*itd.PROGRAM.tensors, "anchor"),
    settings=(*itd.PROGRAM.settings, "by"),
    decide=decision,
)
