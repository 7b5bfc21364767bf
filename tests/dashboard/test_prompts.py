"""The prompts that features are shown on: what the run asks, and not what attacks it."""

from tests.evaluation.drawn import drawn_run
from workbench.attacks.roles import NEW_SEEDS, Part, role_of
from workbench.concepts import Concept
from workbench.dashboard.prompts import Shown, shown_prompts
from workbench.evaluation.suites import Suite, SuiteRow


def test_prompts_of_attacks_are_left_out(tmp_path):
    attack, control = (role_of(Part("noised", what)) for what in ("", NEW_SEEDS))
    rows = (
        SuiteRow("a red disc", "target", "red", 1),
        SuiteRow("", attack.name, "red", 2, "erased"),
        SuiteRow("a red disc", control.name, "red", 3, "erased"),
    )
    suite = Suite("red", rows, roles=(attack, control))
    run = drawn_run(tmp_path / "run", {"erased": lambda row: "nothing"}, suite)
    own, *templates = shown_prompts(run, [Concept("red", templates=("{}",))])
    assert own == Shown("a red disc", 1, "red") and [one.prompt for one in templates] == ["red"]
