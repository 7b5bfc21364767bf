"""What is built holds every file of the three packages, and names no machine."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("saes", "probes", "workbench")


def tracked() -> list[Path]:
    """The files that git would take along, committed or not."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_the_wheel_holds_every_module_weight_and_template(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")}
    expected = {str(path.relative_to(ROOT)) for path in tracked() if path.relative_to(ROOT).parts[0] in PACKAGES}
    assert expected == inside
    for kind in ("workbench/cli/main.py", "workbench/reports/templates/", "workbench/toy/weights/"):
        assert any(name.startswith(kind) for name in inside), kind


def test_torch_comes_alone():
    """The CPU build that one machine has on disk fits no torchvision of the registry, so nothing may ask for one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    assert "torch>=2.7,<2.14" in wanted
    assert not [name for name in wanted if re.match(r"torch(vision|audio)\b", name)]


@pytest.mark.parametrize("command", ["demo", "test", "check"])
def test_the_makefile_has_the_three_commands_of_the_readme(command):
    dry = subprocess.run(["make", "-n", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"demo": "workbench demo", "test": "pytest", "check": "mypy"}[command] in dry.stdout
    assert f"make {command}" in (ROOT / "README.md").read_text()


def test_no_file_names_a_machine_path_or_a_package_host():
    hosts = r"files\.pythonhosted|pypi\.org/simple|/opt/(pypi|wheels)|(?<![\w.])/(work|root|home)/\w"
    texts = (path for path in tracked() if path.suffix in {".py", ".toml", ".md", ".yaml", ".json", ".ipynb", ""})
    own = Path(__file__)
    assert not [str(path) for path in texts if path != own and re.search(hosts, path.read_text(errors="ignore"))]
