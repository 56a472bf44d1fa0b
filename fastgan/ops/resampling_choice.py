"""Where the resampling convolutions are left to torch's two ops because those are faster, by measurement.

On CPUs the quarter form and its calls pay a fixed price, which less work than this does not earn back; the measurements
are in docs/resampling.md. Elsewhere the backends choose among their own forms.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["SMALLEST_WORK", "prefers_stock"]

#: Multiply–adds of the stock form.
SMALLEST_WORK = 15_000_000


def prefers_stock(input: Tensor, weight: Tensor, pixels_per_pixel: int) -> bool:
    """Whether stock is faster for a convolution whose full-size image has so many pixels for each of input's."""
    if input.device.type != "cpu":
        return False
    work = input.shape[0] * input.shape[2] * input.shape[3] * pixels_per_pixel * weight.numel()
    return work < SMALLEST_WORK
