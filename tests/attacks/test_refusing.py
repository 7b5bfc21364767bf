"""What an attack by gradients cannot work on is refused by one sentence, before any picture and any folder."""

import pytest

from saes.errors import WorkbenchError
from tests.attacks.small import ROWS, Always
from tests.attacks.test_reach import Blocking
from tests.evaluation.small import Scaled
from workbench.attacks import find_attack
from workbench.attacks.attack import Budget
from workbench.attacks.pursuit import Rounds, rounds_of
from workbench.attacks.running import run_attacks
from workbench.evaluation.suites import Suite

SUITE = Suite("fox", tuple(row for row in ROWS if row.expected == "fox"))
SMALL = {"unlearn_diff_atk": {}, "p4d": {"tokens": 4}, "mma": {"tokens": 4}, "cce": {}, "latent": {}}
LONG = {"unlearn_diff_atk": {"tokens": 8}, "p4d": {"tokens": 11}, "mma": {"tokens": 11}}


class Untouched(Always):
    """A judge that is never asked."""

    def score(self, images, prompts):
        raise AssertionError("a picture was made")


def refused(model, folder, name, settings, says, *, edit=None, budget=None, **told):
    given = ({"edit": edit or Scaled(-1.0)}, SUITE, {"it": find_attack(name)(**settings)}, Untouched(True), folder)
    with pytest.raises(WorkbenchError, match=says):
        run_attacks(model, *given, budget=budget or Budget(2, 20), steps=1, **told)
    assert not folder.exists()


@pytest.mark.parametrize("name", [name for name in SMALL if name != "latent"])  # this one does not go by the prompt
def test_an_edit_that_blocks_gradients(tiny_sd1, tmp_path, name):
    says = "follows gradients, and through this edit none comes back"
    refused(tiny_sd1, tmp_path / "run", name, SMALL[name], says, edit=Blocking(-1.0))


@pytest.mark.parametrize("name", SMALL)
def test_a_budget_without_gradients(tiny_sd1, tmp_path, name):
    says = "A budget of 2 images and 0 gradients is too small for an attack by gradients. Give 1 of each or more"
    refused(tiny_sd1, tmp_path / "run", name, SMALL[name], says, budget=Budget(2, 0))


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("controls", [True, False])
def test_more_tokens_than_a_prompt_has_room_for(tiny_sd1, tmp_path, name, controls):
    says = r"has no room for \d+ more: .* reads 10. Choose \d+ free tokens or fewer, or shorter prompts"
    refused(tiny_sd1, tmp_path / "run", name, LONG[name], says, controls=controls)


@pytest.mark.parametrize("name", ["unlearn_diff_atk", "p4d", "cce", "latent"])
def test_a_folder_without_a_picture_of_the_concept(tiny_sd1, tmp_path, name):
    settings = {**SMALL[name], "pictures": str(tmp_path)}
    refused(tiny_sd1, tmp_path / "run", name, settings, "There is no picture of fox in .* Put some into")


def test_both_branches_of_a_gate_share_the_budget():
    with pytest.raises(WorkbenchError, match=r"too small for an attack by gradients in 2 branches\. Give 2 of each"):
        rounds_of(Budget(1, 20), Rounds(2, 2), 2)
