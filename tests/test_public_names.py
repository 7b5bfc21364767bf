"""The names of `import workbench as wb`."""

import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

import workbench


@pytest.mark.parametrize("name", workbench.PUBLIC)
def test_every_public_name_leads_to_what_its_file_defines(name):
    value = getattr(workbench, name)
    assert value is getattr(import_module(workbench.PUBLIC[name]), name)
    assert not isinstance(value, ModuleType) and name in dir(workbench)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = workbench.lod


def test_a_function_keeps_its_name_when_the_file_of_that_name_is_imported_first():
    code = "import workbench as wb; from workbench.activations.harvest import harvest; assert wb.harvest is harvest"
    subprocess.run([sys.executable, "-c", code], check=True)
