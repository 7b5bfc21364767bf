"""`workbench dashboard` as a user types it: the copy it writes, and what it says of wrong input."""

import re
import shutil
import socket
import subprocess
import sys
import urllib.request

import pytest

from workbench.cli.main import main


@pytest.fixture(scope="module")
def run(made, tmp_path_factory):
    """A finished run of the tiny story's model with its ItD edit, whose SAE is the one that `train` made."""
    from tests.evaluation.small import Brightness, suite
    from workbench.edits import load_edit
    from workbench.evaluation.evaluate import evaluate
    from workbench.models import load

    folder = tmp_path_factory.mktemp("dashboard") / "run"
    evaluate(load(made / "model"), {"ItD": load_edit(made / "edit")}, suite(), Brightness(), folder)
    return folder


def said(capsys, *words):
    """The exit code and the one sentence or two of an error."""
    code = main(["dashboard", *map(str, words)])
    return code, " ".join(capsys.readouterr().err.split())


def test_the_sae_of_the_edit_is_shown_and_the_copy_written(run, tmp_path, capsys):
    assert main(["dashboard", str(run), "--export", str(tmp_path / "copy")]) == 0
    assert "index.html" in capsys.readouterr().out
    assert "sae" in [folder.name for folder in (tmp_path / "copy" / "sae").iterdir()]
    code, sentence = said(capsys, run, "--export", tmp_path / "copy")
    assert code == 1 and "exists already" in sentence


def test_it_serves_until_it_is_ended(run):
    command = [sys.executable, "-m", "workbench", "dashboard", str(run)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())[0]
        assert b"Features" in urllib.request.urlopen(url).read()
    finally:
        server.terminate()
        server.wait()


def test_wrong_input_is_answered_with_a_sentence(run, made, tmp_path, capsys):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run, unfinished)
    shutil.rmtree(unfinished / "judges")
    assert "not finished" in said(capsys, unfinished)[1]
    assert "is not a run folder" in said(capsys, made / "sae")[1]
    assert "other weights" in said(capsys, run, "--sae", "toy/text.2")[1]
    assert "is no SAE folder" in said(capsys, run, "--sae", made / "store")[1]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, sentence = said(capsys, run, "--port", taken.getsockname()[1])
    assert code == 1 and "cannot be used" in sentence and "Leave --port out" in sentence
