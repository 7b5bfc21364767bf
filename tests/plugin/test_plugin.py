"""A package of somebody else's, installed beside the workbench, adds one of each kind in one file each.

`lantern_package` is built as a wheel and unpacked into a folder of its own, which is all that installing it is.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import workbench as wb
from saes.errors import WorkbenchError
from tests.comparison.small import CAT, FOX, SUBJECTS
from tests.evaluation.small import Brightness
from workbench.attacks import attacks, find_attack
from workbench.attacks.attempts import read_attempts
from workbench.attacks.running import run_attacks
from workbench.attacks.tables import attack_table
from workbench.cli.main import main
from workbench.edits import KINDS
from workbench.erasure import METHODS, methods
from workbench.judges import find_judge, judges
from workbench.testing import CHECKS, NEED_A_GPU, Case

ROOT = Path(__file__).parents[2]
KIND_OF = {  # method → the kind of its edit
    "lantern_projection": "weight",
    "lantern_shade": "activation",
    "lantern_side": "adapter",
    "lantern_branch": "guidance",
    "lantern_words": "prompt",
    "lantern_both": "composed",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the package is installed in, on the path of this process."""
    built, target = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    subprocess.run(build, cwd=Path(__file__).parent / "lantern_package", capture_output=True, check=True)
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(target)
    sys.path.append(str(target))
    yield target
    sys.path.remove(str(target))
    for name in [name for name in sys.modules if name.partition(".")[0] == "lantern"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def cases(installed, tiny_sd1, tiny_sd2, tiny_flux):
    return {
        name: Case(wb.find_method(name)(), tiny_sd1, (FOX, CAT), tiny_sd2, [(tiny_flux, wb.Concept("fox"))])
        for name in KIND_OF
    }


def test_every_kind_of_edit_is_there(cases):
    """But tokens, which a stranger makes like weights: `tests/edits/test_token.py` has that kind."""
    assert set(KIND_OF.values()) == set(KINDS) - {"token"}
    assert {name: case.edit.kind for name, case in cases.items()} == KIND_OF


@pytest.mark.parametrize("check", sorted(CHECKS.keys() - NEED_A_GPU))
@pytest.mark.parametrize("name", KIND_OF)
def test_its_methods_keep_the_promises_of_ours(cases, name, check):
    CHECKS[check](cases[name])


def test_its_methods_are_listed_and_explained_beside_ours(installed, capsys):
    assert main(["methods", "--json"]) == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == {*METHODS, *KIND_OF} == methods().keys()
    assert rows["lantern_projection"]["paper"] == "example.org/lanterns"
    assert main(["methods", "lantern_projection", "--json"]) == 0
    (knob,) = json.loads(capsys.readouterr().out)
    assert knob == {
        "setting": "share", "type": "float in [0, 1]", "default": "1.0", "toy": None,
        "what": "s: how much of it is taken out.",
    }  # fmt: skip
    assert "share (float in [0, 1]): s: how much" in (wb.find_method("lantern_projection").__doc__ or "")


@pytest.mark.slow
def test_its_methods_are_fitted_and_saved_by_the_command_line_of_a_fresh_process(installed, tiny_sd1, tmp_path):
    (tmp_path / "fox.yaml").write_text("fox:\n  retain: [dog]\n")
    paths = os.pathsep.join([str(installed), str(ROOT), os.environ.get("PYTHONPATH", "")])
    words = ["erase", tiny_sd1.folder, tmp_path / "fox.yaml", "--method", "lantern_both", "--out", tmp_path / "edit"]
    done = subprocess.run(
        [sys.executable, "-m", "workbench", *map(str, words)], env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    edit = wb.load_edit(tmp_path / "edit")
    assert edit.method == "lantern_both" and [part.kind for part in edit.leaves()] == ["activation", "prompt"]


def test_its_methods_are_compared_and_reported_with_their_paper(cases, tiny_sd1, tmp_path):
    plan = wb.Comparison(methods={name: case.method for name, case in cases.items()}, subjects=SUBJECTS[:1])
    run = wb.compare(tiny_sd1, plan, Brightness(), tmp_path / "run", steps=1)
    assert {*KIND_OF, "no-op", "random directions of lantern_shade"} <= set(wb.metrics(run)["condition"])
    page = wb.report(run, tmp_path / "report.html").read_text()
    assert "A. Wick. On lanterns and what they show. 1871." in page and "lantern_shade" in page


def test_its_judge_and_its_attack_stand_beside_ours(cases, tiny_sd1, tmp_path):
    assert {"toy", "lantern_eye"} <= judges().keys() and {"replay", "lantern_shout"} <= attacks().keys()
    judge, edit = find_judge("lantern_eye"), cases["lantern_shade"].edit
    suite = SUBJECTS[0].suite
    shout = {"shout": find_attack("lantern_shout")()}
    run = run_attacks(tiny_sd1, {"shade": edit}, suite, shout, judge, tmp_path / "run", steps=1, floor=0.0)
    made = read_attempts(run.dir)
    assert {row.prompt for row in made[made["control"] == ""].itertuples() if not row.already} <= {
        row.prompt.upper() for row in suite.rows if row.role == "target"
    }
    assert attack_table(run)["attack"].unique().tolist() == ["shout"]
    assert list(run.judges) == ["lantern_eye"]
    table = wb.metrics(run).set_index("metric")
    assert "shout_efficacy" in table.index
    assert "lantern_eye" in wb.report(run, tmp_path / "report.html").read_text()


def test_without_the_package_its_names_are_unknown(installed):
    sys.path.remove(str(installed))
    try:
        for find, name in (
            (find_judge, "lantern_eye"),
            (find_attack, "lantern_shout"),
            (wb.find_method, "lantern_side"),
        ):
            with pytest.raises(WorkbenchError, match=name):
                find(name)
    finally:
        sys.path.append(str(installed))


def test_its_edits_open_where_it_is_installed_and_nowhere_else(installed, cases, tiny_sd1, tmp_path):
    edit = cases["lantern_shade"].edit
    edit.save(tmp_path / "edit")
    assert np.array_equal(
        cases["lantern_shade"].images(wb.load_edit(tmp_path / "edit")), cases["lantern_shade"].images(edit)
    )
    sys.path.remove(str(installed))
    try:
        with pytest.raises(WorkbenchError, match="No installed package declares the module"):
            wb.load_edit(tmp_path / "edit")
    finally:
        sys.path.append(str(installed))
