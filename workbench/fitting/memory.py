"""Less memory in fine-tuning: gradient checkpointing, and idle components (VAE, text encoders) offloaded to the CPU.

with saving_memory(model, student):
    train(…)
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Annotated, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import Doc

from workbench.models import Diffusion

SaveMemory = Annotated[bool, Doc("A third more work for a fraction of the memory; same edit.")]
Around = Callable[[], AbstractContextManager[Any]]


@contextmanager
def saving_memory(
    model: Diffusion,
    student: Diffusion,
    wanted: bool = True,
    *,
    needed: Collection[str] = (),
    idle: Sequence[nn.Module] = (),
    again: Around = nullcontext,
) -> Iterator[None]:
    """Trains a student in less memory and more time.

    In the block, the student's denoiser keeps the borders of its blocks for the backward pass and computes what is
    between them again, a third more work; the autoencoder and the text encoders, one of a student too, are on the CPU.

    A prompt can still be encoded, slowly: methods remember those they need (`embedding.encoded`). Latents cannot be
    made of pictures, nor pictures of latents. Afterwards everything is as before.

    Args:
        model: The model.
        student: The handle that is trained.
        wanted: False leaves everything as it is.
        needed: Components that steps run, by their paths ("vae"): they stay where they are.
        idle: Other modules that no step runs.
        again: Asked where a block begins, it gives what has to be around the same block when it is computed again:
            whatever decides its output and is no argument of it.
    """
    with ExitStack() as stack:
        if wanted:
            stack.enter_context(checkpointed(getattr(student.pipe, student.architecture.denoiser.path), again))
            stack.enter_context(away([*idle_parts(model, student, needed=needed), *idle]))
        yield


def idle_parts(*models: Diffusion, needed: Collection[str] = ()) -> list[nn.Module]:
    """What no step of a fine-tuned denoiser runs.

    Args:
        *models: The model and its students, which may share parts.
        needed: Components that steps run, by their paths.

    Returns:
        Autoencoders and text encoders but for these, each once.
    """
    paths = [[one.path for one in model.architecture.components if one.kind == "prompt"] for model in models]
    named = [(model, path) for model, text in zip(models, paths, strict=True) for path in ("vae", *text)]
    parts = [getattr(model.pipe, path) for model, path in named if path not in needed]
    return list({id(part): part for part in parts}.values())


@contextmanager
def checkpointed(denoiser: Any, again: Around = nullcontext) -> Iterator[None]:
    """Turns gradient checkpointing on in the block, and off after it unless it was on before.

    Args:
        denoiser: One of diffusers' models.
        again: As in `saving_memory`.
    """

    def kept_at_its_border(block: nn.Module, *given: Any) -> Any:
        return checkpoint(block.__call__, *given, use_reentrant=False, context_fn=lambda: (nullcontext(), again()))

    before = denoiser.is_gradient_checkpointing
    denoiser.enable_gradient_checkpointing(kept_at_its_border)
    try:
        yield
    finally:
        if not before:
            denoiser.disable_gradient_checkpointing()


@contextmanager
def away(parts: list[nn.Module]) -> Iterator[None]:
    """Moves parts to the CPU for the block; afterwards each is again where it was.

    Args:
        parts: Modules whose parameters are all on one device.
    """
    before = [next(part.parameters()).device for part in parts]
    try:
        for part in parts:
            part.to("cpu")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        yield
    finally:
        for part, device in zip(parts, before, strict=True):
            part.to(device)
