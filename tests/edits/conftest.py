import pytest

from tests.tiny_saes import random_sae
from workbench.edits.interventions import ablation


@pytest.fixture(scope="module")
def sae(tiny_sd1):
    return random_sae(tiny_sd1, "text.0")


@pytest.fixture
def edit(tiny_sd1, sae):
    """A third of the dictionary's features turned around: changes every prompt."""
    return ablation(tiny_sd1, sae, range(0, 96, 3), strength=-1.0, concepts=("fox",))
