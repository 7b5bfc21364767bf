"""nnsight's view of a model, for exploring in a notebook: any module, and gradients, without declaring a site first.

    with nnsight_view(model) as view:                                # the whole pipeline
        with view.trace("a photo of a fox", num_inference_steps=4):
            middle = view.unet.mid_block.output.save()
    with nnsight_view(model, "unet") as view:                        # one component, where gradients work
        with view.trace(latents, 500, encoder_hidden_states=embeddings, return_dict=False):
            middle = view.mid_block.output.save()

A trace must be a literal `with` block, and must read modules in the order in which they run. Reading one module this
way costs about a tenth of a run; whatever is read again and again belongs into a session.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from saes.errors import WorkbenchError
from workbench.models.model import Model

_locks: WeakKeyDictionary[Model, Lock] = WeakKeyDictionary()


@contextmanager
def nnsight_view(model: Model, component: str | None = None) -> Iterator[Any]:
    """Gives nnsight's wrapper of the pipeline, or of the module at path `component`, to one user at a time.

    nnsight allows one trace at a time in a model, so a second thread waits here. Raises `WorkbenchError` if nnsight is
    not installed.
    """
    try:
        from nnsight import NNsight
        from nnsight.modeling.diffusion import DiffusionModel, _PipelineModule
    except ImportError:
        raise WorkbenchError(
            "nnsight is not installed.", "Install it with: pip install 'erasure-workbench[explore]'"
        ) from None
    with _locks.setdefault(model, Lock()):
        yield NNsight(model.module(component)) if component else DiffusionModel(_PipelineModule(model.pipe))
