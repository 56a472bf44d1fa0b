"""Where the resampling convolutions are left to torch's two ops because those are faster, by measurement.

On CPUs the quarter form and its calls pay a fixed price, which less work than this does not earn back, and turning the
weight pays one that few pixels do not. Elsewhere the backends choose among their own forms. The numbers are from
``benchmarks/choices/resampling-cpu.json``, which ``benchmarks/resampling_choice.py`` measures: forward and backward of
3×3 convolutions on two cores of a Zen 4 EPYC, one and two threads, both memory formats.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["SMALLEST", "Smallest", "prefers_stock"]


class Smallest(NamedTuple):
    """From where on ours is chosen: the stock form's multiply–adds, and the batch's pixels at the higher resolution."""

    work: int
    pixels: int


#: By the dtype that the convolution runs in. torch is fast in bfloat16, and slow in float16 whatever the size.
SMALLEST = {
    torch.float32: Smallest(20_000_000, 128),
    torch.float64: Smallest(8_000_000, 128),
    torch.bfloat16: Smallest(50_000_000, 1024),
    torch.float16: Smallest(0, 0),
}


def prefers_stock(input: Tensor, weight: Tensor, pixels_per_pixel: int) -> bool:
    """Whether stock is faster for a convolution whose full-size image has so many pixels for each of input's."""
    if input.device.type != "cpu":
        return False
    dtype = input.dtype
    if dtype != torch.float64 and torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
    smallest = SMALLEST[dtype]
    pixels = input.shape[0] * input.shape[2] * input.shape[3] * pixels_per_pixel
    return pixels < smallest.pixels or pixels * weight.numel() < smallest.work
