"""The same latents at each call of the picture side, whatever an edit makes of the pictures.

An edit changes the first prediction and with it everything that follows. To see what it changes inside, and not where
it has led the picture, the edited model is shown the latents of the unedited one, call by call.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from saes.errors import WorkbenchError


@contextmanager
def taped(network: nn.Module) -> Iterator[list[Tensor]]:
    """Gives the list of the latents that each call in the body receives, in order; it fills while the body runs."""
    tape: list[Tensor] = []

    def note(module: nn.Module, args: tuple, kwargs: dict) -> None:
        tape.append((args[0] if args else kwargs[_first_name(module)]).detach().clone())

    hook = network.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield tape
    finally:
        hook.remove()


@contextmanager
def replayed(network: nn.Module, tape: list[Tensor]) -> Iterator[None]:
    """In the body, call k gets `tape[k]` instead of its own latents.

    Raises `WorkbenchError` if the body makes another number of calls than were taped, or of another shape.
    """
    made = 0

    def swap(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict[str, Any]]:
        nonlocal made
        name, made = _first_name(module), made + 1
        own = args[0] if args else kwargs[name]
        if made > len(tape) or tape[made - 1].shape != own.shape:
            raise _other_run()
        return ((tape[made - 1], *args[1:]), kwargs) if args else (args, {**kwargs, name: tape[made - 1]})

    hook = network.register_forward_pre_hook(swap, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
    if made != len(tape):
        raise _other_run()


def _first_name(network: nn.Module) -> str:
    """What the class calls its latents: they come first in the UNets and in the transformers."""
    return list(inspect.signature(type(network).forward).parameters)[1]


def _other_run() -> WorkbenchError:
    return WorkbenchError(
        "The run that was to see the taped latents calls the picture side otherwise than the run that they are from.",
        "Use the same prompts, seeds, steps, guidance scale and batch size for both.",
    )
