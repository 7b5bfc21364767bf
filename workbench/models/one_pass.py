"""nnsight on the model's own sites, for exploring in a notebook: anything can be computed along the way, and gradients.

    with model.trace("a photo of a fox") as look:                    # one pass of all that the picture depends on
        words = look.with_gradient("text.2").save()
        share = look["unet.mid"].norm(dim=-1).save()                 # [rows, positions, channels], as in sessions
        look["unet.up.1.0.attn2"] = 0 * look["unet.up.1.0.attn2"]
        predicted = look["unet.out"].sum().save()
    torch.autograd.grad(predicted, words)

nnsight runs the body of a literal `with` block, takes sites in the order in which they run, and allows one trace of a
model at a time; what goes against that is told in a sentence. Values leave the block by `.save()`. Reading this way
costs about a tenth of a run; whatever is read again and again belongs into a session.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.models.traced import Traced


def trace(model: Traced, run: Callable[..., Tensor], *given: Any) -> Any:
    """The context manager behind `trace` of a model; its `as` is a `SiteTracer`.

    Args:
        model: The model.
        run: One pass of it.
        *given: What `run` is called with.
    """
    view = imported_nnsight().NNsight(OnePass(model, run))  # first: the next line needs it too
    from workbench.models.tracing import SiteTracer

    return view.trace(*given, tracer_cls=partial(SiteTracer, model))


class OnePass(nn.Module):
    """All components of a model below one module, whose call is one pass; gradients flow from the prompts on."""

    def __init__(self, model: Traced, run: Callable[..., Tensor]) -> None:
        super().__init__()
        for name, component in model.pipe.components.items():
            if isinstance(component, nn.Module):
                self.add_module(name, component)
        self._run = run

    def forward(self, *given: Any) -> Tensor:
        """What the pass gives."""
        return self._run(*given)


def imported_nnsight() -> Any:
    """nnsight. Raises `WorkbenchError` where it is not installed."""
    try:
        import nnsight
    except ImportError:
        raise WorkbenchError(
            "nnsight is not installed.", "Install it with: pip install 'erasure-workbench[explore]'"
        ) from None
    return nnsight
