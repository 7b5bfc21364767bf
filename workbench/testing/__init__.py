"""Checks that any method must pass, ours or somebody else's: `check_method(Case(…))`, or one by one from `CHECKS`."""

from workbench.testing.conformance import CHECKS, NEED_A_GPU, Case, check_method
from workbench.testing.state import Watch, images_in_another_process, state_of

__all__ = ["CHECKS", "NEED_A_GPU", "Case", "Watch", "check_method", "images_in_another_process", "state_of"]
