"""What ItD erases on the embedded model and what it spares: five concepts of three kinds, beside three controls.

    python benchmarks/itd_effects.py --out out/itd-effects            # ≥ 200 images a concept and condition
Prints the table of the closing note and writes a report. Resumable.
"""

import argparse
from pathlib import Path

import workbench as wb
from saes.progress import Progress
from workbench import toy
from workbench.evaluation.evaluate import Conditions
from workbench.evaluation.suites import Suite
from workbench.progress import progress_bars

CONCEPTS = ("fox", "church", "yara pell", "oskar lind", "velda moor")


def trial(model: wb.Model, name: str, per_role: int, progress: Progress) -> tuple[Suite, Conditions]:
    """The suite of a concept, and its conditions: the edit, one that does nothing, one of as many random features."""
    edit = wb.ItD().fit(model, [toy.concepts()[name]], seed=0, progress=progress)
    controls = {"no-op": edit.no_op(), "random features": edit.random(seed=0)}
    return toy.suite(name, per_role, 0), {"ItD": edit, **controls}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/itd-effects"))
    parser.add_argument("--per-role", type=int, default=50, help="each concept has four roles")
    arguments = parser.parse_args()
    model, judge = wb.load("toy"), toy.Oracle.load()
    with progress_bars() as progress:
        trials = [trial(model, name, arguments.per_role, progress) for name in CONCEPTS]
        run = wb.evaluate_concepts(model, trials, judge, arguments.out / "run", progress=progress)
        wb.explain(run, model, [toy.concepts()[name] for name in CONCEPTS], judge, progress=progress)
    table = wb.metrics(run)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    print(wb.report(run, arguments.out / "report.html"))


if __name__ == "__main__":
    main()
