"""One player's turns: gradients of its loss over all micro-batches and processes, and a step of its optimiser."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from accelerate.utils import gather_object, reduce
from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.fitting.checkpoints import optimiser_tensors, restore_optimiser
from workbench.fitting.plan import History, rates, stops_early
from workbench.fitting.players import Gradients, Player, Stateful, Terms, generator_of, summed
from workbench.precision import fast_dtype
from workbench.processes import team

AVERAGE, WEIGHT = "average", "weight"
SUM = ""  # the one "term" whose gradient is asked for where nothing combines them
Values = dict[str, float]


class Turns:
    """A player in its seat: what its optimiser knows, its average, and the terms of the turns that it has had.

    Args:
        name: The player's, "" for one that trains alone.
        player: Its parameters must be on one device.
        seed: The training's.
    """

    def __init__(self, name: str, player: Player, seed: int) -> None:
        self.name, self.player, self.plan, self.seed = name, player, player.plan, seed
        self.weights, self.team = list(player.parameters.values()), team()
        plan, self.device = player.plan, self.weights[0].device
        self.optimiser = torch.optim.AdamW(
            self.weights, lr=plan.lr, betas=plan.betas, eps=plan.eps, weight_decay=plan.weight_decay, foreach=False
        )  # foreach makes temporaries of the size of all weights
        self.rate = rates(plan)
        self.fast = plan.autocast == "bfloat16" or (
            plan.autocast == "measured" and fast_dtype(self.device.type) == torch.bfloat16
        )
        kept = player.parameters.items() if plan.ema is not None else ()
        self.average = {name: one.detach().clone() for name, one in kept}
        self.done: list[Values] = []
        self.norm = torch.zeros(())  # of the gradients of the turn

    def is_next(self, round: int) -> bool:
        """Whether the player has a turn in a round and has not had it yet.

        Args:
            round: The training's, from 0.

        Returns:
            False too once its plan or its patience has ended.
        """
        own, off = divmod(round, self.player.every)
        return not off and own == len(self.done) < self.plan.steps and not self.history.stopped_early

    @property
    def history(self) -> History:
        """The turns so far."""
        patience, so_far = self.plan.patience, History(self.done)
        ended = len(self.done) == self.plan.steps
        return so_far._replace(
            stopped_early=patience is not None and not ended and stops_early(so_far.losses, patience)
        )

    def gradients(self) -> Values:
        """Leaves the gradients of the next turn in the parameters.

        Returns:
            The terms of its loss by name; none if the loss skips the turn.

        Raises:
            WorkbenchError: A term or a gradient is not finite.
        """
        terms, gradients = self._everywhere(*self._here())
        if not terms:
            return {}
        self._check(terms, [one for term in gradients.values() for one in term.values()])
        if self.player.combine is not None:
            combined = self.player.combine(gradients)
            self._check(terms, list(combined.values()))
        else:
            combined = gradients[SUM]
        for name, one in self.player.parameters.items():
            one.grad = combined.get(name)
        return terms

    def step(self, terms: Values) -> None:
        """Goes along the gradients, unless the turn is skipped, and counts the turn.

        Args:
            terms: What `gradients` gave.
        """
        if terms:
            self.optimiser.param_groups[0]["lr"] = self.rate(len(self.done))
            if self.plan.clip is not None:
                nn.utils.clip_grads_with_norm_(self.weights, self.plan.clip, self.norm)
            self.optimiser.step()
            if self.average:
                weights = [one.detach() for one in self.weights]
                torch._foreach_lerp_(list(self.average.values()), weights, 1 - self.plan.ema)  # type: ignore[operator]
        self.done.append(terms)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """The parameters ask for gradients in the block, and have none after it."""
        try:
            for one in self.weights:
                one.requires_grad_(True)
            yield
        finally:
            self._forget()
            for one in self.weights:
                one.requires_grad_(False)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: weights, average and what the optimiser knows.

        Returns:
            Tensors by names that begin with the player's, if it has one.
        """
        kinds: dict[str, Mapping[str, Tensor]] = {WEIGHT: self.player.parameters, AVERAGE: self.average}
        own = {f"{kind}.{name}": one for kind, named in kinds.items() for name, one in named.items()}
        return {self._prefix + key: one for key, one in (own | optimiser_tensors(self.optimiser)).items()}

    def restore(self, tensors: Mapping[str, Tensor], done: list[Values]) -> None:
        """Takes over what a checkpoint holds.

        Args:
            tensors: Those of `tensors`, whatever else is among them.
            done: The terms of the turns so far.
        """
        own = {key.removeprefix(self._prefix): one for key, one in tensors.items() if key.startswith(self._prefix)}
        with torch.no_grad():
            for name, one in self.player.parameters.items():
                one.copy_(own[f"{WEIGHT}.{name}"])
            for name, mean in self.average.items():
                mean.copy_(own[f"{AVERAGE}.{name}"])
        restore_optimiser(self.optimiser, own)
        self.done = done

    @torch.no_grad()
    def take_average(self) -> None:
        """Leaves the average in the parameters, if there is one."""
        for name, mean in self.average.items():
            self.player.parameters[name].copy_(mean)

    @property
    def combines(self) -> Stateful | None:
        """What combines gradients, if it carries something."""
        return self.player.combine if isinstance(self.player.combine, Stateful) else None

    @property
    def _prefix(self) -> str:
        return f"{self.name}:" if self.name else ""

    def _here(self) -> tuple[list[Values], dict[str, Gradients]]:
        """Terms of each micro-batch of this process that was not skipped, and the sum of their gradients by term."""
        values: list[Values] = []
        gradients: dict[str, dict[str, Tensor]] = {}
        for number in range(self.team.rank, self.plan.micro_batches, self.team.size):
            found: Values = {}
            for terms in self._graphs(number):
                self._backward(terms, gradients)
                for name, term in terms.items():
                    found[name] = found.get(name, 0.0) + float(term.detach())
            if found:
                values.append(found)
        return values, dict(gradients)

    def _graphs(self, number: int) -> Iterator[Terms]:
        """The terms of a micro-batch, those of one graph at a time."""
        step = len(self.done)
        with self._computing():
            given = self.player.loss(step, generator_of(self.seed, step, number, self.name))
        if isinstance(given, Iterator):
            while True:
                with self._computing():
                    terms = next(given, None)
                if terms is None:
                    return
                yield terms
        elif given is not None:
            yield given if isinstance(given, Mapping) else {"loss": given}

    def _computing(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.fast)

    def _backward(self, terms: Terms, gradients: dict[str, dict[str, Tensor]]) -> None:
        """Adds a graph's share: of each term, or of their sum where nothing combines them."""
        if self.player.combine is None:
            (sum(terms.values()) / self.plan.micro_batches).backward()  # type: ignore[union-attr]
            gradients[SUM] = self._fresh()
            return
        last = list(terms)[-1]
        for name, term in terms.items():
            if term.requires_grad:
                (term / self.plan.micro_batches).backward(retain_graph=name != last)
            gradients[name] = summed({"before": gradients.get(name, {}), "now": self._fresh()})
            self._forget()

    def _fresh(self) -> dict[str, Tensor]:
        return {name: one.grad for name, one in self.player.parameters.items() if one.grad is not None}

    def _forget(self) -> None:
        for one in self.weights:
            one.grad = None

    def _everywhere(self, values: list[Values], gradients: dict[str, Gradients]) -> tuple[Values, dict[str, Gradients]]:
        """The mean of the terms, and the sum of the gradients, over all processes."""
        if self.team.size > 1:
            values = gather_object(values)
            gradients = self._reduced(dict.fromkeys(gather_object(list(gradients))), gradients)
        names = dict.fromkeys(name for one in values for name in one)
        found = {name: [one[name] for one in values if name in one] for name in names}
        return {name: sum(some) / len(some) for name, some in found.items()}, gradients

    def _reduced(self, terms: Mapping[str, None], gradients: Mapping[str, Gradients]) -> dict[str, Gradients]:
        """A weight that none of the losses here depends on may have a gradient elsewhere."""
        total: dict[str, dict[str, Tensor]] = {}
        for term in terms:
            own = gradients.get(term, {})
            here = torch.tensor([float(name in own) for name in self.player.parameters], device=self.device)
            anywhere = zip(self.player.parameters.items(), reduce(here, "sum").tolist(), strict=True)
            total[term] = {
                name: reduce(own.get(name, torch.zeros_like(one)), "sum") for (name, one), count in anywhere if count
            }
        return dict(total)

    def _check(self, terms: Values, gradients: list[Tensor]) -> None:
        self.norm = nn.utils.get_total_norm(gradients)
        if math.isfinite(sum(terms.values())) and bool(self.norm.isfinite()):
            return
        shown = ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
        who = f" of {self.name}" if self.name else ""
        raise NotFinite(
            f"The loss of training step {len(self.done)}{who} is {shown}, the norm of its gradient "
            f"{float(self.norm):.3g}.",
            "Choose a smaller learning rate.",
        )


class NotFinite(WorkbenchError):
    """A loss or a gradient is no number."""
