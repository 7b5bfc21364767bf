"""Edits that rewrite an activation while the model runs; the weights stay as they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from saes.errors import WorkbenchError, unknown_name
from workbench.edits.edit import check_fingerprint, html_table
from workbench.edits.files import read_edit, write_edit
from workbench.hooks import Clock, Session, SiteEdit
from workbench.models import Model

Program = Callable[[Tensor, Clock, Mapping[str, Tensor], Mapping[str, Any]], Tensor]
PROGRAMS = {  # a saved edit names its program, a pure function of activation, clock, tensors and settings
    "identity": "workbench.edits.programs:identity",
    "change_features": "workbench.edits.programs:change_features",
    "scale_features": "workbench.edits.programs:change_features",  # what edits were saved as before there were actions
    "itd": "workbench.erasure.itd:gated_deactivation",
    "detect_replace": "workbench.erasure.detect_replace:detection",
    "steerer": "workbench.erasure.steerer:steering",
    "saeuron": "workbench.erasure.saeuron:deactivation",
    "move_part": "workbench.studies.parts:move_part",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class ActivationEdit:
    """A program at a site, with all tensors that it needs, so that no other file is.

    `site` is an alias of the model's sites and `width` its channels. `settings` (JSON) holds what the program reads
    and everything else that the method was told. Equal by identity, since tensors have no single equality.
    """

    site: str
    width: int
    program: str
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    method: str
    concepts: Sequence[str]
    base_fingerprint: str
    seed: int = 0

    kind: ClassVar[str] = "activation"

    def __post_init__(self) -> None:
        if self.program not in PROGRAMS:
            raise unknown_name("program", self.program, PROGRAMS)
        object.__setattr__(self, "concepts", tuple(self.concepts))

    def check(self, model: Model) -> None:
        """Raises `WorkbenchError` for another model, a site that it lacks, and a site of another width."""
        check_fingerprint(self, model)
        site = model.site(self.site)
        if site.channels != self.width:
            raise WorkbenchError(
                f"The edit is for {self.width} channels and {self.site} of {model.name} has {site.channels}.",
                "Fit the method at this site.",
            )

    def installed(self, model: Model) -> Session:
        """One hook at the site; its tensors are on the model's device."""
        self.check(model)
        tensors = {name: tensor.to(model.device) for name, tensor in self.tensors.items()}
        program = _program(self.program)
        edit = SiteEdit(model.site(self.site), lambda x, clock: program(x, clock, tensors, self.settings))
        return model.session(edits=[edit])

    def save(self, path: Path | str) -> None:
        """Writes a new folder with `edit.json` and `tensors.safetensors`; refused if it exists."""
        saved = {name: getattr(self, name) for name in _SAVED}
        saved |= {"concepts": list(self.concepts), "settings": dict(self.settings)}
        saved["shapes"] = {name: list(tensor.shape) for name, tensor in sorted(self.tensors.items())}
        write_edit(path, self.kind, saved, self.tensors)

    @classmethod
    def read(cls, path: Path) -> "ActivationEdit":
        """Reads what `save` wrote; use `load_edit`, which knows all kinds."""
        saved, tensors = read_edit(path, (*_SAVED, "shapes"))
        if saved.pop("shapes") != {name: list(tensor.shape) for name, tensor in tensors.items()}:
            raise WorkbenchError(f"The tensors of {path} have other shapes than its description.", "Fit it again.")
        return cls(**{**saved, "tensors": tensors})

    def _repr_html_(self) -> str:
        sizes = {name: "×".join(map(str, tensor.shape)) or "1" for name, tensor in self.tensors.items()}
        shown = ", ".join(f"{name} {size}" for name, size in sizes.items())
        return html_table(self, {"site": self.site, "program": self.program, "tensors": shown})


_SAVED = tuple(field.name for field in fields(ActivationEdit) if field.name != "tensors")


def _program(name: str) -> Program:
    module, function = PROGRAMS[name].split(":")
    return getattr(import_module(module), function)
