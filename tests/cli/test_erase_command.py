"""`workbench erase`: a fit that was killed goes on, and leaves nothing but the edit."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from saes.disk import read_json
from saes.locks import working_in
from tests.killing import kill_and_go_on
from workbench.cli.main import main
from workbench.edits import load_edit
from workbench.fitting import checkpoints

ROOT = Path(__file__).parents[2]
TOLD = """
import sys
from workbench.cli.main import main
from workbench.erasure.esd import ESD
from workbench.fitting.players import generator_of

online = ESD.online
def drawn(self, *given):
    for step in (0, 5):
        if given[-1].initial_seed() == generator_of(0, step).initial_seed():
            print("step", step, flush=True)
    return online(self, *given)

ESD.online = drawn
sys.exit(main())
"""
SETTINGS = [word for pair in ("iterations=10", "steps=3", "lr=1e-3") for word in ("--set", pair)]


def test_a_killed_command_goes_on_and_gives_the_same_edit(made, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)

    def erase(out):
        words = ["erase", str(made / "model"), str(made / "fox.yaml"), "--method", "esd", *SETTINGS, "--out", str(out)]
        return main(words)

    assert kill_and_go_on(tmp_path / "edit.partial", lambda: erase(tmp_path / "edit")) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edit"]
    assert erase(tmp_path / "whole") == 0
    for file in (tmp_path / "whole").iterdir():
        assert (tmp_path / "edit" / file.name).read_bytes() == file.read_bytes()
    edit = load_edit(tmp_path / "edit")
    assert all(edit.delta(name).any() for name in edit.names)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_told_to_end_says_so_and_goes_on_from_there(made, tmp_path, number, code):
    """Long before the first checkpoint is due."""
    words = [str(made / "model"), str(made / "fox.yaml"), "--method", "esd", "--set", "iterations=60"]
    command = [sys.executable, "-c", TOLD, "erase", *words, "--set", "steps=2", "--out", str(tmp_path / "edit")]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert [child.stdout.readline() for _ in range(2)] == ["step 0\n", "step 5\n"]
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == code and "Interrupted. Run the same command again" in said
    assert "Traceback" not in said and not (tmp_path / "edit").exists()
    (record,) = (tmp_path / "edit.partial").rglob(checkpoints.NAME)
    assert read_json(record)["step"] >= 5
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0 and "step 0" not in again.stdout, again.stderr[-2000:]
    assert [path.name for path in tmp_path.iterdir()] == ["edit"]


def test_of_two_commands_with_one_folder_one_works_and_the_other_says_so(made, tmp_path, capsys):
    words = ["erase", str(made / "model"), str(made / "fox.yaml"), "--method", "uce", "--out", str(tmp_path / "edit")]
    with working_in(tmp_path / "edit.partial"), ThreadPoolExecutor(1) as another:
        assert another.submit(main, words).result() == 1
    assert "edit.partial is being worked in by" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["edit"]


@pytest.mark.parametrize("extra", [[], ["letter.txt"]])
def test_checkpoints_that_a_kill_left_beside_a_saved_edit_are_swept(made, tmp_path, capsys, extra, monkeypatch):
    """The kill came between saving the edit and removing OUT.partial; what is no checkpoint stays there."""
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    words = ["erase", str(made / "model"), str(made / "fox.yaml"), "--method", "esd", *SETTINGS]
    words += ["--out", str(tmp_path / "edit")]
    with monkeypatch.context() as killed:
        killed.setattr(checkpoints, "forget", lambda folder: None)
        assert main(words) == 0
    partial = tmp_path / "edit.partial"
    assert list(partial.rglob(checkpoints.NAME))
    for name in extra:
        (partial / name).write_text("dear")
    before = {path.name: path.read_bytes() for path in (tmp_path / "edit").iterdir()}
    assert main(words) == 1
    assert f"{tmp_path / 'edit'} exists already. Choose another place" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "edit").iterdir()} == before
    assert [path.name for path in partial.rglob("*")] == extra and partial.exists() == bool(extra)


@pytest.mark.parametrize("words", [[], ["--method", "esd"]])
def test_help_says_where_checkpoints_are(capsys, words):
    assert main(["erase", *words, "--help"]) == 0
    assert "OUT.partial" in capsys.readouterr().out
