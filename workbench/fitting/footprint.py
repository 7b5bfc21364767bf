"""What a training holds and computes at once, as its method declares it. `peak.peak_memory` adds it up."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from torch import nn

from workbench.fitting.copies import Wanted, nothing
from workbench.models import Diffusion

Attach = Callable[[Diffusion, ExitStack], Mapping[str, nn.Parameter]]


class Footprint(NamedTuple):
    """One turn of a training, for its memory.

    Args:
        graphs: Rows of each graph of the turn. One goes backward before the next is made.
        trained: Parameters of the denoiser that are copied and trained.
        held: Those that are copied for a teacher, or to start from, and not trained.
        attach: Puts trained factors beside the student's layers, until the stack is closed, and gives them by name.
        text: Parameters of the text encoder that are copied and trained, maybe none of them, where the gradient passes
            it.
        text_teacher: Whether the text encoder in training has a frozen one beside it.
        pictures: How many pass the autoencoder first.
        image_prompt: Whether an image encoder and its adapter are beside the model.
    """

    graphs: Sequence[int]
    trained: Wanted = nothing
    held: Wanted = nothing
    attach: Attach | None = None
    text: Wanted | None = None
    text_teacher: bool = False
    pictures: int = 0
    image_prompt: bool = False
