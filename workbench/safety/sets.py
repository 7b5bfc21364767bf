"""Sets of prompts in a YAML file: the shipped one of everyday scenes, the toy's, and a user's own.

    source: where the prompts are from
    benign: PROMPTS                       # what judges must stay silent on, for tasks that have none of their own
    people:                               # for all tasks of fairness
      classes: {gender: [woman, man]}     # attribute → classes, of adults alone
      depicted: PROMPTS                   # that leave open who is shown
      attributes: {woman: PROMPTS}        # that say a class
    tasks:
      - {task: public figures, shows: a public figure, asks: PROMPTS}

PROMPTS is a list of texts, or lists that are crossed: {template: "a photo of {who} {where}", who: […], where: […]}.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

from saes.errors import WorkbenchError, check_keys
from saes.strict_yaml import read_yaml
from workbench.safety.asking import PEOPLE, Line, Task, of_adults
from workbench.safety.taxonomy import FAIRNESS, Taxonomy

EVERYDAY = Path(__file__).parent / "everyday.yaml"
_PARTS = ("source", "benign", "people", "tasks")


class PromptSet(NamedTuple):
    """The tasks of a file, and its benign prompts."""

    tasks: tuple[Task, ...]
    benign: tuple[Line, ...]


def read_set(path: Path | str, taxonomy: Taxonomy) -> PromptSet:
    """Reads a set.

    Args:
        path: The YAML file.
        taxonomy: Which has its tasks.

    Returns:
        The set, without prompts that may involve a minor.

    Raises:
        WorkbenchError: A key or a task is unknown, a template does not fit its lists, a class is of no attribute, or a
            task is empty.
    """
    content, name = read_yaml(path), Path(path).name
    check_keys(content, _PARTS, str(path))
    source = str(content.get("source") or name)
    benign = lines(content.get("benign") or [], f"{name}: benign")
    tasks = [_people(content["people"], name, source, benign)] if "people" in content else []
    for place, one in enumerate(content.get("tasks") or []):
        tasks.append(_task(one, f"{name}: task {place + 1}", source, taxonomy, benign))
    if not tasks:
        raise WorkbenchError(f"{path} has neither people nor tasks.", "See workbench/safety/everyday.yaml.")
    return PromptSet(tuple(of_adults(task) for task in tasks), benign)


def lines(block: Any, where: str, expected: str = "") -> tuple[Line, ...]:
    """The prompts of a block.

    Args:
        block: A list of texts, or a mapping with `template` and the lists that are crossed.
        where: What to blame.
        expected: The class that they say.

    Returns:
        A line for each.

    Raises:
        WorkbenchError: It is neither, or template and lists do not fit.
    """
    texts = list(_crossed(block, where)) if isinstance(block, Mapping) else block
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise WorkbenchError(f"{where} is no list of prompts.", "Write texts, or a template with its lists.")
    return tuple(Line(text, None, f"{where}, prompt {place + 1}", expected) for place, text in enumerate(texts))


def _crossed(block: Mapping[str, Any], where: str) -> Iterator[str]:
    lists = {name: options for name, options in block.items() if name != "template"}
    named = {name for _, name, _, _ in Formatter().parse(str(block.get("template", ""))) if name}
    if not named or named != lists.keys() or not all(isinstance(one, Sequence) for one in lists.values()):
        raise WorkbenchError(
            f"{where}: the template and the lists beside it do not fit.", "Give a list for each {name} of the template."
        )
    for options in product(*lists.values()):
        yield str(block["template"]).format(**dict(zip(lists, options, strict=True)))


def _people(content: Any, name: str, source: str, benign: tuple[Line, ...]) -> Task:
    where = f"{name}: people"
    check_keys(content, ("classes", "depicted", "attributes"), where)
    classes = {attribute: tuple(names) for attribute, names in (content.get("classes") or {}).items()}
    known = [one for names in classes.values() for one in names]
    said = content.get("attributes") or {}
    check_keys(said, known, f"{where}: attributes")
    if not classes or min(map(len, classes.values())) < 2 or len(set(known)) < len(known):
        raise WorkbenchError(f"{where}: an attribute needs two classes or more, each once.", "Correct `classes`.")
    depicted = lines(content.get("depicted") or [], f"{where}: depicted")
    attributes = [line for one, block in said.items() for line in lines(block, f"{where}: {one}", one)]
    return Task(FAIRNESS, PEOPLE, source, depicted, (*benign, *attributes), classes=classes)


def _task(content: Any, where: str, source: str, taxonomy: Taxonomy, benign: tuple[Line, ...]) -> Task:
    check_keys(content, ("task", "shows", "asks", "benign"), where)
    name = str(content.get("task", ""))
    domain = taxonomy.domain_of(name)
    if domain == FAIRNESS:
        raise WorkbenchError(f"{where}: {name!r} is a task of fairness.", "Put its prompts below `people`.")
    own = lines(content["benign"], f"{where}: benign") if "benign" in content else benign
    asks = lines(content.get("asks") or [], f"{where}: asks")
    return Task(domain, name, source, asks, own, shows=str(content.get("shows", name)))
