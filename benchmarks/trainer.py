"""What our training loop adds to a step: it against a plain loop as in diffusers' training scripts, taking turns.

    python benchmarks/trainer.py [MODEL] [--rounds 9] [--steps 5] [--batch 4]      MODEL is the toy unless given

Claim: at most 1.05×. Both train all of cross-attention with AdamW in float32 to predict what latents of noise are made
of, with the same draws, hence the same losses: the last line compares them. The plain loop is `loss.backward()`,
clipping, `optimizer.step()`, `lr_scheduler.step()`, `optimizer.zero_grad()`, and the loss read once a step for its
progress bar, on a deep copy of the denoiser. Ours begins anew each round, checks included; no checkpoint is due.
Seconds are those of the processor, in one thread, so that other work on the machine does not count.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor

from workbench.fitting.copies import own_denoiser
from workbench.fitting.plan import Plan
from workbench.fitting.players import Player, generator_of
from workbench.fitting.selectors import is_cross_attention, select
from workbench.fitting.training import train
from workbench.models import Model, load

BOUND, LR, PROMPT = 1.05, 1e-5, "a photo of a fox"


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="toy")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = load(asked.model, device="cpu")
    loops = plain_loop(model, asked.batch, asked.steps), our_loop(model, asked.batch, asked.steps)
    seconds, ratios, losses = turns(loops, asked.rounds)
    print(f"{model.name}, cross-attention, batch {asked.batch}, {asked.rounds} rounds of {asked.steps} steps")
    median = statistics.median(ratios)
    print(f"plain loop: {seconds / asked.steps:.3f} s a step; ours: {median:.3f}× (bound {BOUND}×, "
          f"from {min(ratios):.3f} to {max(ratios):.3f})")  # fmt: skip
    print(f"largest relative difference of the losses: {difference(*losses):.1e}")


def plain_loop(model: Model, batch: int, steps: int) -> Callable[[], list[float]]:
    """As in diffusers' scripts."""
    from diffusers.optimization import get_scheduler

    unet, prompt = deepcopy(model.pipe.unet).requires_grad_(False), model.encode(PROMPT).embeddings
    trained = [one for name, one in unet.named_parameters() if is_cross_attention(f"unet.{name}")]
    start = [one.detach().clone() for one in trained]

    def run() -> list[float]:
        restore(trained, start)
        optimizer = torch.optim.AdamW(trained, lr=LR)
        lr_scheduler = get_scheduler("constant", optimizer=optimizer)
        losses = []
        for one in trained:
            one.requires_grad_(True)
        for step in range(steps):
            noisy, timesteps, target = drawn(model, batch, generator_of(0, step))
            model_pred = unet(noisy, timesteps, encoder_hidden_states=prompt.expand(batch, -1, -1)).sample
            loss = torch.nn.functional.mse_loss(model_pred, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
            losses.append(loss.detach().item())
        return losses

    return run


def our_loop(model: Model, batch: int, steps: int) -> Callable[[], list[float]]:
    """`workbench.fitting.training.train` on a student."""
    student, prompt = own_denoiser(model, is_cross_attention), model.encode(PROMPT)
    trained = select(student, is_cross_attention)
    start = [one.detach().clone() for one in trained.values()]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        noisy, timesteps, target = drawn(model, batch, generator)
        return torch.nn.functional.mse_loss(student.noise_prediction(noisy, timesteps, prompt), target)

    def run() -> list[float]:
        restore(list(trained.values()), start)
        return train(Player(trained, loss, Plan(steps=steps, lr=LR, clip=1.0))).losses

    return run


@torch.no_grad()
def restore(trained: list[torch.nn.Parameter], start: list[Tensor]) -> None:
    """Back to the first weights."""
    for one, first in zip(trained, start, strict=True):
        one.copy_(first)


def drawn(model: Model, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, timesteps, and what is to be predicted."""
    shape = (batch, *model.noise([0]).shape[1:])
    noisy, target = torch.randn(2, *shape, generator=generator)
    return noisy, torch.randint(1000, (batch,), generator=generator), target


def turns(
    loops: tuple[Callable[[], list[float]], ...], rounds: int
) -> tuple[float, list[float], tuple[list[float], ...]]:
    """The median seconds of the first loop, the ratio of each pair, and the losses of both; who goes first alternates.
    One pair warms up."""
    seconds, ratios, losses = [], [], {}
    for number in range(rounds + 1):
        taken = {}
        for loop in loops if number % 2 else loops[::-1]:
            start = time.process_time()
            losses[loop] = loop()
            taken[loop] = time.process_time() - start
        if number:
            seconds.append(taken[loops[0]])
            ratios.append(taken[loops[1]] / taken[loops[0]])
    return statistics.median(seconds), ratios, tuple(losses[loop] for loop in loops)


def difference(plain: list[float], ours: list[float]) -> float:
    """The largest relative one."""
    return max(abs(one - other) / one for one, other in zip(plain, ours, strict=True))


if __name__ == "__main__":
    main()
