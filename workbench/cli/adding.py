"""Options that several commands have, added to each by a decorator, and read where they count."""

import inspect
import shlex
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

Command = Callable[..., None]


class Added:
    """Options of commands, and what the running command was given of them.

    Args:
        options: Their types with `typer.Option`, by name; None is "not given".
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self.given: dict[str, Any] = {}  # to all threads of the process, since a dashboard loads in one of them

    def __call__(self, command: Command) -> Command:
        """The command with the options."""

        @wraps(command)
        def run(*given: Any, **named: Any) -> None:
            found = {name: one for name in self._options if (one := named.pop(name, None))}
            before, self.given = self.given, found
            try:
                command(*given, **named)
            finally:
                self.given = before

        own = inspect.signature(command)
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=one)
            for name, one in self._options.items()
        ]
        run.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
        run.__annotations__ = {**command.__annotations__, **self._options}
        return run

    def as_typed(self) -> str:
        """The options again, for a command that is advised: "" or " --vae FOLDER"."""
        words = [
            f"--{name.replace('_', '-')} {shlex.quote(str(one))}"
            for name, given in self.given.items()
            for one in (given if isinstance(given, list) else [given])
        ]
        return "".join(f" {word}" for word in words)
