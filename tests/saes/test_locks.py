"""One process works in a folder; the others say so, and none is kept out by one that is dead."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest

from saes import locks
from saes.errors import WorkbenchError
from saes.locks import working_in

HOLDS = """
import sys, time
from saes.locks import working_in
with working_in(sys.argv[1], together=len(sys.argv) > 2):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder():
    """`holder(folder, together=…)` starts a process that works in the folder until its input ends."""
    children = []

    def hold(folder, *, together=False):
        command = [sys.executable, "-c", HOLDS, str(folder), *["together"] * together]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "in\n"
        children.append(child)
        return child

    yield hold
    for child in children:
        child.kill()
        child.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_second_process_is_told_who_works_there(tmp_path, holder):
    child = holder(tmp_path / "sae")
    busy = rf"sae is being worked in by process {child.pid} on \S+\. Wait until it ends, or choose another folder\."
    for together in (False, True):
        with pytest.raises(WorkbenchError, match=busy), working_in(tmp_path / "sae", together=together):
            pytest.fail("two work there")
    with working_in(tmp_path / "other"):
        pass
    child.communicate()
    with working_in(tmp_path / "sae"):
        assert names(tmp_path / "sae") == [".lock"]


def test_a_killed_process_keeps_nobody_out(tmp_path, holder):
    child = holder(tmp_path)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert names(tmp_path) == [".lock"]
    with working_in(tmp_path):
        pass
    assert names(tmp_path) == []


def test_a_team_works_together_and_the_last_one_sweeps(tmp_path, holder):
    child = holder(tmp_path, together=True)
    left = tmp_path / ".run.json.0123abcd.part"
    with working_in(tmp_path, together=True):
        left.touch()
    assert left.exists()  # it may be what the other one is writing
    with pytest.raises(WorkbenchError, match="is being worked in"), working_in(tmp_path):
        pytest.fail("a stranger works among a team")
    child.communicate()
    assert names(tmp_path) == []


def test_leftovers_go_on_a_clean_exit_alone(tmp_path):
    left, own = tmp_path / ".a.0123abcd.part", tmp_path / "thesis.txt"
    left.touch(), own.touch()
    with pytest.raises(KeyError), working_in(tmp_path):
        raise KeyError
    assert left.exists() and not (tmp_path / ".lock").exists()
    with working_in(tmp_path):
        pass
    assert names(tmp_path) == ["thesis.txt"]


def test_blocks_within_blocks_are_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with working_in(tmp_path / "run"):
        with working_in(tmp_path / "link"), working_in(tmp_path / "run", together=True):
            pass
        assert names(tmp_path / "run") == [".lock"]
    assert names(tmp_path) == ["link"]  # the folder was new and stayed empty


def test_a_folder_that_was_there_stays(tmp_path):
    with working_in(tmp_path):
        pass
    assert tmp_path.is_dir() and names(tmp_path) == []


def test_another_thread_is_kept_out(tmp_path):
    said = []

    def work():
        try:
            with working_in(tmp_path):
                said.append("in")
        except WorkbenchError as error:
            said.append(error.problem)

    with working_in(tmp_path):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert said == [f"{tmp_path} is being worked in by another part of this program."]


def test_a_forked_child_does_not_inherit_the_right_to_work(tmp_path):
    def work():
        try:
            with working_in(tmp_path):
                os._exit(1)
        except WorkbenchError:
            os._exit(0)

    with working_in(tmp_path):
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
    assert child.exitcode == 0


def test_a_file_system_without_locks_lets_one_work(tmp_path, monkeypatch):
    def refuse(descriptor, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with working_in(tmp_path / "a"):
        (tmp_path / "a" / "b").touch()
    assert names(tmp_path / "a") == ["b"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WorkbenchError, match="Cannot write"), working_in(tmp_path / "file" / "sae"):
        pytest.fail("there is no such folder")
