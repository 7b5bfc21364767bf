"""The processes that share a piece of work under `accelerate launch`, and which of them this one is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

Item = TypeVar("Item")


def processes() -> PartialState:
    """How many there are, the number of this one, and its device. Alone unless something launched several.

    Accelerate itself looks for those on processors only where it is told to: on a machine without a GPU, each process
    would take itself for the only one.
    """
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


class Team(NamedTuple):
    """The processes that compute one thing together: which of them this one is, from 0, and how many there are."""

    rank: int
    size: int


_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


def team() -> Team:
    """Those who share the micro-batches of a training: all that were launched, or inside `alone()` this one only."""
    state = processes()
    return Team(0, 1) if _ALONE.get() else Team(state.process_index, state.num_processes)


@contextmanager
def alone() -> Iterator[None]:
    """A training in this block is the work of this process; the others of its launch do something else meanwhile."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def shared_out(work: Sequence[Item]) -> Sequence[Item]:
    """The part of some work that falls to this process.

    Args:
        work: the same in all processes, in the same order.

    Returns:
        Every n-th item of n processes; all of them if this one is alone.
    """
    state = processes()
    return work[state.process_index :: state.num_processes]
