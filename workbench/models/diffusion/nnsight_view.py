"""nnsight on the model's own sites, for exploring in a notebook: anything can be computed along the way, and gradients.

    with model.trace("a photo of a fox") as look:                    # one pass: text encoders, then the denoiser once
        words = look.with_gradient("text.2").save()
        share = look["unet.mid"].norm(dim=-1).save()                 # [rows, positions, channels], as in sessions
        look["unet.up.1.0.attn2"] = 0 * look["unet.up.1.0.attn2"]
        predicted = look["unet.out"].sum().save()
    torch.autograd.grad(predicted, words)

    with nnsight_view(model) as view:                                # nnsight itself, on the whole pipeline
        with view.trace("a photo of a fox", num_inference_steps=4):
            middle = view.unet.mid_block.output.save()

nnsight runs the body of a literal `with` block, takes sites in the order in which they run, and allows one trace of a
model at a time; what goes against that is told in a sentence. Values leave the block by `.save()`. Reading this way
costs about a tenth of a run; whatever is read again and again belongs into a session.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.traced import Traced, lock_of


@contextmanager
def nnsight_view(model: Traced, component: str | None = None) -> Iterator[Any]:
    """Gives nnsight's wrapper of the pipeline, or of the module at path `component`, to one user at a time.

    nnsight allows one trace at a time in a model, so a second thread waits here. Raises `WorkbenchError` if nnsight is
    not installed.
    """
    nnsight = _nnsight()
    with lock_of(model):
        if component:
            yield nnsight.NNsight(model.module(component))
        else:
            from nnsight.modeling.diffusion import DiffusionModel, _PipelineModule

            yield DiffusionModel(_PipelineModule(model.pipe))


def trace(model: Traced, prompts: Sequence[str], latents: Latents, timestep: int | float) -> Any:
    """The context manager behind `Model.trace`; its `as` is a `SiteTracer`."""
    from workbench.models.diffusion.tracing import SiteTracer

    return _nnsight().NNsight(OnePass(model)).trace(prompts, latents, timestep, tracer_cls=partial(SiteTracer, model))


class OnePass(nn.Module):
    """All components of a pipeline below one module, whose call encodes prompts and predicts noise once."""

    def __init__(self, model: Traced) -> None:
        super().__init__()
        for name, component in model.pipe.components.items():
            if isinstance(component, nn.Module):
                self.add_module(name, component)
        self._run = [model]  # in a list, for a model is no module but has some

    def forward(self, prompts: Sequence[str], latents: Latents, timestep: int | float) -> Tensor:
        """The denoiser's raw output; gradients flow from the prompts on."""
        (model,) = self._run
        return model.noise_prediction(latents, timestep, model.encode(prompts))


def _nnsight() -> Any:
    try:
        import nnsight
    except ImportError:
        raise WorkbenchError(
            "nnsight is not installed.", "Install it with: pip install 'erasure-workbench[explore]'"
        ) from None
    return nnsight
