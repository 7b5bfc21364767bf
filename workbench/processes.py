"""The processes that share a piece of work under `accelerate launch`, and which of them this one is."""

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def processes() -> PartialState:
    """How many there are, the number of this one, and its device. Alone unless something launched several.

    Accelerate itself looks for those on processors only where it is told to: on a machine without a GPU, each process
    would take itself for the only one.
    """
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())
