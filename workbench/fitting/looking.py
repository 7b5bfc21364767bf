"""Pictures to fit on, with their captions and with boxes where a detector, or a set's manifest, sees the concepts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from saes.errors import WorkbenchError, unknown_name
from saes.progress import SILENT, Progress
from workbench.concepts import Concept
from workbench.detectors.detector import Boxes, Detector, Found
from workbench.fitting.implicit_sets import Captioned, captioned, captions_of, read_manifest
from workbench.fitting.pictures import drawn_seeds
from workbench.models import Diffusion


class Seen(NamedTuple):
    """A picture `[h, w, 3]`, its caption, and the boxes of each concept in it."""

    image: UInt8[np.ndarray, "h w 3"]
    caption: str
    boxes: tuple[Boxes, ...]


@dataclass(frozen=True)
class Source:
    """Where pictures come from, and who says what is in them.

    Args:
        folder: Of pictures with captions; "" if the model draws them.
        detector: None if the manifest of the folder says it.
        pictures: How many the model draws of each concept.
        threshold: Finds with a lower score do not count.
    """

    folder: str
    detector: Detector | None
    pictures: int
    threshold: float

    def texts(self, concepts: Sequence[Concept]) -> list[str]:
        """The captions.

        Args:
            concepts: The concepts.

        Returns:
            Those of the folder, or the prompts that the model will draw.

        Raises:
            WorkbenchError: The folder is none of pictures with captions, or there is nothing to draw.
        """
        return captions_of(self.folder) if self.folder else [text for one in concepts for text in prompts_of(one)]

    def known(self) -> tuple[str, ...]:
        """What finds are called.

        Returns:
            The detector's concepts, or the manifest's.

        Raises:
            WorkbenchError: Nobody says what is in the pictures.
        """
        if self.detector is not None:
            return self.detector.concepts
        manifest = read_manifest(self.folder) if self.folder else None
        if manifest is None:
            raise WorkbenchError(
                "There is neither a detector nor a set that knows its boxes.",
                "Name a detector, or a folder that `workbench icd` made.",
            )
        return (manifest.concept,)

    def check(self, concepts: Sequence[Concept]) -> None:
        """Refuses finds of one concept that could not be told from those of another.

        Args:
            concepts: The concepts.

        Raises:
            WorkbenchError: The detector knows several things, or there are several concepts, and a name is unknown.
        """
        known = self.known()
        for concept in concepts:
            if concept.name not in known and not len(known) == len(concepts) == 1:
                raise unknown_name("concept of the detector", concept.name, known)

    def seen(
        self, model: Diffusion, concepts: Sequence[Concept], seed: int, progress: Progress = SILENT
    ) -> Iterator[Seen]:
        """The pictures, one after another.

        Args:
            model: Draws them if there is no folder.
            concepts: Whose boxes are wanted. One thing that a detector knows is the one concept, whatever either calls
                it.
            seed: Of the pictures that are drawn.
            progress: Shows them.

        Yields:
            Each with the boxes of each concept.

        Raises:
            WorkbenchError: A picture cannot be read, or is smaller than the model's.
        """
        pictures = captioned(self.folder, model.image_size) if self.folder else self._drawn(model, concepts, seed)
        total = len(captions_of(self.folder)) if self.folder else self.pictures * len(concepts)
        for image, caption, finds in progress(pictures, "pictures", total):
            if self.detector is not None:
                finds = self.detector.find(image[None])[0]
            assert finds is not None, "checked: a detector or a manifest says it"
            yield Seen(image, caption, tuple(self._boxes(finds, one.name) for one in concepts))

    def _boxes(self, finds: Found, name: str) -> Boxes:
        known = self.known()
        own = np.array([len(known) == 1 or one == name for one in finds.concepts], bool)
        return finds.boxes[own & (finds.scores >= self.threshold)]

    def _drawn(self, model: Diffusion, concepts: Sequence[Concept], seed: int) -> Iterator[Captioned]:
        for concept in concepts:
            texts, seeds = prompts_of(concept), drawn_seeds(self.pictures, seed)
            prompts = [texts[i % len(texts)] for i in range(self.pictures)]
            for image, prompt in zip(model.generate(prompts, seeds), prompts, strict=True):
                yield Captioned(image, prompt, None)


def prompts_of(concept: Concept) -> list[str]:
    """What the model is to draw: prompts that bring the concept about unasked, and captions that do not, in turn.

    Args:
        concept: With `implied`, `captions`, or both.

    Returns:
        Prompts; repeated where there are fewer of one than of the other.

    Raises:
        WorkbenchError: It has neither.
    """
    both = [some for some in (concept.implied, concept.captions) if some]
    if not both:
        raise WorkbenchError(
            f"There are no pictures of {concept.name!r}, nor `implied` nor `captions` to draw some of.",
            "Give a folder, or prompts that bring the concept about: implied=[…].",
        )
    return [some[i % len(some)] for i in range(max(map(len, both))) for some in both]


def in_parts(items: Iterable[Seen], n: int) -> Iterator[list[Seen]]:
    """The pictures, some at a time.

    Args:
        items: The pictures.
        n: How many at most.

    Yields:
        Lists, none empty.
    """
    part: list[Seen] = []
    for item in items:
        part.append(item)
        if len(part) == n:
            yield part
            part = []
    if part:
        yield part
