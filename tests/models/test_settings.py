"""Sampling settings take numbers from wherever they come, and become of the declared type."""

import numpy as np
import pytest

from saes.errors import WorkbenchError
from workbench.settings import settled

DECLARED = {"steps": 50, "guidance_scale": 7.5, "eta_one": False}


@pytest.mark.parametrize("guidance", [3, 3.0, np.float32(3), np.int64(3)])
def test_a_number_of_any_library_becomes_the_declared_type(guidance):
    settings = settled(DECLARED, {"steps": np.int32(4), "guidance_scale": guidance, "eta_one": np.bool_(True)})
    assert settings == {"steps": 4, "guidance_scale": 3.0, "eta_one": True}
    assert [type(value) for value in settings.values()] == [int, float, bool]


@pytest.mark.parametrize("given", [{"steps": 4.5}, {"steps": True}, {"guidance_scale": np.float32("nan")}])
def test_another_type_and_what_is_no_number_are_refused(given):
    with pytest.raises(WorkbenchError, match="cannot be"):
        settled(DECLARED, given)


def test_what_is_not_given_needs_no_declaration():
    assert settled(DECLARED, {"temperature": None, "steps": None}) == DECLARED
    with pytest.raises(WorkbenchError, match="Unknown sampling setting 'temperature'"):
        settled(DECLARED, {"temperature": 1.0})
