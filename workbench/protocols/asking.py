"""From a protocol to suites: one for each target, in which every picture of the grid is asked for by its concepts.

A picture that asks for a style and an object is two rows, one for each expectation, and is made once.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from saes.errors import WorkbenchError, unknown_name
from workbench.evaluation.roles import Role
from workbench.evaluation.suites import Suite, SuiteRow, adults_only, read_suite
from workbench.lists import read_list
from workbench.protocols.figures import CROSS, IMPLIED, LANGUAGE, NEAR, PLAIN, SAME, SYNONYM, TARGET
from workbench.protocols.protocol import Protocol, fields


def suite_for(protocol: Protocol, target: str, erased: Collection[str], listed: Path | None) -> Suite:
    """What is asked while one concept is erased.

    Args:
        protocol: The protocol.
        target: The concept.
        erased: All that is erased together with it, which is no concept to be kept.
        listed: The list of a protocol that needs one.

    Returns:
        A suite that is named after the target.

    Raises:
        WorkbenchError: There is no such concept, or a list is lacking or not needed.
    """
    if protocol.takes:
        if listed is None:
            raise WorkbenchError("The protocol needs a list of prompts.", f"Give it with --list: {protocol.takes}.")
        return _listed(target, erased, listed)
    if listed is not None:
        raise WorkbenchError("The protocol has prompts of its own.", "Leave --list out.")
    if target not in protocol.targets:
        raise unknown_name("target of the protocol", target, protocol.targets)
    rows = tuple(_rows(protocol, target, erased))
    kept = adults_only(rows)
    roles = (*_ROLES, *(_language(name) for name in protocol.languages))
    return Suite(target, kept, dropped=len(rows) - len(kept), roles=roles)


_ROLES = tuple(
    Role(name=name, metric=name, wanted="present", label=label, named=name != PLAIN)
    for name, label in ((SAME, "same domain"), (CROSS, "other domain"), (PLAIN, "plain pictures"))
)


def _language(name: str) -> Role:
    return Role(name=LANGUAGE + name, metric=LANGUAGE + name, wanted="absent", named=False)


def _listed(target: str, erased: Collection[str], path: Path) -> Suite:
    """The list's rows, in which what is neither the target nor erased with it is of its domain."""
    said = dict.fromkeys(record.fields.get("role", "") for record in read_list(path).records)
    spoken = tuple(_language(name.removeprefix(LANGUAGE)) for name in said if name.startswith(LANGUAGE))
    suite = read_suite(path, target=target, roles=spoken)
    rows = tuple(
        replace(row, role=SAME) if row.role in ("unrelated", "told", "anchor") else row
        for row in suite.rows
        if row.expected == target or row.expected not in erased
    )
    if not any(row.role in (TARGET, IMPLIED) for row in rows):
        raise WorkbenchError(f"{path} has no prompts about {target!r}.", "Give a list of the erased concept.")
    return Suite(target, rows, dropped=suite.dropped, roles=(*_ROLES, *suite.roles))


def _rows(protocol: Protocol, target: str, erased: Collection[str]) -> Iterator[SuiteRow]:
    home = protocol.domain_of(target)
    for template in protocol.prompts:
        names = fields(template)
        for combination in product(*(protocol.domains[name] for name in names)):
            said = dict(zip(names, combination, strict=True))
            for domain, concept in said.items():
                if concept == target or concept not in erased:
                    role = _role(protocol, target, home, domain, concept)
                    yield from _seeded(protocol, template.format(**said), role, concept)
        for word in protocol.synonyms.get(target, ()) if home in names else ():
            yield from _worded(protocol, template, home, word, SYNONYM, target)
    for language, templates in protocol.languages.items():
        word = protocol.translated.get(language, {}).get(target, "")
        for template in templates if word else ():
            yield from _worded(protocol, template, home, word, LANGUAGE + language, target)
    for prompt in protocol.implied.get(target, ()):
        yield from _seeded(protocol, prompt, IMPLIED, target)


def _role(protocol: Protocol, target: str, home: str, domain: str, concept: str) -> str:
    if concept == target:
        return TARGET
    if concept == protocol.seed_style:
        return PLAIN
    if domain != home:
        return CROSS
    return NEAR if concept in protocol.near.get(target, ()) else SAME


def _worded(protocol: Protocol, template: str, home: str, word: str, role: str, target: str) -> Iterator[SuiteRow]:
    """The prompts of a template with another word in the target's place."""
    others = [name for name in fields(template) if name != home]
    for combination in product(*(protocol.domains[name] for name in others)):
        said = {home: word, **dict(zip(others, combination, strict=True))}
        yield from _seeded(protocol, template.format(**said), role, target)


def _seeded(protocol: Protocol, prompt: str, role: str, expected: str) -> Iterator[SuiteRow]:
    for seed in protocol.numbers:
        yield SuiteRow(prompt, role, expected, seed)
