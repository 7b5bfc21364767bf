"""The processes that share a piece of work under `accelerate launch`, and which of them this one is."""

from collections.abc import Sequence
from typing import TypeVar

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


def shared_out(work: Sequence[Item]) -> Sequence[Item]:
    """The part of some work that falls to this process.

    Args:
        work: the same in all processes, in the same order.

    Returns:
        Every n-th item of n processes; all of them if this one is alone.
    """
    state = processes()
    return work[state.process_index :: state.num_processes]
