"""Features → output: what each feature of an SAE adds to a number that the model's output gives (a `Lens`).

With α_f the strength of feature f (1 as it is, 0 ablated) and y the lens:
    (1)  ablation     E_f = y(1) − y(α_f = 0)
    (2)  gradient     E_f ≈ ∂y/∂α_f at α = 1          = Σ over positions of z_f ∂y/∂z_f, gradient × activation
    (3)  integrated   E_f ≈ ∫₀¹ ∂y/∂α_f (α = s, all chosen features together) ds      (Sundararajan et al. 2017,
         arXiv:1703.01365, from "none of them" to "all as they are"; their sum is y(1) − y(0))
(2) costs one backward pass for all features and (3) as many as `points`; (1) is the truth and costs a run for each.
(3) shares out what all features do together, so it may rank them otherwise than (1), which takes out one at a time;
`benchmarks/attribution.py` measures how far.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from saes.dictionary import Code, Dictionary
from saes.errors import WorkbenchError, check_at_least, unknown_name
from saes.files import SAE
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import check_features, check_origin, dictionary_on, open_sae, site_of
from workbench.activations.positions import Frame, places
from workbench.edits.interventions import ablation
from workbench.hooks import Activation, Clock, Place, SiteEdit
from workbench.interpret.attribution.lens import Lens
from workbench.models import Model

HOWS = ("ablation", "gradient", "integrated")
POINTS = 8  # of the integral (3)


def feature_effects(
    model: Model,
    sae: SAE | str | Path,
    features: Sequence[int],
    lens: Lens,
    *,
    how: str = "ablation",
    points: int = POINTS,
    progress: Progress = SILENT,
) -> Float[Tensor, "rows features"]:
    """What each feature adds to each row of the lens: positive where the lens falls without it. On the CPU.

    `how` is one of `HOWS`. All three count what `ablation` takes out: conditional rows, in a prompt all tokens but the
    begin token. Raises `WorkbenchError` for features that the SAE lacks, an SAE of another model, and a lens that does
    not depend on the SAE's site.
    """
    if how not in HOWS:
        raise unknown_name("way to find effects", how, HOWS)
    opened = open_sae(sae)
    check_origin(opened, model)
    check_at_least(1, points=points)
    each = check_features(opened, features)
    columns = [each.index(int(feature)) for feature in features]  # one that is named twice has its one effect twice
    if how == "ablation":
        return _ablated(model, opened, each, lens, progress)[:, columns]
    strengths = [1.0] if how == "gradient" else [(point + 0.5) / points for point in range(points)]
    slopes = [_slope(model, opened, each, lens, strength) for strength in progress(strengths, f"effects, {how}")]
    return torch.stack(slopes).mean(dim=0)[:, columns]  # (2), (3) by the midpoint rule


@torch.no_grad()
def _ablated(
    model: Model, sae: SAE, features: Sequence[int], lens: Lens, progress: Progress
) -> Float[Tensor, "rows features"]:
    whole, without = lens(), []
    for feature in progress(features, "effects, ablation"):
        with model.edited(ablation(model, sae, [feature])):
            without.append(lens())
    return (whole[:, None] - torch.stack(without, dim=1)).cpu()  # (1)


def _slope(
    model: Model, sae: SAE, features: Sequence[int], lens: Lens, strength: float
) -> Float[Tensor, "rows features"]:
    """∂y/∂α of each row where all chosen features have this strength."""
    scaled = Scaled(dictionary_on(sae, model), features, strength)
    with torch.enable_grad(), model.session(edits=[SiteEdit(site_of(sae, model), scaled)]):
        y = lens()
    if scaled.alpha is None or not y.requires_grad:  # the session has told already if the site was passed over
        raise WorkbenchError(
            f"The lens does not depend on {sae.cfg.metadata.hook_name!r}.",
            "Use a lens that runs this component, without torch.no_grad.",
        )
    (slopes,) = torch.autograd.grad(y.sum(), scaled.alpha)
    return slopes.cpu()


class Scaled:
    """A transform that gives chosen features a strength `alpha` `[rows, features]` which gradients reach.

    At strength 1 it changes nothing. It serves one lens: every call has the same conditional rows.
    """

    def __init__(self, dictionary: Dictionary, features: Sequence[int], strength: float) -> None:
        self.alpha: Tensor | None = None
        self._dictionary = dictionary
        self._features = torch.tensor(list(features), device=dictionary.W_dec.device)
        self._strength = strength

    def __call__(self, x: Activation, clock: Clock) -> Activation:
        rows = clock.mask("cond")
        chosen = x[rows].to(self._dictionary.W_dec.dtype)
        if self.alpha is None:
            shape = (len(chosen), len(self._features))
            self.alpha = torch.full(shape, self._strength, dtype=chosen.dtype, device=x.device, requires_grad=True)
        gain = torch.zeros(len(chosen), self._dictionary.d_sae, dtype=chosen.dtype, device=x.device)
        gain = gain.index_add(1, self._features, self.alpha - 1)
        with torch.no_grad():  # what fires is what it is: only its strength is asked about
            code = self._dictionary.encode(chosen)
        own = gain[:, None].expand(-1, x.shape[1], -1).gather(2, code.indices) * code.values
        touched = places(clock, x.shape[1], Frame())[rows] != Place.BEGIN  # as `ablation`
        added = self._dictionary.directions(Code(own * touched[..., None], code.indices))
        changed = x.clone()
        changed[rows] = (chosen + added).to(x.dtype)
        return changed
