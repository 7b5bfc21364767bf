"""nnsight itself, on a whole pipeline or one of its modules. `model.trace` knows sites; this knows what nnsight knows.

with nnsight_view(model) as view:
    with view.trace("a photo of a fox", num_inference_steps=4):
        middle = view.unet.mid_block.output.save()
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workbench.models.one_pass import imported_nnsight
from workbench.models.traced import Traced, lock_of


@contextmanager
def nnsight_view(model: Traced, component: str | None = None) -> Iterator[Any]:
    """Gives nnsight's wrapper of the pipeline, or of the module at path `component`, to one user at a time.

    nnsight allows one trace at a time in a model, so a second thread waits here. Raises `WorkbenchError` if nnsight is
    not installed.
    """
    nnsight = imported_nnsight()
    with lock_of(model):
        if component:
            yield nnsight.NNsight(model.module(component))
        else:
            from nnsight.modeling.diffusion import DiffusionModel, _PipelineModule

            yield DiffusionModel(_PipelineModule(model.pipe))
