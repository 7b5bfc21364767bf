"""The demo is the whole story: it ends with a report, goes on where it was interrupted, and does nothing twice."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench.attacks.attempts import read_attempts
from workbench.comparison.fits import fit_seconds
from workbench.conditions import UNEDITED
from workbench.evaluation.runs import Run

pytestmark = pytest.mark.slow


def demo(out: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "workbench", "demo", "--quick", "--out", str(out), *words]
    hears = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  # a shell's background jobs ignore it
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hears)


def times(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".safetensors", ".png")}


def test_an_interrupted_demo_goes_on_and_ends_with_a_report(tmp_path):
    first = demo(tmp_path)
    while not list(tmp_path.glob("fox/run/images/*/*.png")) and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    said, error = first.communicate(timeout=120)
    assert first.returncode == 130 and "[6/8]" in said and "3 edits" in said
    assert "Interrupted. Run the same command again" in error and "Traceback" not in error
    made = times(tmp_path)

    second = demo(tmp_path)
    said, error = second.communicate(timeout=600)
    assert second.returncode == 0, error
    assert said.rstrip().endswith(f"The report is at {tmp_path / 'report.html'}")
    assert made.items() <= times(tmp_path).items()  # nothing that was finished is made again
    page = (tmp_path / "report.html").read_text()
    run = Run.open(tmp_path / "fox/run")
    assert list(run.spec.trials[0].conditions) == [
        UNEDITED, "ItD", "UCE", "RECE", "no-op", "random features of ItD", "random directions of UCE",
        "random directions of RECE",
    ]  # fmt: skip
    assert set(read_attempts(run.dir)["attack"]) == {"replay", "noised"} and "UCE, attacked" in page
    assert len(fit_seconds(run.dir)) == 3 and "What each method costs" in page
    assert "fox" in page and not re.search(r"""\bsrc=["']https?:|<link\b""", page)  # it opens offline


def test_an_unknown_concept_is_named_before_any_work(tmp_path):
    process = demo(tmp_path / "out", "--concept", "foxx")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1 and "Did you mean 'fox'" in error
    assert not (tmp_path / "out").exists()
