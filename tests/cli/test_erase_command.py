"""`workbench erase`: a fit that was killed goes on, and leaves nothing but the edit."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from saes.locks import working_in
from tests.killing import kill_and_go_on
from workbench.cli.main import main
from workbench.edits import load_edit
from workbench.fitting import checkpoints

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


def test_of_two_commands_with_one_folder_one_works_and_the_other_says_so(made, tmp_path, capsys):
    words = ["erase", str(made / "model"), str(made / "fox.yaml"), "--method", "uce", "--out", str(tmp_path / "edit")]
    with working_in(tmp_path / "edit.partial"), ThreadPoolExecutor(1) as another:
        assert another.submit(main, words).result() == 1
    assert "edit.partial is being worked in by" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["edit"]


@pytest.mark.parametrize("words", [[], ["--method", "esd"]])
def test_help_says_where_checkpoints_are(capsys, words):
    assert main(["erase", *words, "--help"]) == 0
    assert "OUT.partial" in capsys.readouterr().out
