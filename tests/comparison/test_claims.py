"""Several processes on one comparison: each fit is made once, others wait for it, and the dead keep nobody out."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from saes.locks import Busy, working_in
from saes.progress import SILENT
from tests.comparison.small import FOX, comparison
from workbench.claims import share
from workbench.comparison.compare import fit_all
from workbench.comparison.fits import Fitter
from workbench.erasure.esd import ESD
from workbench.erasure.uce import UCE
from workbench.models import load
from workbench.processes import processes

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from tests.comparison.test_claims import work
work(*sys.argv[1:])
"""


@dataclass(frozen=True, kw_only=True)
class Slow(UCE):
    """Says in a file who makes which fit, and takes its time."""

    log: str = ""
    seconds: float = 0.0

    def fit(self, model, concepts, **more):
        with open(self.log, "a") as log:
            print(json.dumps([os.getpid(), [one.name for one in concepts]]), file=log)
        time.sleep(self.seconds)
        return super().fit(model, concepts, **more)


def work(model, folder, seconds):
    """Fits a comparison in all ways."""
    method = Slow(log=f"{folder}.log", seconds=float(seconds))
    methods = {"slow": method, "ESD": ESD(iterations=2, steps=2)}
    trials = fit_all(load(model, device="cpu"), comparison(methods, ways=["single", "joint", "ordered"]), folder)
    print(json.dumps([processes().num_processes, len(trials)]), flush=True)


def started(*words, launch=()):
    command = [sys.executable, *launch, *(["-c", SCRIPT] if not launch else []), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def log_of(folder):
    path = Path(f"{folder}.log")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def check_complete(folder, made):
    wanted = [["cat"], ["cat"], ["fox"], ["fox"], ["fox", "cat"]]  # each alone, each after the other, both at once
    assert sorted(made) == wanted, "each fit is made once"
    assert not (folder / "unfinished").exists() and not list(folder.rglob("*.part")) and not list(folder.rglob(".lock"))
    assert len(list(folder.glob("fits/*.json"))) == 14


@pytest.mark.slow
def test_two_processes_share_the_fits_of_a_comparison(tiny_sd1, tmp_path):
    both = [started(tiny_sd1.name, tmp_path / "run", 2.0) for _ in range(2)]
    for one in both:
        out, err = one.communicate(timeout=240)
        assert one.returncode == 0, err[-3000:]
        assert json.loads(out)[0] == 1
    found = log_of(tmp_path / "run")
    check_complete(tmp_path / "run", [names for _, names in found])
    assert len({who for who, _ in found}) == 2, "both did something"


@pytest.mark.slow
def test_the_processes_of_a_launch_share_the_fits_out(tiny_sd1, tmp_path):
    """Each trains its own fits alone: ESD has one micro-batch, which two processes could not share."""
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    one = started(tmp_path / "script.py", tiny_sd1.name, tmp_path / "run", 2.0, launch=launch)
    out, err = one.communicate(timeout=240)
    assert one.returncode == 0, err[-3000:]
    assert out.count("[2, ") == 2
    found = log_of(tmp_path / "run")
    check_complete(tmp_path / "run", [names for _, names in found])
    assert len({who for who, _ in found}) == 2


@pytest.mark.slow
def test_what_a_killed_process_had_claimed_is_made_by_another(tiny_sd1, tmp_path):
    first = started(tiny_sd1.name, tmp_path / "run", 300.0)
    while not log_of(tmp_path / "run"):
        assert first.poll() is None
        time.sleep(0.05)
    claimed = next((tmp_path / "run/unfinished").iterdir())
    with pytest.raises(Busy, match=str(first.pid)), working_in(claimed):
        pass
    first.send_signal(signal.SIGKILL)
    first.communicate()
    method = Slow(log=f"{tmp_path / 'run'}.log", seconds=300.0)
    assert Fitter(tiny_sd1, tmp_path / "run", 0, SILENT)._key(method, [FOX], ()) == claimed.name
    with working_in(claimed):
        pass


def test_a_fit_that_somebody_makes_is_busy_and_known_when_it_is_made(tiny_sd1, tmp_path):
    fitter, method = Fitter(tiny_sd1, tmp_path, 0, SILENT), UCE()
    key = fitter._key(method, [FOX], ())
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys\nfrom saes.locks import working_in\n"
         "with working_in(sys.argv[1]): print('in', flush=True); sys.stdin.read()", tmp_path / "unfinished" / key],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout.readline() == "in\n"
    with pytest.raises(Busy, match=rf"is being worked in by process {child.pid}"):
        fitter.fit(method, [FOX])
    child.communicate()
    made = fitter.fit(method, [FOX])
    name = made.edit.names[0]
    assert torch.equal(fitter.fit(method, [FOX]).edit.delta(name), made.edit.delta(name))


def test_jobs_that_others_make_come_last_and_in_their_place():
    tried, shown = [], []

    def fit(job):
        tried.append(job)
        if job == "b" and tried.count("b") < 3:
            raise Busy("b is being made.", "Wait.")
        return job.upper()

    def progress(items, label="", total=None, note=None):
        shown.append((label, list(items)))
        yield from shown[-1][1]

    assert list(share(["a", "b", "c"], fit, progress).items()) == [("a", "A"), ("b", "B"), ("c", "C")]
    assert tried == ["a", "b", "c", "b", "b"]
    assert shown == [("fits", ["a", "b", "c"]), ("fits of other processes", ["b"])]


def test_checkpoints_of_fits_that_nobody_wants_any_more_are_swept(tiny_sd1, tmp_path):
    left = tmp_path / "unfinished" / "0123456789"
    left.mkdir(parents=True)
    (left / "checkpoint.json").write_text("{}")
    with working_in(tmp_path / "unfinished" / "busy"):
        (tmp_path / "unfinished/busy/checkpoint.json").write_text("{}")
        other = threading.Thread(target=fit_all, args=(tiny_sd1, comparison({"UCE": UCE()}), tmp_path))
        other.start()
        other.join()
        assert [path.name for path in (tmp_path / "unfinished").iterdir()] == ["busy"]
    fit_all(tiny_sd1, comparison({"UCE": UCE()}), tmp_path)
    assert not (tmp_path / "unfinished").exists()
