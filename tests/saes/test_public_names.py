"""The names of `import saes` and `import probes` mean one thing, whatever else has been imported."""

import subprocess
import sys

import pytest

# Takes every public name, imports every file of the package, and takes the names again.
CHECK = """
import pkgutil, sys
from importlib import import_module
from types import ModuleType

package = import_module(sys.argv[1])
names = getattr(package, "__all__", [])
before = {name: getattr(package, name) for name in names}
for module in pkgutil.iter_modules(package.__path__):
    import_module(f"{package.__name__}.{module.name}")
changed = [name for name in names if getattr(package, name) is not before[name]]
modules = [name for name in names if isinstance(getattr(package, name), ModuleType)]
taken = [module.name for module in pkgutil.iter_modules(package.__path__) if module.name in names]
print(len(names), changed, modules, taken)
"""


@pytest.mark.parametrize(("package", "least"), [("saes", 20), ("probes", 0)])
def test_public_names_stay_what_they_are_when_all_files_have_been_imported(package, least):
    done = subprocess.run([sys.executable, "-c", CHECK, package], check=True, capture_output=True, text=True)
    count, rest = done.stdout.split(" ", 1)
    assert int(count) >= least and rest == "[] [] []\n", done.stdout


def test_the_check_finds_a_file_that_takes_the_place_of_a_name(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "stats.py").write_text("def stats(): ...")
    init = "__all__ = ['stats']\ndef __getattr__(name):\n    from pack.stats import stats\n    return stats\n"
    (tmp_path / "pack" / "__init__.py").write_text(init)
    done = subprocess.run(
        [sys.executable, "-c", CHECK, "pack"], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "1 ['stats'] ['stats'] ['stats']\n"
