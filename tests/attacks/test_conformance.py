"""Every attack keeps the promises of the contract, whether the judge sees nothing, everything, or some of it, on every
kind of model that it has a form for."""

import pytest

from tests.attacks.janus import moved
from tests.attacks.small import EDIT, ROWS, Always
from tests.evaluation.small import Brightness
from workbench.attacks import ATTACKS, find_attack
from workbench.attacks.applying import kinds_of
from workbench.testing import ATTACK_CHECKS, AttackCase

TOLD = {  # settings that a tiny pipeline can take
    "replay": {"wordings": ("dog", "bear")},
    "relearn": {"steps": (1, 3), "n": 2, "batch": 1, "lr": 0.01},
    "noised": {"starts": (0.9, 0.4)},
    "ring_a_bell": {"unsafe": ("a fox", "a red fox"), "safe": ("a dog", "a red dog"), "eta": (1.0, 3.0)},
    "p4d": {"tokens": 4},
    "mma": {"tokens": 4, "candidates": 16, "top": 8},
    "cce": {"n": 2, "batch": 2, "accumulate": 1},
    "latent": {"sampler_steps": 2},
}
JUDGES = {"nothing": Always(False), "everything": Always(True), "brightness": Brightness(0.5)}
ON = [(name, kind) for name in ATTACKS for kind in ("sd1", "janus") if kind in kinds_of(find_attack(name))]


@pytest.fixture(scope="module")
def cases(tiny_sd1, tiny_janus):
    given = {"sd1": (tiny_sd1, EDIT, {"steps": 2}), "janus": (tiny_janus, moved(tiny_janus), {})}
    return {
        (name, kind, judge): AttackCase(
            find_attack(name)(**TOLD.get(name, {})), model, edit, ROWS, JUDGES[judge], sampling=sampling
        )
        for name, kind in ON
        for judge in JUDGES
        for model, edit, sampling in (given[kind],)
    }


@pytest.mark.parametrize("check", sorted(ATTACK_CHECKS))
@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize(("name", "kind"), ON)
def test_its_promises_are_kept(cases, name, kind, judge, check):
    ATTACK_CHECKS[check](cases[name, kind, judge])
