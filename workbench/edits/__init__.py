"""Edits: what takes a concept out of a model, as values that are saved, reloaded, composed, and taken back."""

from workbench.edits.activation import PROGRAMS, ActivationEdit
from workbench.edits.adapter import AdapterEdit, combined, transferred
from workbench.edits.composed import ComposedEdit
from workbench.edits.controls import no_op_like, random_directions_like, random_features_like, random_like
from workbench.edits.edit import Edit
from workbench.edits.files import KINDS, load_edit
from workbench.edits.guidance import GuidanceEdit
from workbench.edits.prompt import PromptEdit
from workbench.edits.weight import WeightEdit

__all__ = [
    "KINDS",
    "PROGRAMS",
    "ActivationEdit",
    "AdapterEdit",
    "ComposedEdit",
    "Edit",
    "GuidanceEdit",
    "PromptEdit",
    "WeightEdit",
    "combined",
    "load_edit",
    "no_op_like",
    "random_directions_like",
    "random_features_like",
    "random_like",
    "transferred",
]
