"""Passes of the prompts past the sites of autoencoders, a batch at a time: one for prompts, one for pictures.

All text sites share one encoding of the prompts, and all others the making of one set of pictures. A pass may be left
at any batch, and what it has seen until then is a cache of the prompts that it has seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from saes.files import SAE
from workbench.activations.autoencoders import check_origin, dictionary_on, open_sae, site_of
from workbench.activations.positions import frame_of, words_at
from workbench.activations.reading import Reading, makes_pictures, read_batch
from workbench.dashboard.gathering import Gatherer
from workbench.dashboard.prompts import Shown
from workbench.dashboard.sources import Source
from workbench.evaluation.spec import Settings
from workbench.hooks import Place, Site
from workbench.models import Model
from workbench.models.capabilities import AUTOREGRESSIVE

TEXT_BATCH, IMAGE_BATCH = 16, 8
ROOM = 2**26  # numbers of a batch's table of prompts, places and features: 256 MiB
SIDE = 160  # pixels of a stored picture, as many as a card shows


@dataclass(eq=False)
class Pass:
    """One pass: `step` sees the next batch; `gatherers` and `pictures` hold what was seen."""

    model: Model
    saes: Mapping[Source, SAE]
    sites: Mapping[Source, Site]
    gatherers: Mapping[Source, Gatherer]
    prompts: Sequence[Shown]
    settings: Settings
    pictures: list[UInt8[np.ndarray, "h w 3"]] = field(default_factory=list)
    done: int = 0

    @property
    def draws(self) -> bool:
        """Whether it makes pictures."""
        return makes_pictures(self.sites.values())

    @property
    def size(self) -> int:
        """How many prompts a batch has: fewer where the table of all features would be large."""
        most = IMAGE_BATCH if self.draws else TEXT_BATCH
        row = max(gatherer.n_places * gatherer.dictionary.d_sae for gatherer in self.gatherers.values())
        return max(1, min(most, ROOM // row))

    def step(self, until: int) -> None:
        """Sees the next batch.

        Args:
            until: The number of prompts at which the batch ends at the latest.
        """
        batch = self.prompts[self.done : min(self.done + self.size, until)]
        for gatherer in self.gatherers.values():
            gatherer.begin(len(batch))
        texts, seeds = [shown.prompt for shown in batch], [shown.seed for shown in batch]
        sites = set(self.sites.values())
        made = read_batch(self.model, sites, texts, self._take, seeds=seeds, first=self.done, **self.settings)
        self.pictures += [_small(image) for image in made]
        for gatherer in self.gatherers.values():
            gatherer.end()
        self.done += len(batch)

    def _take(self, reading: Reading) -> None:
        for source, gatherer in self.gatherers.items():
            if self.sites[source].alias == reading.site.alias:
                pictured = reading.places == Place.PICTURE
                gatherer.see(reading.x, reading.content, reading.position, pictured, reading.timestep)


def passes(model: Model, sources: Sequence[Source], prompts: Sequence[Shown], settings: Settings) -> list[Pass]:
    """The passes that some autoencoders need.

    Args:
        model: The run's.
        sources: The autoencoders.
        prompts: What the features are shown on.
        settings: How pictures are sampled.

    Returns:
        That of the prompts before that of the pictures, where there are such sites.

    Raises:
        WorkbenchError: An SAE is of another model, does not fit its site, or is not linear in its input (see
            `Dictionary.of`).
    """
    saes = {source: open_sae(source.folder) for source in sources}
    for sae in saes.values():
        check_origin(sae, model)
    texts = [shown.prompt for shown in prompts]
    sites = {source: site_of(sae, model) for source, sae in saes.items()}
    found = []
    for drawing in (False, True):
        own = {source: site for source, site in sites.items() if makes_pictures([site]) == drawing}
        if own:
            gatherers = {source: _gatherer(model, saes[source], site, texts) for source, site in own.items()}
            found.append(Pass(model, {each: saes[each] for each in own}, own, gatherers, prompts, settings))
    return found


def _gatherer(model: Model, sae: SAE, site: Site, prompts: Sequence[str]) -> Gatherer:
    dictionary = dictionary_on(sae, model)
    if not makes_pictures([site]):
        return Gatherer(dictionary, site.positions, 0, words_at(model, site, prompts), frame_of(model, site).begins)
    if AUTOREGRESSIVE in model.capabilities:  # the prompt passes the site too
        words = words_at(model, site, prompts)
        return Gatherer(dictionary, max(map(len, words)), site.positions, words)
    return Gatherer(dictionary, 0, site.positions, [row.words for row in model.tokens(prompts)])


def _small(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "small_h small_w 3"]:
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.array(picture)
