"""The settings of a method as people read them. What each one does is said once: in the comment beside the field."""

from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from simple_parsing.docstring import get_attribute_docstring


class Knob(NamedTuple):
    """A setting: its name, what it may be, its default as YAML has it, and a line about it ("" if nobody wrote one)."""

    setting: str
    type: str
    default: str
    what: str


def knobs(method: type) -> list[Knob]:
    """The settings of a method (a dataclass), in the order of its fields."""
    return [
        Knob(one.name, kind_of(one.type), default_of(one), line_of(method, one.name))
        for one in fields(method)
        if one.init
    ]


def line_of(method: type, name: str) -> str:
    """The comment beside a field in the source of its class; else the one above it."""
    told = get_attribute_docstring(method, name)
    return told.comment_inline or told.help_string


def kind_of(hint: Any) -> str:
    """A type in a word: "float", "a | b" for a choice, "null" for None, "list of text", and a nested method by name."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is tuple:
        return f"list of {kind_of(arguments[0])}"
    if arguments:
        return " | ".join(map(kind_of, arguments))
    return {str: "text", NoneType: "null", bool: "true | false"}.get(hint, getattr(hint, "__name__", str(hint)))


def default_of(field: Field) -> str:
    """A default as `--set` and YAML files take it; of nested settings only that they are the usual ones."""
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    if value is MISSING:
        return "needed"
    return "its own" if is_dataclass(value) else yaml_of(value)


def yaml_of(value: Any) -> str:
    """A plain value in YAML, on one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(yaml_of, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if value != "" else '""'
