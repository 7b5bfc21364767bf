"""A suite as a folder: a list with roles of its own, and with prompts that are no text.

suite.csv     the rows, as `write_suite` writes a list; the column `input` names what is given in the place of the text
suite.json    name, anchor, what was left out, the roles that are not everybody's, the tokenizers of ids
inputs/<hash>.safetensors, edits/<hash>/   what the rows name, as a run keeps it
"""

from pathlib import Path

from pydantic import ValidationError

from saes.disk import new_folder, read_json, write_json
from saes.errors import WorkbenchError
from workbench.evaluation.inputs import keep_inputs, read_input
from workbench.evaluation.roles import Role
from workbench.evaluation.suite_lists import read_rows, write_rows
from workbench.evaluation.suites import Suite

FORMAT = "erasure-workbench suite 1"
_ROWS, _ABOUT = "suite.csv", "suite.json"
_FIELDS = ("format", "name", "anchor", "dropped", "roles", "tokenizers")


def write_suite_folder(suite: Suite, folder: Path | str) -> None:
    """Writes a suite with all that its rows name.

    Args:
        suite: Any suite.
        folder: A new folder.

    Raises:
        WorkbenchError: It exists, or cannot be written.
    """
    about = {name: getattr(suite, name) for name in ("name", "anchor", "dropped", "tokenizers")}
    with new_folder(folder) as place:
        write_rows(suite.rows, place / _ROWS)
        roles = [role.model_dump(mode="json") for role in suite.roles]
        write_json(place / _ABOUT, {"format": FORMAT, **about, "roles": roles})
        keep_inputs(place, suite.inputs)


def read_suite_folder(folder: Path | str) -> Suite:
    """Reads what `write_suite_folder` wrote.

    Args:
        folder: The folder.

    Returns:
        The suite.

    Raises:
        WorkbenchError: It is no such folder, of another version, or damaged.
    """
    folder = Path(folder)
    about = read_json(folder / _ABOUT, _FIELDS)
    if about.pop("format") != FORMAT:
        raise WorkbenchError(f"{folder} is of another version.", f"Make it again; this one reads “{FORMAT}”.")
    rows = read_rows(folder / _ROWS)
    inputs = {name: read_input(folder, name) for name in dict.fromkeys(row.input for row in rows) if name}
    try:
        roles = tuple(Role.model_validate(role) for role in about.pop("roles"))
    except ValidationError as error:
        raise WorkbenchError(f"{folder / _ABOUT}: {error.errors()[0]['msg']}.", "Restore a copy.") from None
    return Suite(rows=tuple(rows), roles=roles, inputs=inputs, **about)
