"""Edits: what takes a concept out of a model, as values that are saved, reloaded, composed, and taken back."""

from workbench.edits.activation import ActivationEdit
from workbench.edits.adapter import AdapterEdit
from workbench.edits.combining import combined, transferred
from workbench.edits.composed import ComposedEdit
from workbench.edits.edit import ActedOn, Edit, Summary
from workbench.edits.fields import EditFields
from workbench.edits.files import KINDS, load_edit
from workbench.edits.guidance import GuidanceEdit, GuidanceRule
from workbench.edits.programs import ActivationProgram
from workbench.edits.prompt import PromptEdit
from workbench.edits.token import TokenEdit
from workbench.edits.weight import WeightEdit

__all__ = [
    "KINDS",
    "ActedOn",
    "ActivationEdit",
    "ActivationProgram",
    "AdapterEdit",
    "ComposedEdit",
    "Edit",
    "EditFields",
    "GuidanceEdit",
    "GuidanceRule",
    "PromptEdit",
    "Summary",
    "TokenEdit",
    "WeightEdit",
    "combined",
    "load_edit",
    "transferred",
]
