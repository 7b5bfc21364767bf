"""When does a picture decide? The image head of a Janus at every layer, for each cell of the picture.

The logit lens (nostalgebraist 2020; equations in `probes.logit_lens`) on pictures: while the model reads the tokens of
a picture that it has drawn, the hidden state after each layer at the position that predicts a cell is given to the
final norm and the image head. With guidance g the prediction that sampling follows is, at every layer,
    (1)  z = z_u + g (z_c − z_u)          c: the row of the prompt, u: the row without it
and `reads` says which of z, z_c and z_u is meant. What a layer would have drawn is
    (2)  argmax_v z_v + τ G_v             with the picture's own noise G, so that the last layer draws the picture
Every cell is asked about with the true tokens before it. Two controls of the same size say what agreement is worth: the
same cell of the picture of another prompt (what is likely there whatever the prompt and the picture so far), and
another cell of the same picture (what is likely anywhere in it). A layer that agrees no better than these has not
decided. An early layer may know what the head cannot read yet: the lens gives a lower bound.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from probes.logit_lens import agreement, decided_at
from probes.statistics import bootstrap_means, middle_95
from saes.errors import WorkbenchError, unknown_name
from saes.progress import SILENT, Progress
from workbench.interpret.attribution.readout import Logits, Readout
from workbench.models import Model
from workbench.models.janus.choosing import Sampling, taken
from workbench.models.janus.model import as_janus
from workbench.models.requests import pair
from workbench.settings import settled

Reads = Literal["guided", "cond", "uncond"]
READS: tuple[str, ...] = get_args(Reads)
SOURCES = ("own", "other_picture", "other_cell")
MEASURES = ("kl", "probability", "rank", "same")
BATCH = 4  # pictures whose hidden states are held at once, each with its control
UNLIKE = 1e-2  # of the final logits' spread: more than rounding

Values = Float[np.ndarray, "pictures layers cells"]


class LogitLens(NamedTuple):
    """What each layer says of each cell.

    Args:
        prompts: Of the pictures.
        reads: Which rows were read, one of `READS`.
        sites: What was read: the input of the first layer (`lm.in`), and the residual stream after each.
        images: The pictures as they were drawn, uint8 `[pictures, h, w, 3]`.
        drawn: What each layer would have drawn in their place (2), uint8 `[pictures, layers, h, w, 3]`.
        values: By source (`SOURCES`: the layer itself, or a control) and measure (`MEASURES`) an array `[pictures,
            layers, cells]`: `kl` to the final prediction in nats, `probability` and `rank` (1: best) of the token that
            was drawn, `same`, whether the layer would have drawn it too.
    """

    prompts: tuple[str, ...]
    reads: str
    sites: tuple[str, ...]
    images: UInt8[np.ndarray, "pictures h w 3"]
    drawn: UInt8[np.ndarray, "pictures layers h w 3"]
    values: Mapping[tuple[str, str], Any]

    @property
    def decided(self) -> Float[np.ndarray, "pictures cells"]:
        """The number of the first site from which on all would have drawn the cell's own token; the number of sites
        where none would, as may be for rows that sampling does not follow."""
        return decided_at(torch.from_numpy(self.values["own", "same"])).double().numpy()

    def by_layer(self) -> pd.DataFrame:
        """Means over cells and pictures.

        Returns:
            A row for each site and measure: value, low, high (95 %, bootstrap over prompts), and the same measure of
            the two controls, other_picture and other_cell. The mean of ranks is the geometric one.
        """
        prompts = np.array([list(dict.fromkeys(self.prompts)).index(prompt) for prompt in self.prompts])
        rows = []
        for measure in MEASURES:
            logs = measure == "rank"
            means = {source: np.log(own) if logs else own for (source, name), own in self.values.items()
                     if name == measure}  # fmt: skip
            for layer, site in enumerate(self.sites):
                own = {source: array[:, layer].mean(axis=1).astype(float) for source, array in means.items()}
                found = (own["own"].mean(), *middle_95(bootstrap_means(own["own"], prompts)),
                         own["other_picture"].mean(), own["other_cell"].mean())  # fmt: skip
                rows.append((site, measure, *(np.exp(found) if logs else found)))
        return pd.DataFrame(rows, columns=["site", "measure", "value", "low", "high", *SOURCES[1:]])


@torch.no_grad()
def logit_lens(
    model: Model,
    prompts: str | Sequence[str],
    seeds: int | Sequence[int],
    *,
    reads: str = "guided",
    seed: int = 0,
    progress: Progress = SILENT,
    **sampling: Any,
) -> LogitLens:
    """Draws pictures as `model.generate` does and asks the image head about every layer and cell of them.

    Inside `model.edited(…)` both the drawing and the reading are the edited model's.

    Args:
        model: A Janus.
        prompts: One for all seeds, or one for each; at least two that differ, for the control.
        seeds: As for `model.generate`.
        reads: "guided": the prediction that sampling follows (1); "cond", "uncond": that of one row alone.
        seed: Chooses the cells of the second control.
        progress: Shows the batches.
        sampling: Further arguments of `model.generate`.

    Returns:
        The lens. Its arrays take 48 bytes for each picture, layer and cell.

    Raises:
        WorkbenchError: The model is no Janus, all prompts are one, `reads` is unknown, or an edit changes what the head
            reads behind the last layer.
    """
    janus = as_janus(model, "The logit lens")
    if reads not in READS:
        raise unknown_name("prediction to read", reads, READS)
    requests = pair(prompts, seeds)
    texts = [one.prompt for one in requests]
    if len(set(texts)) < 2:
        raise WorkbenchError("The lens has no control: all prompts are one.", "Give at least two that differ.")
    settings = Sampling(**settled(model.settings, sampling))
    codes = janus.sample_codes(texts, [one.seed for one in requests], **settings._asdict())
    look = Readout(janus, settings, reads)
    cells = torch.randint(1, codes.shape[1], (len(codes),), generator=torch.Generator().manual_seed(seed))
    found: list[dict[tuple[str, str], Tensor]] = []
    drawn: list[Tensor] = []
    for start in progress(range(0, len(codes), BATCH), "lens"):
        own = list(range(start, min(start + BATCH, len(codes))))
        other = [_partner(texts, row) for row in own]
        layers, elsewhere = (look.layers(codes[rows], [texts[row] for row in rows]) for rows in (own, other))
        final = look.final(codes[own], [texts[row] for row in own])
        noise = look.noise([requests[row].seed for row in own], final)
        steps: list[dict[tuple[str, str], Tensor]] = []
        tokens: list[Tensor] = []
        for z, z_other in zip(layers, elsewhere, strict=True):
            z_cell = torch.stack([one.roll(int(by), 0) for one, by in zip(z, cells[own], strict=True)])
            of = dict(zip(SOURCES, (z, z_other, z_cell), strict=True))
            steps.append(_measured(of, final, codes[own].to(z.device), settings, noise))
            tokens.append(taken(z, settings, noise).cpu())
        _check_last(z, final)
        found.append({key: torch.stack([one[key] for one in steps], dim=1) for key in steps[0]})
        drawn.append(torch.stack(tokens, dim=1))
    every = torch.cat(drawn)
    pictures = janus.pictures(every.flatten(0, 1))
    return LogitLens(
        tuple(texts), reads, tuple(look.sites), janus.pictures(codes),
        pictures.reshape(*every.shape[:2], *pictures.shape[1:]),
        {key: torch.cat([one[key] for one in found]).numpy() for key in found[0]},
    )  # fmt: skip


def _measured(
    of: Mapping[str, Logits],
    final: Logits,
    token: Int64[Tensor, "rows cells"],
    sampling: Sampling,
    noise: Logits | None,
) -> dict[tuple[str, str], Tensor]:
    """Every measure of every source, `[rows, cells]` on the CPU."""
    found = {}
    for source, z in of.items():
        same = (taken(z, sampling, noise) == token).float()
        for measure, value in zip(MEASURES, (*agreement(z, final, token), same), strict=True):
            found[source, measure] = value.cpu()
    return found


def _partner(prompts: Sequence[str], row: int) -> int:
    """The next row that has another prompt."""
    after = [*range(row + 1, len(prompts)), *range(row)]
    return next(other for other in after if prompts[other] != prompts[row])


def _check_last(last: Logits, final: Logits) -> None:
    if (last - final).abs().max() > UNLIKE * final.std():
        raise WorkbenchError(
            "An edit changes what the image head reads behind the last layer, so no layer ends in the prediction.",
            "Look through the lens without this edit.",
        )
