"""Several processes, started as `accelerate launch` starts them (which takes one alone on a CPU): two give the weights
of one, and one of them writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from saes.disk import read_json, read_tensors
from workbench.concepts import Concept
from workbench.edits import load_edit
from workbench.erasure.esd import ESD
from workbench.fitting.checkpoints import NAME
from workbench.fitting.plan import Plan
from workbench.fitting.players import KeptGradients, Player
from workbench.fitting.training import train
from workbench.models import load
from workbench.processes import processes

ROOT = Path(__file__).parents[2]
PLANS = {
    "plain": {"steps": 6, "lr": 0.1, "micro_batches": 4, "ema": 0.5, "clip": 0.5},
    "kept": {"steps": 6, "lr": 0.1, "micro_batches": 2},
}
FIT = {"iterations": 3, "steps": 3, "lr": 1e-4, "micro_batches": 2}  # Adam magnifies rounding in proportion
SCRIPT = """
import json, sys
from pathlib import Path
from saes.disk import write_tensors, write_json
from saes.errors import WorkbenchError
from tests.fitting.test_processes import FIT, PLANS, learnt
from workbench.cli.main import main
from workbench.fitting.checkpoints import resumable
from workbench.models import load
from workbench.processes import processes

folder, model = Path(sys.argv[1]), sys.argv[2]
state = processes()
for name, plan in PLANS.items():
    with resumable(folder / f"{name}-checkpoints-{state.process_index}", seconds=0.0):
        weights, losses = learnt(plan, kept=name == "kept")
    write_tensors(folder / f"{name}-{state.process_index}.safetensors", weights)
    write_json(folder / f"{name}-{state.process_index}.json", losses)
try:
    learnt(PLANS["plain"] | {"micro_batches": 3})
except WorkbenchError as error:
    write_json(folder / f"refused-{state.process_index}.json", str(error))
settings = [word for name, value in FIT.items() for word in ("--set", f"{name}={value}")]
code = main(["erase", model, str(folder / "fox.yaml"), "--method", "esd", *settings, "--out", str(folder / "edit")])
write_json(folder / f"code-{state.process_index}.json", [code, state.num_processes, str(load(model).device)])
"""


def learnt(plan, *, kept=False):
    """Weights and losses; "b" has a gradient from every second micro-batch alone, "c" from none."""
    w = {name: nn.Parameter(torch.zeros(3)) for name in "abc"}
    calls = iter(range(1000))

    def loss(step, generator):
        drawn = torch.randn(3, generator=generator)
        terms = {"a": (w["a"] - drawn).square().sum()}
        return terms | {"b": (w["b"] - drawn).square().sum() if drawn[0] > 0 else terms["a"] * 0 + next(calls) * 0.0}

    losses = train(Player(w, loss, Plan(**plan), combine=KeptGradients() if kept else None), seed=1).losses
    return {name: one.detach() for name, one in w.items()}, losses


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one_and_one_of_them_writes(tiny_sd1, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "fox.yaml").write_text("fox: {}\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(tmp_path / "script.py"), str(tmp_path), tiny_sd1.name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    for name, plan in PLANS.items():
        weights, losses = learnt(plan, kept=name == "kept")
        assert weights["a"].any() and weights["b"].any() and not weights["c"].any()
        for process in "01":
            assert_close(read_tensors(tmp_path / f"{name}-{process}.safetensors"), weights, rtol=0, atol=1e-6)
            assert_close(json.loads((tmp_path / f"{name}-{process}.json").read_text()), losses, rtol=1e-6, atol=1e-6)
        assert list((tmp_path / f"{name}-checkpoints-0").rglob(NAME))
        assert not (tmp_path / f"{name}-checkpoints-1").exists()
    assert all("cannot share 3" in read_json(tmp_path / f"refused-{process}.json") for process in "01")
    assert [read_json(tmp_path / f"code-{process}.json") for process in "01"] == [[0, 2, "cpu"]] * 2
    assert done.stdout.count("Saved") == 1 and not (tmp_path / "edit.partial").exists()
    edit, alone = load_edit(tmp_path / "edit"), ESD(**FIT).fit(tiny_sd1, [Concept("fox")])
    for name in alone.names:
        assert_close(edit.delta(name), alone.delta(name), rtol=0, atol=1e-6)
    assert max(alone.delta(name).abs().max() for name in alone.names) > 2e-4


def test_a_launched_process_takes_the_device_that_accelerate_gives_it(tiny_sd1, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert load(tiny_sd1.name).device == processes().device
    assert load(tiny_sd1.name, device="cpu").device.type == "cpu"
