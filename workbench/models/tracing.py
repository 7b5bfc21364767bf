"""The tracer behind `model.trace`: nnsight's own, which knows sites by alias and says in a sentence what went wrong.

Imported only where nnsight is installed.
"""

import ast
from types import CodeType
from typing import Any, no_type_check

from nnsight.intervention.interleaver import OutOfOrderError
from nnsight.intervention.tracer import InterleavingTracer
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.hooks import Activation, Site
from workbench.models.traced import Traced, lock_of


@no_type_check  # the block and the model take turns within these calls, and jaxtyping expects calls to end in order
class SiteTracer(InterleavingTracer):
    """`look["text.2"]` reads a site, `look["text.2"] = new` replaces it; tensors are `[rows, positions, channels]`.

    Sites are taken in the order of the forward pass; `.save()` keeps a value beyond the block.
    """

    def __init__(self, model: Traced, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._model = model

    def __getitem__(self, alias: str) -> Activation:
        return self._site(alias).read(self._handed_over(alias))

    def __setitem__(self, alias: str, new: Tensor) -> None:
        site, envoy = self._site(alias), self._envoy(alias)
        written = site.write(self._handed_over(alias), new)
        if site.slot == "input":
            envoy.inputs = (written, envoy.inputs[1])
        else:
            envoy.output = written

    def with_gradient(self, alias: str) -> Activation:
        """The activation, put back so that the rest of the pass depends on it: what gradients are asked for."""
        x = self[alias]
        x = x.clone() if x.requires_grad else x.detach().requires_grad_()
        self[alias] = x
        return x

    def parse(self, source: str, lineno: int) -> ast.With | ast.AsyncWith:
        """nnsight's, with a sentence for blocks that nnsight cannot run. It finds the caller by counting frames, so
        `__enter__`, from where it counts, stays its own."""
        node = super().parse(source, lineno)
        if node is None or node.body[0].lineno == node.lineno or isinstance(node.body[0], ast.Try | ast.TryStar):
            raise WorkbenchError(
                "nnsight cannot take over this block: it reads its source and runs that.",
                "Write `with model.trace(…) as look:` literally, in a file or a cell, its body on lines of its own and "
                "not beginning with `try`.",
            )
        return node

    def execute(self, code: CodeType) -> None:
        """Runs the block along with the model, unless somebody else does so."""
        model = self._model
        if not lock_of(model).acquire(blocking=False):
            raise WorkbenchError(
                f"{model.name} is being traced already, and nnsight traces a model once at a time.",
                "End that `with` block first, and read several sites in one block.",
            )
        try:
            super().execute(code)
        except OutOfOrderError as error:
            place = str(error).split("'")[1].removeprefix("model.")
            raise WorkbenchError(
                f"The model had already run past {_alias_at(model, place)} when the block asked for it.",
                "Read sites in the order in which they run (that of model.sites()), each before the next.",
            ) from None
        finally:
            lock_of(model).release()

    def _site(self, alias: str) -> Site:
        return self._model.site(alias)

    def _envoy(self, alias: str) -> Any:
        envoy = self.envoy
        for name in self._site(alias).path.split("."):
            envoy = envoy[int(name)] if name.isdigit() else getattr(envoy, name)
        return envoy

    def _handed_over(self, alias: str) -> Any:
        envoy = self._envoy(alias)
        return envoy.inputs[0] if self._site(alias).slot == "input" else envoy.output


def _alias_at(model: Traced, place: str) -> str:
    """The alias of a module, from nnsight's name of a place in it."""
    found = [site for site in model.sites().values() if place.startswith(site.path + ".")]
    return repr(max(found, key=lambda site: len(site.path)).alias) if found else f"`{place}`"
