"""Edits that rewrite an activation while the model runs; the weights stay as they are."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from saes.dictionary import NAMES, Dictionary
from saes.errors import WorkbenchError
from workbench.edits.controls import DIRECTIONS, FEATURES, matched_features, rotation
from workbench.edits.edit import ActedOn, Summary, named
from workbench.edits.fields import EditFields
from workbench.edits.gates import Gates, blended
from workbench.edits.programs import ActivationProgram, Apply
from workbench.hooks import Session, SiteEdit
from workbench.models import Model
from workbench.plugins import declared

NOTHING = "workbench.edits.programs:IDENTITY"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ActivationEdit(EditFields):
    """A program at a site, with all tensors that it needs, so that no other file is.

    `site` is an alias of the model's sites and `width` its channels. `program` is where an `ActivationProgram` lies,
    as "module:NAME": of this package, or of a module that an installed package declares as an entry point.
    `tensors["features"]` are features of a sparse autoencoder that it changes, `tensors["density"]` the share of rows
    on which each feature of that autoencoder fires. Raises `WorkbenchError` for a program that is not to be found, and
    if what it needs is missing.
    """

    site: str
    width: int
    program: str

    kind: ClassVar[str] = "activation"
    shown: ClassVar[tuple[str, ...]] = ("shapes",)

    def __post_init__(self) -> None:
        super().__post_init__()
        program = self._program
        for what, needed, there in (
            ("tensor", program.tensors, self.tensors),
            ("setting", program.settings, self.settings),
        ):
            if missing := [name for name in needed if name not in there]:
                raise WorkbenchError(
                    f"{named(self)} lacks the {what} {missing[0]!r}, which its program {self.program} needs.",
                    "Fit it again, or take another copy.",
                )

    def check(self, model: Model) -> None:
        """Raises `WorkbenchError` for another model, a site that it lacks, and a site of another width."""
        super().check(model)
        site = model.site(self.site)
        if site.channels != self.width:
            raise WorkbenchError(
                f"The edit is for {self.width} channels and {self.site} of {model.name} has {site.channels}.",
                "Fit the method at this site.",
            )

    def installed(self, model: Model) -> Session:
        """One hook at the site; its tensors are on the model's device."""
        return self._session(model, self._program.apply)

    def decides(self) -> bool:
        """Whether its program does."""
        return self._program.decide is not None

    def installed_by(self, model: Model, gates: Gates) -> Session:
        """One hook at the site, which changes each prompt as far as the gates say."""
        decide = self._program.decide
        if decide is None:
            return self.installed(model)
        return self._session(model, lambda x, *told: blended(x, decide(x, *told), gates))

    def no_op(self) -> "ActivationEdit":
        """A hook at the same site that hands on what it is given."""
        return replace(self, program=NOTHING, tensors={}, settings={}, method="no-op")

    def random(self, seed: int = 0) -> "ActivationEdit":
        """The same edit on other features, or with what it adds turned by a random rotation, as its program has it.

        Other features: as many, each drawn among those that fire about as often as the one it replaces. Whatever
        decides when the edit acts stays, so both act on the same prompts. Turned: at the same positions, and everywhere
        as far. Raises `WorkbenchError` if the edit is of no features or does not say how often features fire, and if
        too few others ever fire.
        """
        if self._program.control == "turn":
            turn = rotation(self.width, torch.Generator().manual_seed(seed)).float()
            return replace(self, tensors={**self.tensors, "turn": turn}, method=self._named(), seed=seed)
        own, fires = self.tensors.get("features"), self.tensors.get("density")
        if own is None:
            raise WorkbenchError(f"{named(self)} has no features to exchange.", "Use another control for it.")
        if fires is None:
            raise WorkbenchError(
                f"{named(self)} does not say how often features fire.",
                "Give its tensors a `density`: the share of rows on which each feature fires.",
            )
        tensors = {"gate_features": own, **self.tensors, "features": matched_features(own, fires, seed)}
        return replace(self, tensors=tensors, method=self._named(), seed=seed)

    def rows(self, model: Model | None = None) -> list[dict[str, Any]]:
        """A row for each feature: its number, and the share of the fit's rows on which it fires (None if not known)."""
        if model is not None:
            self.check(model)
        density = self.tensors.get("density")
        return [
            {"site": self.site, "feature": one, "fires": None if density is None else float(density[one])}
            for one in self.tensors.get("features", torch.empty(0)).tolist()
        ]

    def summary(self) -> Summary:
        """Where it acts, and on which features."""
        return Summary(f"activations at {self.site}", self._control, self._acted_on())

    def described(self) -> dict[str, Any]:
        """The shape of each tensor."""
        return {"shapes": {name: list(tensor.shape) for name, tensor in sorted(self.tensors.items())}}

    def _session(self, model: Model, apply: Apply) -> Session:
        self.check(model)
        tensors = {name: tensor.to(model.device) for name, tensor in self.tensors.items()}
        edit = SiteEdit(model.site(self.site), lambda x, clock: apply(x, clock, tensors, self.settings))
        return model.session(edits=[edit])

    @property
    def _program(self) -> ActivationProgram:
        return declared(self.program, ActivationProgram, "program")

    @property
    def _control(self) -> str:
        return DIRECTIONS if self._program.control == "turn" else FEATURES

    def _named(self) -> str:
        return f"{self._control} like {self.method}"

    def _acted_on(self) -> tuple[ActedOn, ...]:
        if not {*NAMES, "features"} <= self.tensors.keys():
            return ()
        dictionary = Dictionary.from_tensors(self.tensors, self.settings)
        return (ActedOn(self.site, self.tensors["features"], dictionary, self.tensors.get("density")),)

    def _told(self) -> dict[str, Any]:
        sizes = {name: "×".join(map(str, tensor.shape)) or "1" for name, tensor in self.tensors.items()}
        shown = ", ".join(f"{name} {size}" for name, size in sizes.items())
        return {"site": self.site, "program": self.program, "tensors": shown}
