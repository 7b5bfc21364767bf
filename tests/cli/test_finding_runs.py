"""A folder stands for the run below it, or the runs that are there are listed."""

import shutil

import pytest

from saes.errors import WorkbenchError
from tests.evaluation.small import Brightness, suite
from workbench.cli.finding_runs import run_in, runs_below, sampling_of
from workbench.cli.main import main
from workbench.evaluation.evaluate import evaluate


@pytest.fixture(scope="module")
def run(tiny_sd1, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finding") / "deep" / "run"
    evaluate(tiny_sd1, {}, suite(), Brightness(), folder, steps=3, guidance_scale=2.0)
    return folder


def test_a_run_means_itself_and_a_folder_the_only_run_below_it(run, capsys):
    assert run_in(run) == run and capsys.readouterr().err == ""
    assert run_in(run.parent.parent) == run
    assert f"The run below {run.parent.parent} is {run}." in " ".join(capsys.readouterr().err.split())


def test_several_runs_are_listed_and_none_is_said(run, tmp_path):
    for name in ("one", "other"):
        shutil.copytree(run, tmp_path / name)
    shutil.copytree(run, tmp_path / "one" / "validated")  # a part of that run
    assert sorted(runs_below(tmp_path)) == [tmp_path / "one", tmp_path / "other"]
    with pytest.raises(WorkbenchError, match=r"2 runs are below .*one, .*other. Name one"):
        run_in(tmp_path)
    with pytest.raises(WorkbenchError, match="no run is below it"):
        run_in(tmp_path / "one" / "images")


def test_the_report_of_the_only_run_below_a_folder_is_written_into_the_run(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "out" / "run")
    assert main(["report", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "run" / "report.html").is_file()
    shutil.copytree(run, tmp_path / "out" / "second")
    assert main(["report", str(tmp_path / "out")]) == 1
    assert "2 runs are below" in capsys.readouterr().err


def test_the_sampling_of_a_run_is_its_own_and_only_of_its_model(run, tiny_sd1, tiny_sd2):
    assert sampling_of(None, tiny_sd1) == {}
    found = sampling_of(run, tiny_sd1)
    assert found["steps"] == 3 and found["guidance_scale"] == 2.0
    with pytest.raises(WorkbenchError, match="another model"):
        sampling_of(run, tiny_sd2)
