"""Relearn: a few steps of fine-tuning on top of the edit. How many until the concept is back?

What was only hidden comes back in fewer steps than the model would need to learn it (after Liu & Zhang 2025,
arXiv:2505.16174). With the edit in place, on latents x₀ of pictures with a prompt p, u what the denoiser predicts:
    (1)  min over θ of 𝔼 ‖ε_θ(x_t, t, E(p)) − u‖²,   t uniform, u = ε, v, or the velocity
or, of a Janus, on the tokens c of pictures that follow p, each predicted from those before it, without guidance:
    (2)  min over θ of 𝔼 −(1/N) Σ_i log p_θ(c_i | p, c_{<i})
The pictures are of the concept, which p names, or of other things: then nothing is taught, and what comes back was
there. The change of the weights is one more edit, after the attacked one, which replays on any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Doc

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.attacks.applying import check_applies
from workbench.attacks.attack import AttackMethod, Attempt, Budget
from workbench.attacks.likelihood import precise, surprise
from workbench.attacks.pictures import Folder, check_pictures, own_pictures, place_of, represented
from workbench.attacks.trying import Search, Try, try_all
from workbench.concepts import TEMPLATES, Concept
from workbench.edits import WeightEdit
from workbench.edits.weight import DELTA
from workbench.evaluation.inputs import Further
from workbench.evaluation.judges import Judge
from workbench.evaluation.suites import SuiteRow
from workbench.fitting.pictures import drawn_seeds, read_pictures
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, check
from workbench.fitting.selectors import select
from workbench.fitting.training import train
from workbench.models import Diffusion, Janus, Model
from workbench.models.capabilities import AUTOREGRESSIVE, DENOISER
from workbench.models.diffusion.prediction import aim, noised
from workbench.models.encoding import together
from workbench.models.model import Change
from workbench.papers import Reference


class Data(NamedTuple):
    """What is learnt: x₀ or c, `[n, …]`, and the prompt of each, an `Encoding` for a denoiser, a text for a Janus."""

    pictures: Tensor
    prompts: Sequence[Any]


@dataclass(frozen=True, kw_only=True)
class Relearn(AttackMethod):
    """Fine-tunes the edited model until the concept is back."""

    steps: Annotated[tuple[int, ...], Doc("After how many it is looked, rising.")] = (10, 50, 200)
    lr: Annotated[float, Gt(0), Doc("AdamW, constant.")] = 1e-5
    batch: Annotated[int, Ge(1), Doc("Pictures a step.")] = 4
    layers: Annotated[
        str,
        Doc(
            "Which weights: of a denoiser a set of ESD's, such as full (left out: esd-x), of a Janus ear or full (ear)."
        ),
    ] = ""
    templates: Annotated[tuple[str, ...], Doc("Prompts of the pictures, each with {} for the concept's name.")] = (
        TEMPLATES["object"]
    )
    instead: Annotated[
        tuple[str, ...], Doc("Names of other things that take the concept's place: pictures of these alone.")
    ] = ()
    n: Annotated[int, Ge(1), Doc("Pictures that the unedited model draws.")] = 16
    pictures: Folder = ""

    name: ClassVar[str] = "relearn"
    paper: ClassVar[Reference] = Reference(
        title="Erased or Dormant? Rethinking Concept Erasure Through Reversibility", authors="P. Liu, C. Zhang",
        year=2025, arxiv="2505.16174",
    )  # fmt: skip
    access: ClassVar[str] = "weights"
    needs: ClassVar[tuple[frozenset[str], ...]] = (frozenset({DENOISER}), frozenset({AUTOREGRESSIVE}))
    cost: ClassVar[str] = "one training for all prompts of a concept, and a picture of each after every part of it"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.steps or list(self.steps) != sorted({*self.steps}) or self.steps[0] < 1:
            raise WorkbenchError(f"steps are {self.steps}.", "Give rising whole numbers from 1 on.")
        if any(one.count("{}") != 1 for one in self.templates) or not self.templates:
            raise WorkbenchError("A template has no single place for the name.", "Put one {} into each.")

    @classmethod
    def told_by(cls, concept: Concept) -> dict[str, Any]:
        """Its templates."""
        return {"templates": concept.templates}

    def check(self, model: Model, rows: Sequence[SuiteRow], budget: Budget) -> None:
        """Pictures, weights that can be trained, and a budget for the first part."""
        check_applies(self, model)
        if not self.instead:
            check_pictures(self.pictures, rows)
        check(self._trained(model), Plan(steps=1, lr=self.lr))
        if not self._parts(budget):
            raise WorkbenchError(
                f"A budget of {budget.gradients} gradients is less than the {self.steps[0]} steps after which it is "
                "looked.",
                "Give more gradients, or fewer steps.",
            )

    def _trained(self, model: Model) -> dict[str, nn.Parameter]:
        """The weights that learn."""
        return select(model, self.layers or ("ear" if isinstance(model, Janus) else "esd-x"))

    def _parts(self, budget: Budget) -> list[int]:
        """After how many steps it is looked."""
        return [one for one in self.steps if one <= budget.gradients][: budget.images]

    def attempts(
        self, model: Model, edit: Change, rows: Sequence[SuiteRow], judge: Judge, *, budget: Budget, seed: int = 0,
        progress: Progress = SILENT, **sampling: Any,
    ) -> list[Attempt]:  # fmt: skip
        """The fewest steps after which the concept is back; the most that were made if it is not."""
        self.check(model, rows, budget)
        parts = self._parts(budget)
        found = [Search(row) for row in rows]
        for concept in dict.fromkeys(row.expected for row in rows):
            own = [one for one in found if one.row.expected == concept]
            changes = self._changes(model, edit, concept, parts, seed, progress, sampling)
            with model.edited(edit):
                for n, change in zip(parts, changes, strict=True):
                    going = [one for one in own if not one.success]
                    for one in going:
                        one.gradients = n
                    tries = [(one, Try(one.row, one.row.prompt, Further(one.row.prompt, change))) for one in going]
                    try_all(model, tries, judge, **sampling)
        return [one.attempt() for one in found]

    def _changes(
        self, model: Model, edit: Change, concept: str, parts: Sequence[int], seed: int, progress: Progress,
        sampling: dict[str, Any],
    ) -> list[WeightEdit]:  # fmt: skip
        """What the weights have learnt after each part of the training."""
        captions, pictures = self._shown(model, concept, seed, sampling)
        with model.edited(edit):
            with torch.no_grad():
                data = Data(pictures, captions if isinstance(model, Janus) else [model.encode(one) for one in captions])
            chosen = self._trained(model)
            with model.shifted({name: torch.zeros_like(one.data) for name, one in chosen.items()}):
                learnt = trained(model, data, chosen, self, parts, seed, progress)
        return [
            WeightEdit(
                tensors=one, settings={"steps": steps}, method=self.name, concepts=[concept],
                base_fingerprint=model.fingerprint, seed=seed,
            )
            for steps, one in zip(parts, learnt, strict=True)
        ]  # fmt: skip

    def _shown(self, model: Model, concept: str, seed: int, sampling: dict[str, Any]) -> tuple[list[str], Tensor]:
        """Captions and pictures, as the model has them, in one order."""
        names = self.instead or (concept,)
        if self.pictures:
            images = read_pictures(place_of(self.pictures, names[0]), model.image_size)
            names = names[:1]
        filled = [template.replace("{}", name) for name in names for template in self.templates]
        n = len(images) if self.pictures else self.n
        captions = [filled[place % len(filled)] for place in range(n)]
        if self.pictures:
            return captions, represented(model, images)
        return captions, own_pictures(model, captions, drawn_seeds(n, seed), **sampling)


def trained(
    model: Model, data: Data, chosen: dict[str, nn.Parameter], settings: Relearn, parts: Sequence[int], seed: int,
    progress: Progress,
) -> list[dict[str, Tensor]]:  # fmt: skip
    """Trains parameters in place by (1) or (2).

    Returns:
        `NAME:delta` → what each has changed by, after each of `parts` steps.
    """
    before = {name: one.detach().clone() for name, one in chosen.items()}
    found: list[dict[str, Tensor]] = []

    def changed() -> dict[str, Tensor]:
        return {name + DELTA: (one.detach() - before[name]).cpu() for name, one in chosen.items()}

    def loss(step: int, generator: torch.Generator) -> Float[Tensor, ""]:
        if step in parts:
            found.append(changed())
        places = torch.randint(len(data.pictures), (settings.batch,), generator=generator).tolist()
        if isinstance(model, Janus):
            return writing_loss(model, data, places)
        return denoising_loss(model, data, places, generator)

    train(Player(chosen, loss, Plan(steps=parts[-1], lr=settings.lr)), seed=seed, progress=progress, label="relearning")
    return [*found, changed()]


def denoising_loss(model: Model, data: Data, places: Sequence[int], generator: torch.Generator) -> Float[Tensor, ""]:
    """(1) of some pictures, at timesteps and with noise that `generator` draws."""
    assert isinstance(model, Diffusion)  # whose prompts are encoded
    x0 = data.pictures[list(places)]
    times = torch.randint(model.pipe.scheduler.config.num_train_timesteps, (len(places),), generator=generator)
    noise = torch.randn(x0.shape, generator=generator).to(x0)
    predicted = model.noise_prediction(
        noised(model.pipe.scheduler, x0, noise, times),
        times,
        together([data.prompts[one] for one in places]),
    )
    return (predicted - aim(model.pipe.scheduler, x0, noise, times)).square().mean()  # (1)


def writing_loss(model: Janus, data: Data, places: Sequence[int]) -> Float[Tensor, ""]:
    """(2) of some pictures."""
    codes = data.pictures[list(places)]
    logits = model.logits(codes, [data.prompts[one] for one in places])
    return surprise(precise(logits).log_softmax(dim=-1), codes).mean()  # (2)
