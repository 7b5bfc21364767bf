"""UnlearnDiffAtk on many prompts at once, against a straightforward loop over single prompts, in one run.

    python benchmarks/attacks.py [MODEL] [--prompts 16] [--tokens 3] [--timesteps 4] [--steps 10] [--rounds 3]

Claim: at least 4 times as many prompts a second on two cores, at equal successes.
    together   `workbench.attacks`: every pass of text encoder and denoiser for all prompts, pictures too
    one by one the same attack as it is usually written: a prompt after the other, its tokens alone in every pass
Both attack the same half-strength UCE edit of the model with the same draws, so that they find the same prompts up to
rounding; how many succeed is printed for each. Seconds are those of the clock: leave the machine alone meanwhile.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from workbench import toy
from workbench.attacks.attack import Budget, own_generator
from workbench.attacks.tokens import vocabulary
from workbench.attacks.unlearn_diff_atk import UnlearnDiffAtk, schedule
from workbench.edits import WeightEdit
from workbench.erasure.uce import UCE
from workbench.evaluation.judges import Judge, shown
from workbench.evaluation.suites import SuiteRow
from workbench.models import Diffusion, TokenEmbeddings, TokenIds, load

BOUND, CONCEPT, STRENGTH = 4.0, "fox", 0.5
TOGETHER, ONE_BY_ONE = "together", "one by one"


class Asked(NamedTuple):
    """What both ways are told."""

    model: Diffusion
    edit: WeightEdit
    rows: Sequence[SuiteRow]
    judge: Judge
    attack: UnlearnDiffAtk


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints a line for each way, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="toy")
    for name, default in {"prompts": 16, "tokens": 3, "timesteps": 4, "steps": 10, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    told = parser.parse_args(arguments)
    model = load(told.model, device="cpu")
    edit = UCE().fit(model, [toy.concepts()[CONCEPT]]).scaled(STRENGTH)
    rows = [row for row in toy.suite(CONCEPT, told.prompts, 0).rows if row.role == "target"]
    attack = UnlearnDiffAtk(tokens=told.tokens, timesteps=told.timesteps, steps=told.steps)
    asked = Asked(model, edit, rows, toy.Oracle.load(), attack)
    seconds: dict[str, list[float]] = {TOGETHER: [], ONE_BY_ONE: []}
    ways: dict[str, Callable[[Asked], list[bool]]] = {TOGETHER: together, ONE_BY_ONE: one_by_one}
    found: dict[str, list[bool]] = {}
    for number in range(told.rounds):
        for name in list(ways) if number % 2 else list(ways)[::-1]:
            began = time.perf_counter()
            found[name] = ways[name](asked)
            seconds[name].append(time.perf_counter() - began)
    print(f"{model.name}, {len(rows)} prompts, {told.timesteps} × {told.steps} gradients, {torch.get_num_threads()} "
          f"threads, {told.rounds} rounds")  # fmt: skip
    for name, own in seconds.items():
        print(f"{name}: {len(rows) / statistics.median(own):.3f} prompts a second, {sum(found[name])} succeed")
    ratios = [slow / fast for slow, fast in zip(seconds[ONE_BY_ONE], seconds[TOGETHER], strict=True)]
    print(f"{statistics.median(ratios):.2f}× as many together (from {min(ratios):.2f} to {max(ratios):.2f}; bound "
          f"{BOUND:g}×)")  # fmt: skip


def together(asked: Asked) -> list[bool]:
    """By the workbench."""
    model, edit, rows, judge, attack = asked
    budget = Budget(attack.timesteps, attack.timesteps * attack.steps)
    return [one.success for one in attack.attempts(model, edit, rows, judge, budget=budget)]


def one_by_one(asked: Asked) -> list[bool]:
    """As it is usually written."""
    return [alone(asked, row) for row in asked.rows]


def alone(asked: Asked, row: SuiteRow) -> bool:
    """One prompt: a picture of the unedited model, then rounds of steps and a picture each."""
    model, edit, _, _, attack = asked
    x0 = model.latents(model.generate(row.prompt, row.seed))
    barred = (~vocabulary(model, edit).allowed).nonzero()[:, 0]
    draw = own_generator(row, 0, f"{attack.name} None")
    with model.edited(edit):
        table = model.architecture.token_tables[0].weight.detach()
        start = torch.ones(attack.tokens, len(table))
        start[:, barred] = 0
        u = torch.nn.Parameter(start / start.sum(dim=1, keepdim=True))
        adam = torch.optim.Adam([u], lr=attack.lr, weight_decay=attack.weight_decay)
        for t in schedule(attack.timesteps, attack.timesteps):
            noises = [torch.randn(x0.shape[1:], generator=draw)[None] for _ in range(attack.steps)]
            for noise in noises:
                step(model, row.prompt, u, adam, table, x0, noise, t, draw, barred)
            ids = with_prefix(model, row.prompt, u.argmax(dim=1))
            image = model.generate(ids, row.seed)
            if shown(asked.judge.score(image, [row.prompt]), asked.judge, row.expected, intact_only=False)[0]:
                return True
    return False


def step(
    model: Diffusion, prompt: str, u: torch.nn.Parameter, adam: torch.optim.Optimizer, table: Tensor, x0: Tensor,
    noise: Tensor, t: int, draw: torch.Generator, barred: Tensor,
) -> None:  # fmt: skip
    """One gradient step and the projection of each token's distribution."""
    ids = torch.multinomial(u.detach().double(), 1, generator=draw)[:, 0]
    hot = torch.nn.functional.one_hot(ids, len(table)).float().requires_grad_()
    whole = with_prefix(model, prompt, ids)
    embeddings = model.token_embeddings(whole).embeddings[0]
    embeddings = torch.cat([embeddings[:, :1], (hot @ table)[None], embeddings[:, 1 + len(ids) :]], dim=1)
    alpha = model.pipe.scheduler.alphas_cumprod[t]
    z = alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise
    eps = model.predicted_noise(z, t, model.encode(TokenEmbeddings(whole.ids, (embeddings,))))
    (gradient,) = torch.autograd.grad((eps - noise).square().mean(), hot)
    u.grad = gradient.clamp(-1, 1)
    adam.step()
    with torch.no_grad():
        for row in range(len(u)):
            u[row] = bisected(u[row], barred)


def bisected(a: Tensor, barred: Tensor) -> Tensor:
    """The nearest point of the simplex, one row at a time."""
    a = a.double()
    a[barred] = -torch.inf
    low, high = float(a.max()) - 1, float(a.max())
    while high - low > 1e-12:
        middle = (low + high) / 2
        if float((a - middle).clamp(0, 1).sum()) > 1:
            low = middle
        else:
            high = middle
    return (a - high).clamp(0, 1)


def with_prefix(model: Diffusion, prompt: str, ids: Tensor) -> TokenIds:
    """The prompt's ids behind these, as many in all as before."""
    own = model.token_ids(prompt).ids[0]
    return TokenIds((torch.cat([own[:, :1], ids[None], own[:, 1 : own.shape[1] - len(ids)]], dim=1),))


if __name__ == "__main__":
    main()
