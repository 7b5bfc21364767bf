"""Co-Erasing: One Image is Worth a Thousand Words: A Usability Preservable Text-Image Collaborative Erasing Framework
(Li et al. 2025, arXiv:2505.11131).

A word covers only a part of what a model can draw of a concept; pictures that the model itself draws of it cover more.
Stage T is ESD on the text. The image stage shows such pictures X to the teacher φ* and to the model in training φ by an
IP-Adapter, which is taken off again at the end. P(v(X)) are an image's raw tokens, e_c the text's embeddings (all
positions), e_∅ the empty text's:
    (1)  r = softmax(P(v(X)) e_cᵀ / √d) e_c        refined: the text's own rows, in a mixture that the image chooses
    (2)  r ← r + noise · U[0, 1)
    (3)  z = G_b(z_t),  z_t part of the way by φ from noise under e_c, without guidance, at its own timestep
    (4)  y = ε_φ*(z; e_∅) − η [ε_φ*(z; e_c, r) − ε_φ*(z; e_∅)]
    (5)  L = mean (ε_φ(z; e_c, r) − y)²
Without refinement r = P(v(X)). Defaults are the published command for nudity. Of the official code (f9b06b0) its slips
are not followed: it samples from the cleanest timestep upwards, so that z_t never shows anything; without an image it
takes the last four positions of the text for one; it normalises pictures with other statistics than the encoder's.
(3) walks by DDIM, with no noise but the first. Outputs are raw ones, of whatever the model predicts, as in `esd`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.esd import ESD, Prompts, texts_of
from workbench.erasure.method import ErasureMethod, Supports
from workbench.fitting.copies import Wanted, add, changes, everything, nothing, own_denoiser
from workbench.fitting.embedding import encoded
from workbench.fitting.footprint import Footprint
from workbench.fitting.memory import SaveMemory, saving_memory
from workbench.fitting.pictures import drawn_seeds, picture_files, read_pictures
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, check
from workbench.fitting.selectors import is_cross_attention, select, wanted
from workbench.fitting.training import train
from workbench.fitting.trajectories import partway
from workbench.knobs import Opens
from workbench.models import Diffusion
from workbench.models.capabilities import CROSS_ATTENTION, NOISE_SCHEDULE
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.image_prompt import Attached, ImagePrompt, Tokens
from workbench.models.images import Images
from workbench.papers import Reference
from workbench.shipped import ADAPTER, adapter_files


def is_outside_cross_attention(name: str) -> bool:
    """All but cross-attention and the embedding of time; the output layers too: "noxattn" as the code has it."""
    return not is_cross_attention(name) and "time_embedding" not in name.split(".")


TRAINED: dict[str, Wanted] = {"full": everything, "noxattn": is_outside_cross_attention}


@dataclass(frozen=True, kw_only=True)
class CoErasing(ErasureMethod):
    """Negative guidance under text and images of the concept. A `WeightEdit` of the denoiser; no adapter stays.

    The images come from the model itself, made of the concept's prompts, or from a folder of pictures of one concept.
    `adapter` is a folder or file in diffusers' IP-Adapter layout, for this very architecture.
    """

    images: Annotated[int, Ge(1), Doc("Of each concept.")] = 200
    folder: Annotated[str, Opens(picture_files), Doc("Take them from here instead.")] = ""
    adapter: Annotated[
        str, Opens(adapter_files), Doc("A folder or file in diffusers' IP-Adapter layout, or the shipped one.")
    ] = ADAPTER
    image_scale: Annotated[float, Doc("s: how much of the image's attention is added to the text's.")] = 1.0
    refine: Annotated[bool, Doc("Mix the text's own rows by the image, as (1), in place of the image's tokens.")] = True
    beside_text: Annotated[bool, Doc("False: the image alone, with the empty text for e_c in (4) and (5).")] = True
    noise: Annotated[float, Ge(0), Doc("Largest noise of (2).")] = 0.0
    blur: Annotated[int, Ge(0), Doc("b of (3), in latent pixels: odd, or 0 for none.")] = 5
    teacher: Annotated[Literal["erased", "clean"], Doc("φ*: the model after stage T, or before it.")] = "erased"
    train: Annotated[Literal["full", "noxattn"], Doc("What the image stage trains.")] = "full"
    negative_guidance: Annotated[float, Doc("η, of both stages.")] = 1.0
    prompts: Annotated[Prompts, Doc("What c is, as in ESD.")] = "name"
    steps: Annotated[int, Ge(1), Doc("K, of a whole trajectory.")] = 50
    text_iterations: Annotated[int, Ge(0), Doc('Of stage T, on "esd-u"; 0 leaves it out.')] = 1000
    iterations: Annotated[int, Ge(1), Doc("Of the image stage.")] = 1500
    lr: Annotated[float, Gt(0), Doc("Adam, constant, of both stages.")] = 1e-5
    save_memory: SaveMemory = False

    name: ClassVar[str] = "co_erasing"
    paper: ClassVar[Reference] = Reference(
        title="One Image is Worth a Thousand Words: A Usability Preservable Text-Image Collaborative Erasing Framework",
        authors="F. Li, Q. Xu, S. Bao, Z. Yang, X. Cao, Q. Huang",
        year=2025,
        arxiv="2505.11131",
        venue="ICML",
    )
    family: ClassVar[str] = "fine-tuning"
    supports: ClassVar[Supports] = Supports({CROSS_ATTENTION, NOISE_SCHEDULE})
    cost: ClassVar[str] = "200 images; some 28 passes an iteration, 2,500 of them; needs an IP-Adapter"
    length: ClassVar[tuple[str, ...]] = ("iterations", "text_iterations")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blur and self.blur % 2 == 0:
            raise WorkbenchError(f"A blur of {self.blur} has no middle.", "Choose an odd number, or 0 for none.")
        if self.refine and not self.beside_text:
            raise WorkbenchError(
                "An image alone has no text to be refined by.", "Set refine to false, or beside_text to true."
            )

    def fit(
        self, model: Diffusion, concepts: Sequence[Concept], *, seed: int = 0, progress: Progress = SILENT
    ) -> WeightEdit:
        """Trains a copy of the denoiser on text, then on text and images.

        Args:
            model: The model; it stays as it is.
            concepts: What to erase, all at once. Pictures of a folder show a single one.
            seed: Decides pictures, latents, timesteps, noise and their order.
            progress: Told of pictures and training steps.

        Returns:
            The change of every parameter that was trained; no adapter stays.

        Raises:
            WorkbenchError: Before any work, for what cannot be trained, read or loaded.
        """
        self.supports.check("Co-Erasing", model, concepts)
        prompter = ImagePrompt.open(self.adapter, model)
        given = self._given(model, concepts, seed)
        check(select(own_denoiser(model, TRAINED[self.train]), TRAINED[self.train]), self.plan)
        subjects = []
        for one in concepts:
            pictures = self._drawn(model, one, seed, progress) if given is None else given
            subjects.append(Subject(texts_of([one], self.prompts), prompter.tokens(pictures)))
        student, names = self._trained(model, concepts, prompter, subjects, seed, progress)
        return WeightEdit(tensors=changes(model, student, names), **self.told(model, concepts, seed))

    @property
    def plan(self) -> Plan:
        """Of the image stage."""
        return Plan(steps=self.iterations, lr=self.lr, weight_decay=0.0)

    def footprint(self, model: Diffusion) -> Footprint:
        """The image stage, which takes more than the text stage: its teacher is a copy of what that one trained."""
        erased = self.text_iterations and self.teacher == "erased"
        held = wanted(self.text_stage.train) if erased else nothing
        return Footprint([1], trained=TRAINED[self.train], held=held, image_prompt=True)

    @property
    def text_stage(self) -> ESD:
        """Stage T."""
        return ESD(
            train="esd-u", negative_guidance=self.negative_guidance, prompts=self.prompts, steps=self.steps,
            iterations=self.text_iterations, lr=self.lr, save_memory=self.save_memory,
        )  # fmt: skip

    def _trained(
        self, model: Diffusion, concepts: Sequence[Concept], prompter: ImagePrompt, subjects: Sequence["Subject"],
        seed: int, progress: Progress,
    ) -> tuple[Diffusion, list[str]]:  # fmt: skip
        """φ after both stages, and the names of all that it learnt. What stage T trains, the image stage does too."""
        learnt = [self.text_stage.fit(model, concepts, seed=seed, progress=progress)] if self.text_iterations else []
        student = after(learnt, model, TRAINED[self.train])
        erased = learnt if self.teacher == "erased" else []
        teacher = after(erased, model, {name for edit in erased for name in edit.names}.__contains__)
        del learnt, erased  # on the CPU, and as large as what stage T trained
        trained = select(student, TRAINED[self.train])
        sums = [float(one.tokens.double().sum()) for one in subjects]
        with (
            prompter.attached(teacher, self.image_scale) as frozen,
            prompter.attached(student, self.image_scale) as own,
        ):
            what = [asdict(self), [one.texts for one in subjects], sums, model.fingerprint]
            player = Player(
                trained, lambda step, generator: self.loss(frozen, own, self.drawn(subjects, generator), generator),
                self.plan,
            )  # fmt: skip
            with saving_memory(model, student, self.save_memory, idle=[prompter.encoder], again=own.again):
                train(player, seed=seed, what=what, progress=progress, label="text and images")
        return student, list(trained)

    def drawn(self, subjects: Sequence["Subject"], generator: torch.Generator) -> "Seen":
        """One text and one image of one concept."""
        subject = subjects[_below(len(subjects), generator)]
        text = subject.texts[_below(len(subject.texts), generator)]
        return Seen(text, subject.tokens[[_below(len(subject.tokens), generator)]])

    def loss(self, teacher: Attached, student: Attached, seen: "Seen", generator: torch.Generator) -> Float[Tensor, ""]:
        """(5) at one latent, drawn by (3)."""
        words, none = encoded(teacher.model, [seen.text]), encoded(teacher.model, [""], role="uncond")
        r = refined(seen.image, words.embeddings[0]) if self.refine else seen.image
        r = r + self.noise * torch.rand(r.shape, generator=generator).to(r)  # (2)
        start = torch.randn(teacher.model.noise([0]).shape, generator=generator)
        k = _below(self.steps, generator)
        z, t = partway(student.model, seen.text, start, k, steps=self.steps)
        z = blurred(z, self.blur)  # (3)
        condition = words if self.beside_text else encoded(teacher.model, [""])
        with torch.no_grad():
            uncond = teacher.noise_prediction(z, t, none, None)
            cond = teacher.noise_prediction(z, t, condition, r)
        answer = student.noise_prediction(z, t, condition, r)
        return (answer - target(cond, uncond, self.negative_guidance).to(answer)).square().mean()  # (5)

    def _given(self, model: Diffusion, concepts: Sequence[Concept], seed: int) -> Images | None:
        """Pictures of the folder, as many as are wanted or there; None without a folder."""
        if not self.folder:
            return None
        if len(concepts) > 1:
            raise WorkbenchError(
                f"A folder of pictures shows one concept, and {len(concepts)} are to be erased.",
                "Erase one at a time, or leave the folder out.",
            )
        pictures = read_pictures(self.folder, model.image_size)
        chosen = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))[: self.images]
        return pictures[chosen.numpy()]

    def _drawn(self, model: Diffusion, concept: Concept, seed: int, progress: Progress) -> Images:
        """Pictures that the model itself makes of the concept's prompts."""
        prompts = concept.prompts()
        seeds = drawn_seeds(self.images, seed)
        return model.generate([prompts[i % len(prompts)] for i in range(self.images)], seeds, progress=progress)


def after(learnt: Sequence[WeightEdit], model: Diffusion, copied: Wanted) -> Diffusion:
    """A handle on the model after stage T, if there was one, with copies of these parameters: of all that T changed."""
    own = own_denoiser(model, copied)
    for edit in learnt:
        add(edit, own)
    return own


class Subject(NamedTuple):
    """A concept in words and in pictures."""

    texts: list[str]
    tokens: Tokens  # raw, one row an image


class Seen(NamedTuple):
    """What one iteration shows."""

    text: str
    image: Tokens  # raw, one row


def refined(image: Tokens, text: Float[Tensor, "positions d"]) -> Tokens:
    """r by (1): each of its rows is a convex combination of the rows of the text."""
    return (image.to(text) @ text.mT / text.shape[1] ** 0.5).softmax(-1) @ text  # (1)


def target(cond: Latents, uncond: Latents, negative_guidance: float) -> Latents:
    """y by (4)."""
    return uncond - negative_guidance * (cond - uncond)  # (4)


def blurred(latents: Latents, kernel: int) -> Latents:
    """G_b: a Gaussian `kernel` wide, of the σ that is usual for this width, with mirrored borders; 0 leaves all as is.

    It lowers the variance of the noise below what the timestep implies: that is how the code does it.
    """
    if kernel == 0:
        return latents
    sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    places = torch.arange(kernel).to(latents) - kernel // 2
    weights = (-(places**2) / (2 * sigma**2)).exp()
    weights = weights / weights.sum()
    channels = latents.shape[1]
    padded = F.pad(latents, (kernel // 2,) * 4, mode="reflect")
    return F.conv2d(padded, torch.outer(weights, weights).expand(channels, 1, -1, -1), groups=channels)


def _below(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator))
