"""What reading activations costs: a denoiser call with recorders against the same call without hooks, in one process.

    python benchmarks/hook_overhead.py [MODEL]

Claim: reading one site of the UNet costs at most 5 % of a run. Conditions take turns and each is compared with the
call without hooks of the same round; seconds are those of the processor, in one thread, so that other work on the
machine does not count. MODEL is the toy unless given.
"""

import statistics
import sys
import time
from contextlib import AbstractContextManager, nullcontext

import torch

from workbench.models import Model, load

ROUNDS = 50
ROWS = 8


def seconds(model: Model, session: AbstractContextManager) -> float:
    """Processor seconds of one call, the session's opening and closing included."""
    latents, encoding = model.noise(range(ROWS)), model.encode("a photo of a fox")
    start = time.process_time()
    with session, torch.no_grad():
        model.noise_prediction(latents, 500, encoding)
    return time.process_time() - start


def main() -> None:
    """Prints the ratios for one site and for sixteen."""
    torch.set_num_threads(1)
    model = load(*sys.argv[1:] or ["toy"], device="cpu")
    sites = [alias for alias in model.sites() if alias.startswith("unet.") and alias != "unet.out"][:16]
    records = {"1 site": ["unet.mid.attn2"], f"{len(sites)} sites": sites}
    plain: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in records}
    for number in range(ROUNDS):
        plain.append(seconds(model, nullcontext()))
        for name in sorted(records, reverse=bool(number % 2)):
            ratios[name].append(seconds(model, model.session(record=records[name])) / plain[-1])
    print(f"no hooks: {1000 * statistics.median(plain):.1f} ms a call (median of {ROUNDS}, {ROWS} rows)")
    for name, values in ratios.items():
        print(f"{name}: {statistics.median(values):.3f}×")


if __name__ == "__main__":
    main()
