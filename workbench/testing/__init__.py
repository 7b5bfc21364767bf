"""Checks that any method and any attack must pass, ours or somebody else's: `check_method(Case(…))`,
`check_attack(AttackCase(…))`, or one by one from `CHECKS` and `ATTACK_CHECKS`."""

from workbench.testing.attacking import ATTACK_CHECKS, AttackCase, check_attack
from workbench.testing.conformance import CHECKS, NEED_A_GPU, Case, check_method
from workbench.testing.state import Watch, images_in_another_process, state_of

__all__ = [
    "ATTACK_CHECKS",
    "CHECKS",
    "NEED_A_GPU",
    "AttackCase",
    "Case",
    "Watch",
    "check_attack",
    "check_method",
    "images_in_another_process",
    "state_of",
]
