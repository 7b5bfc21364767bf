"""Whether pictures of fewer sampling steps get the verdicts of the model's own steps, and how much faster they are.

    python benchmarks/fewer_steps.py [CONCEPT …] [--steps 8 10 12] [--per-role 10]

Claim: what a comparison says does not depend on its steps. The same prompts and seeds are drawn with the toy's own
number of steps and with fewer, without an edit and under edits that act through weights, guidance and prompts. Verdict:
the concept that a prompt expects is in the picture, and the picture is intact. A line for each number of steps and
edit: the share of equal verdicts and Cohen's kappa, each with its 95 % interval over prompts, and the largest
change of a role's share. Seconds are those of the processor, in turns, over the same pictures.
"""

import argparse
import statistics

import numpy as np
from jaxtyping import Bool

from probes.agreement import agreement
from workbench.edits import Edit
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.erasure.sld import SLD
from workbench.erasure.uce import UCE
from workbench.evaluation.suites import Suite
from workbench.models import Model, load
from workbench.testing.timing import turns
from workbench.toy import Oracle, concepts, suite

METHODS = {"UCE": UCE(), "SLD": SLD(strength="strong"), "negative prompt": NegativePrompt()}


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line and prints the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("concepts", nargs="*", default=["fox", "mug", "oskar lind", "velda moor"])
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 10, 12])
    parser.add_argument("--per-role", type=int, default=10)
    asked = parser.parse_args(arguments)
    model, oracle = load("toy", device="cpu"), Oracle.load()
    own_steps = int(model.settings["steps"])
    suites = [suite(name, asked.per_role, seed=1) for name in asked.concepts]
    edits: dict[str, list[Edit]] = {"unedited": [UCE().fit(model, [concepts()["fox"]]).no_op()] * len(suites)}
    edits |= {name: [one.fit(model, [concepts()[word]]) for word in asked.concepts] for name, one in METHODS.items()}
    own = {name: verdicts(model, oracle, suites, some, own_steps) for name, some in edits.items()}
    for steps in asked.steps:
        _, ratios = turns(lambda n=steps: drawn(model, suites[0], n), lambda: drawn(model, suites[0], own_steps), 3)
        print(f"{steps} steps: {statistics.median(ratios):.2f}× as fast as the model's own {own_steps}")
        for name, some in edits.items():
            print(f"  {name}: {compared(own[name], verdicts(model, oracle, suites, some, steps), suites)}", flush=True)


def drawn(model: Model, suite: Suite, steps: int) -> np.ndarray:
    """The pictures of a suite."""
    return model.generate([row.prompt for row in suite.rows], [row.seed for row in suite.rows], steps=steps)


def verdicts(
    model: Model, oracle: Oracle, suites: list[Suite], edits: list[Edit], steps: int
) -> Bool[np.ndarray, "pictures"]:
    """Of every picture of every suite, under the suite's edit."""
    found = []
    for one, edit in zip(suites, edits, strict=True):
        with model.edited(edit):
            seen = oracle.judge(drawn(model, one, steps))
        there = seen.present[np.arange(len(one.rows)), [list(oracle.concepts).index(row.expected) for row in one.rows]]
        found.append((there >= oracle.threshold) & (seen.intact >= oracle.threshold))
    return np.concatenate(found)


def compared(own: Bool[np.ndarray, "n"], fewer: Bool[np.ndarray, "n"], suites: list[Suite]) -> str:
    """What a line says of them."""
    rows = [row for one in suites for row in one.rows]
    told = agreement(own, fewer, np.unique([row.prompt for row in rows], return_inverse=True)[1])
    roles = np.array([row.role for row in rows])
    change = {role: fewer[roles == role].mean() - own[roles == role].mean() for role in dict.fromkeys(roles)}
    most = max(change, key=lambda role: abs(change[role]))
    return (
        f"equal {told.rate:.3f} [{told.low:.3f}, {told.high:.3f}], kappa {told.kappa:.2f} "
        f"[{told.kappa_low:.2f}, {told.kappa_high:.2f}]; {most} {change[most]:+.3f}; {len(rows)} pictures"
    )


if __name__ == "__main__":
    main()
