"""The names of `import workbench as wb`."""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import pytest

import workbench
from workbench.edits import KINDS
from workbench.erasure import METHODS


@pytest.mark.parametrize("name", workbench.PUBLIC)
def test_every_public_name_leads_to_what_its_file_defines(name):
    value = getattr(workbench, name)
    assert value is getattr(import_module(workbench.PUBLIC[name]), name)
    assert not isinstance(value, ModuleType) and name in dir(workbench)


@pytest.mark.parametrize("home", [*METHODS.values(), *KINDS.values()])
def test_every_method_and_every_kind_of_edit_is_reachable(home):
    module, _, name = home.partition(":")
    assert getattr(workbench, name) is getattr(import_module(module), name)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = workbench.lod


def test_no_file_of_the_package_takes_the_place_of_a_public_name():
    assert not {module.name for module in iter_modules(workbench.__path__)} & workbench.PUBLIC.keys()
