"""Which floating-point type is fast here. Some processors multiply bfloat16 eight times faster than float32, others
sixty times slower, and none of them says so: measure it once."""

import time
from functools import cache

import torch


@cache
def fast_dtype(device: str = "cpu") -> torch.dtype:
    """bfloat16 where a convolution and a matrix product run at least 1.3 times faster in it, else float32. Takes
    about 0.1 s (up to a second where bfloat16 is very slow)."""
    if device != "cpu":
        return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if seconds(torch.bfloat16) * 1.3 < seconds(torch.float32) else torch.float32


def seconds(dtype: torch.dtype) -> float:
    """Best of eleven runs of a small matrix product and convolution, after a warm-up: of three, on a busy machine, all
    were disturbed at times."""
    matrix = torch.randn(256, 256).to(dtype)
    pixels = torch.randn(8, 64, 8, 8).to(dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(64, 64, 3, 3).to(dtype)
    taken = []
    for _ in range(12):
        start = time.perf_counter()
        matrix @ matrix
        torch.nn.functional.conv2d(pixels, kernel, padding=1)
        taken.append(time.perf_counter() - start)
    return min(taken[1:])
