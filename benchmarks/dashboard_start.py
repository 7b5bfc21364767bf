"""How soon a dashboard of 6,144 features is there, from its cache, beside the building of that cache.

    python benchmarks/dashboard_start.py [FEATURES]

Claim: it answers in less than 2 s, with a cache and without one. A start is a fresh process of the command, from its
launch to the answer with the first page, imports included; from its cache that is a page of features. The first start
finds no cache: it answers that features come, and how long they take to come is measured too. The autoencoder has
random directions at the toy's text.2: what a start costs depends on how many features there are, not on what they mean.
Seconds are those of the clock, which other work on the machine lengthens, and beside them those of the processor, which
it does not.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import torch
from sae_lens import TopKSAE, TopKSAEConfig

import saes
from workbench import toy
from workbench.evaluation.evaluate import evaluate
from workbench.models import Model, load

SITE, STARTS = "text.2", 5
FIRST_PAGE = {
    "output": "..page.children...menu.children..",
    "outputs": [{"id": "page", "property": "children"}, {"id": "menu", "property": "children"}],
    "inputs": [
        {"id": "address", "property": "pathname", "value": "/"}, {"id": "address", "property": "search", "value": ""},
    ],
    "changedPropIds": ["address.pathname"],
}  # fmt: skip


def random_sae(model: Model, folder: Path, d_sae: int) -> None:
    """An SAE that encodes and decodes by random unit directions."""
    channels = model.site(SITE).channels
    unit = torch.randn(d_sae, channels, generator=torch.Generator().manual_seed(0))
    unit /= unit.norm(dim=1, keepdim=True)
    sae = TopKSAE(TopKSAEConfig(d_in=channels, d_sae=d_sae, k=16))
    sae.W_dec.data, sae.W_enc.data = unit, unit.T.contiguous()
    saes.save(sae, folder, {"hook_name": SITE, "model_name": model.fingerprint})


class Seconds(NamedTuple):
    """What a start took until its first answer, and until its first page of features."""

    clock: float
    features: float
    processor: float


def start(run: Path, sae: Path) -> Seconds:
    """From the launch of the command."""
    used = os.times()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "workbench", "dashboard", str(run), "--sae", str(sae), "--port", str(port)]
    began = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None and "http://" in server.stdout.readline()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/_dash-update-component", json.dumps(FIRST_PAGE).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        clock, tiles = 0.0, 0
        while not tiles:
            with urllib.request.urlopen(asked) as answer:
                tiles = answer.read().count(b'"tile"')
            clock = clock or time.perf_counter() - began
            time.sleep(0 if tiles else 0.2)
        features = time.perf_counter() - began
        assert tiles == 24
    finally:
        server.terminate()
        server.wait()
    now = os.times()
    return Seconds(clock, features, now.children_user + now.children_system - used.children_user - used.children_system)


def main() -> None:
    """Prints the seconds of the start that builds the cache and of those from it."""
    d_sae = int(sys.argv[1]) if len(sys.argv) > 1 else 6144
    torch.set_num_threads(1)
    model = load("toy", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        run, sae = Path(folder) / "run", Path(folder) / "sae"
        random_sae(model, sae, d_sae)
        evaluate(model, {}, toy.suite("fox", 1, 0), toy.Oracle.load(), run)
        first = start(run, sae)
        seconds = [start(run, sae) for _ in range(STARTS)]
    clock, _, processor = (statistics.median(each) for each in zip(*seconds, strict=True))
    print(f"{d_sae:,} features, {STARTS} starts from the cache and one that builds it")
    print(f"without it: answers after {first.clock:5.2f} s, features after {first.features:5.2f} s by the clock")
    print(f"from the cache: {clock:5.2f} s by the clock, {processor:5.2f} s of the processor (medians)")
    print(f"less than 2 s: {clock < 2} by the clock, {processor < 2} by the processor")


if __name__ == "__main__":
    main()
