"""From the words of a command line to prompts, concepts, suites and judges. Heavy imports stay inside the functions."""

from pathlib import Path
from typing import TYPE_CHECKING

from saes.errors import WorkbenchError, unknown_name

if TYPE_CHECKING:
    from workbench.concepts import Concept
    from workbench.evaluation.judges import Judge
    from workbench.evaluation.suites import Suite

TOY = "toy"


def read_prompts(path: Path) -> list[str]:
    """The lines of a text file that are not blank. Raises `WorkbenchError` if there are none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WorkbenchError(f"Cannot read {path} ({error}).", "Give a text file with a prompt a line.") from None
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise WorkbenchError(f"{path} has no prompts.", "Write a prompt a line into it.")
    return prompts


def concepts_of(model: str, words: list[str]) -> "list[Concept]":
    """Concepts from YAML files or, for the toy, by name. Raises `WorkbenchError` for what is neither."""
    return [concept for word in words for concept in _concepts(model, word)]


def _concepts(model: str, word: str) -> "list[Concept]":
    if word.endswith((".yaml", ".yml")):
        from workbench.concepts import read_concepts

        return list(read_concepts(word))
    if model != TOY:
        raise WorkbenchError(f"{word!r} is no YAML file.", "Describe the concept in a file, such as concept.yaml.")
    from workbench import toy

    known = toy.concepts()
    if word not in known:
        raise unknown_name("concept of the toy", word, known)
    return [known[word]]


def suite_of(model: str, concept: str, suite: Path | None, per_role: int, seed: int) -> "Suite":
    """The suite in a CSV file or, for the toy, a fresh one of held-out prompts about the concept."""
    if suite is not None:
        from workbench.evaluation.suites import read_suite

        return read_suite(suite)
    if model != TOY:
        raise WorkbenchError("There is no suite for this model.", "Give one with --suite, a CSV file of prompts.")
    from workbench import toy

    return toy.suite(concepts_of(model, [concept])[0].name, n_per_role=per_role, seed=seed)


def judge_of(model: str) -> "Judge":
    """The judge of the model's images. So far only the toy brings one."""
    if model != TOY:
        raise WorkbenchError("There is no judge for this model.", "Call workbench.evaluate from Python with your own.")
    from workbench import toy

    return toy.Oracle.load()
