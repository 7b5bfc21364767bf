"""Where: one place in a model whose activation can be read or replaced."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.hooks.clock import Clock

Activation = Float[Tensor, "rows positions channels"]
Transform = Callable[[Tensor, Clock], Tensor]


@dataclass(frozen=True)
class Site:
    """An alias for what one module takes in or hands over, seen as one tensor `[rows, positions, channels]`.

    `path` leads from the pipeline to the module ("unet.mid_block"). Where the module hands over a tuple, `index`
    chooses from it: transformer blocks with two streams return them in different orders, so it is part of the site.
    `layout` says how the tensor lies in memory: "tokens" is `[rows, positions, channels]`, "pixels" is
    `[rows, channels, height, width]` (positions then run along rows of the picture). `positions` is the number of
    tokens of a padded prompt or of latent pixels at the model's own image size.
    """

    alias: str
    path: str
    slot: Literal["output", "input"] = "output"
    index: int | None = None
    layout: Literal["tokens", "pixels"] = "tokens"
    channels: int = 0
    positions: int = 0
    component: Literal["prompt", "image"] = "image"

    def read(self, handed_over: Any) -> Activation:
        """The activation in what the module hands over (a tensor or a tuple of tensors); a view, nothing is copied."""
        tensor = self._tensor(handed_over)
        return tensor.flatten(2).transpose(1, 2) if self.layout == "pixels" else tensor

    def write(self, handed_over: Any, new: Tensor) -> Any:
        """`handed_over` with `new` in this site's place, in the shape, dtype and memory order of what was there.

        The memory order matters: a convolution may take another path for another order, and a no-op edit would
        then change the last bits of an image.
        """
        old = self._tensor(handed_over)
        if new.shape != self.read(handed_over).shape:
            raise WorkbenchError(
                f"An edit at site {self.alias!r} returned the shape {tuple(new.shape)} "
                f"for an activation of shape {tuple(self.read(handed_over).shape)}.",
                "A transform must return the shape that it was given: [rows, positions, channels].",
            )
        if self.layout == "pixels":
            channels_last = old.is_contiguous(memory_format=torch.channels_last) and not old.is_contiguous()
            order = torch.channels_last if channels_last else torch.contiguous_format
            new = new.transpose(1, 2).unflatten(2, old.shape[2:]).contiguous(memory_format=order)
        new = new.to(old.dtype)
        if self.index is None:
            return new
        return (*handed_over[: self.index], new, *handed_over[self.index + 1 :])

    def _tensor(self, handed_over: Any) -> Tensor:
        found = handed_over if self.index is None else handed_over[self.index]
        if not isinstance(found, Tensor):
            raise WorkbenchError(
                f"Site {self.alias!r} expects a tensor from {self.path!r} and found {type(found).__name__}.",
                "The module returns something else than this site's table says; give the site the right `index`.",
            )
        return found


class SiteEdit(NamedTuple):
    """What to do at a site: `transform(activation, clock)` returns the new activation, of the same shape.

    Return the activation itself where nothing is to change (other rows, other timesteps): then nothing is written.
    Gradients flow through the transform.
    """

    site: Site
    transform: Transform
