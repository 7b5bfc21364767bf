"""Judges of commands: several of one run, told of the concepts that they will be asked about."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from saes.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.concepts import Concept
    from workbench.evaluation.judges import Judge
    from workbench.evaluation.runs import Run

FIRST = "toy"  # where no judge is named


def judges_of(names: Sequence[str] | None, told: "Sequence[Concept]", asked: Sequence[str]) -> "list[Judge]":
    """The judges of these names, each once; the toy's if none is named.

    They are told of the concepts `told` and `asked`, the others also of all that the first one knows.
    """
    from workbench.judges import find_judge

    first_name, *others = each_once(names)
    first = find_judge(first_name, to_judge(told, asked))
    known = to_judge(told, [*asked, *first.concepts], first.concepts)
    return [first, *(find_judge(name, known) for name in others)]


def each_once(names: Sequence[str] | None) -> Sequence[str]:
    """The names of judges, that of the toy's if there is none. Raises `WorkbenchError` if one comes twice."""
    names = names or [FIRST]
    if len(set(names)) < len(names):
        raise WorkbenchError(f"A judge is named twice ({', '.join(names)}).", "Name each once.")
    return names


def judged_metrics(run: "Run", judges: "Sequence[Judge]") -> list[dict[str, Any]]:
    """The metrics of a run as these judges see them; where there are several, each row says whose it is."""
    import workbench as wb
    from workbench.evaluation.tables import titled

    rows: list[dict[str, Any]] = []
    for judge in judges:
        whose = {"judge": run.name_of(judge)} if len(judges) > 1 else {}
        rows += [{**whose, **row} for row in titled(wb.metrics(run, run.name_of(judge))).to_dict("records")]
    return rows


def to_judge(
    told: "Sequence[Concept]", names: Iterable[str] = (), kinds: Mapping[str, str] | None = None
) -> "list[Concept]":
    """All concepts that a judge will be asked about: those that were told, their anchors and retained words, which are
    of their kinds, and `names`, which are looked up in the toy's world, then in `kinds`, and are objects otherwise."""
    from workbench import toy
    from workbench.concepts import TEMPLATES, Concept

    found, world, kinds = {one.name: one for one in told}, toy.concepts(), kinds or {}
    near = {
        word: Concept(word, kind=one.kind, captions=one.kept_captions([word]), templates=one.templates)
        for one in told
        for word in (one.anchor, *one.retain)
        if word
    }
    kinds = {name: kind for name, kind in kinds.items() if kind in TEMPLATES}
    for name in filter(None, (*near, *names)):
        found.setdefault(name, near.get(name) or world.get(name) or Concept(name, kind=kinds.get(name, "object")))
    return list(found.values())


def judged_in(run: "Run") -> "list[Concept]":
    """The concepts of a run and those that its judges know, of their kinds."""
    kinds = {name: kind for judge in run.judges.values() for name, kind in judge.concepts.items()}
    asked = [[trial.concept, trial.anchor, *(row.expected for row in trial.rows)] for trial in run.spec.trials]
    return to_judge((), [*(name for names in asked for name in names), *kinds], kinds)
