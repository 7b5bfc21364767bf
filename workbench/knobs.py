"""Knobs: what can be set of a method, each said once, in the annotation of its field.

    rank: Annotated[int, Ge(1), Doc("q of each adapter.")] = 1

The type, the range, the default and the sentence are shown by `help(SPM)` and `workbench methods spm`, and checked
wherever an instance is made.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from inspect import Parameter, Signature, cleandoc, get_annotations
from pathlib import Path
from reprlib import repr as short
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc

from saes.errors import WorkbenchError


class Opens(NamedTuple):
    """Marks a knob that names files: `files(value)` are all that a fit opens because of it, there or not. Of a list,
    `files` is asked for each."""

    files: Callable[[str], Sequence[Path]]


class Knob(NamedTuple):
    """A setting: its name, its type with its range, its default as YAML has it, and what it does."""

    setting: str
    type: str
    default: str
    what: str


class _PlainSignature:
    """The signature of a class of knobs, without what is said beside the types."""

    def __get__(self, instance: object, kind: type) -> Signature:
        shown = [
            Parameter(one.name, Parameter.KEYWORD_ONLY, annotation=_plain(one.type), default=_usual(one))
            for one in fields(kind)  # type: ignore[arg-type]  # a dataclass, as all subclasses are
            if one.init
        ]
        return Signature(shown)


class Knobs:
    """The base of frozen dataclasses whose fields are knobs.

    The docstring of the subclass gets a list of its knobs. An instance with a value of another type, out of range or
    not finite raises `WorkbenchError`; lists become tuples and paths texts where these are wanted.
    """

    __signature__ = _PlainSignature()

    def __init_subclass__(cls, **told: Any) -> None:
        super().__init_subclass__(**told)
        own = {name: hint for name, hint in get_annotations(cls, eval_str=True).items() if not _is_class_variable(hint)}
        if own and cls.__doc__:
            shown = [_knob(name, hint, cls.__dict__.get(name, MISSING)) for name, hint in own.items()]
            cls.__doc__ = f"{cleandoc(cls.__doc__)}\n\nArgs:\n" + "\n".join(f"    {_line(knob)}" for knob in shown)

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, hint in hints_of(kind).items():
            object.__setattr__(self, name, _checked(kind, name, hint, getattr(self, name)))

    def inputs(self) -> tuple[Path, ...]:
        """The files that a fit depends on, whether they exist or not: another content is another fit."""
        kind: Any = type(self)
        return tuple(
            path
            for name, hint in hints_of(kind).items()
            for path in (*_files(hint, getattr(self, name)), *_nested(getattr(self, name)))
        )


def knobs(kind: type) -> list[Knob]:
    """The settings of a method (a dataclass), in the order of its fields."""
    hints = hints_of(kind)
    return [_knob(one.name, hints[one.name], one) for one in fields(kind) if one.init]


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """The annotations of a dataclass's settings, with all that is said in them."""
    hints = get_type_hints(kind, include_extras=True)
    return {one.name: hints[one.name] for one in fields(kind) if one.init}


def _knob(name: str, hint: Any, default: Any) -> Knob:
    what = next((one.documentation for one in _said(hint, Doc)), "")
    return Knob(name, _kind(hint), default_of(default), what)


def _kind(hint: Any) -> str:
    return kind_of(_plain(hint), range_of(hint))


def _line(knob: Knob) -> str:
    default = "" if knob.default == "needed" else f" Default: {knob.default}."
    return f"{knob.setting} ({knob.type}): {knob.what.rstrip('.')}.{default}"


def kind_of(hint: Any, span: str = "") -> str:
    """A type in a word: "float ≥ 0" with its range, "a | b" for a choice, "null" for None, "list of text", and a nested
    method by name."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is tuple:
        return f"list of {kind_of(arguments[0])}"
    if arguments:
        return " | ".join(kind_of(one, span) for one in arguments)
    if hint in (int, float):
        return f"{hint.__name__} {span}".rstrip()
    return {str: "text", NoneType: "null", bool: "true | false"}.get(hint, getattr(hint, "__name__", str(hint)))


def range_of(hint: Any) -> str:
    """The range of a number: "≥ 1", "> 0", "in [0, 1)"; "" if every number will do."""
    low = next((("[", one.ge) if isinstance(one, Ge) else ("(", one.gt) for one in _said(hint, Ge, Gt)), None)
    high = next((("]", one.le) if isinstance(one, Le) else (")", one.lt) for one in _said(hint, Le, Lt)), None)
    if low and high:
        return f"in {low[0]}{low[1]:g}, {high[1]:g}{high[0]}"
    if low:
        return f"{'≥' if low[0] == '[' else '>'} {low[1]:g}"
    return f"{'≤' if high[0] == ']' else '<'} {high[1]:g}" if high else ""


def default_of(default: Any) -> str:
    """A default as `--set` and YAML files take it; of nested settings only that they are the usual ones."""
    if isinstance(default, Field):
        default = _usual(default)
    if default in (MISSING, Parameter.empty):
        return "needed"
    return "its own" if is_dataclass(default) else yaml_of(default)


def _usual(field: Field) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return Parameter.empty if field.default is MISSING else field.default


def yaml_of(value: Any) -> str:
    """A plain value in YAML, on one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(yaml_of, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if value != "" else '""'


def _checked(kind: type, name: str, hint: Any, value: Any) -> Any:
    from pydantic import ValidationError

    if isinstance(value, list) and any(get_origin(one) is tuple for one in (_plain(hint), *get_args(_plain(hint)))):
        value = tuple(value)
    if isinstance(value, os.PathLike) and _said(hint, Opens):
        value = os.fspath(value)
    try:
        return _adapter(kind, name).validate_python(value, strict=True)
    except ValidationError:
        raise WorkbenchError(f"{name} is {short(value)}.", f"Choose: {_kind(hint)}.") from None


@cache
def _adapter(kind: type, name: str) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    hint = hints_of(kind)[name]
    config = None if is_dataclass(_plain(hint)) else ConfigDict(allow_inf_nan=False)
    return TypeAdapter(hint, config=config)


def _files(hint: Any, value: Any) -> list[Path]:
    given = value if isinstance(value, tuple) else (value,) if value else ()
    return [Path(path) for one in _said(hint, Opens) for each in given for path in one.files(each)]


def _nested(value: Any) -> Sequence[Path]:
    return value.inputs() if isinstance(value, Knobs) else ()


def _said(hint: Any, *kinds: type) -> list[Any]:
    """What an annotation says beside the type, of these kinds."""
    return [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, kinds)]


def _plain(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _is_class_variable(hint: Any) -> bool:
    return hint is ClassVar or get_origin(hint) is ClassVar
